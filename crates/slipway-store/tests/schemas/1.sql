PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE _sqlx_migrations (
    version BIGINT PRIMARY KEY,
    description TEXT NOT NULL,
    installed_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    success BOOLEAN NOT NULL,
    checksum BLOB NOT NULL,
    execution_time BIGINT NOT NULL
);
INSERT INTO _sqlx_migrations VALUES(1,'initial','2026-11-21 23:06:12',1,X'283204a1a227b537b15143a8d06e26a575c37d3b5719a4b8cfbc1a42f7188ae809522ff2bd4b694ab7c83bbda793bfdc',3634118);
CREATE TABLE projects (
    name TEXT NOT NULL PRIMARY KEY,
    created_at BIGINT NOT NULL
);
INSERT INTO projects VALUES('shop',1);
CREATE TABLE services (
    id TEXT NOT NULL PRIMARY KEY,
    project TEXT NOT NULL REFERENCES projects (name),
    name TEXT NOT NULL,
    settings TEXT NOT NULL,
    env_revision BIGINT NOT NULL,
    deployment_sequence BIGINT NOT NULL,
    release_sequence BIGINT NOT NULL,
    -- The live pointer. No foreign key: deployments refer to services already.
    live_deployment TEXT,
    created_at BIGINT NOT NULL,
    UNIQUE (project, name)
);
INSERT INTO services VALUES('svc-web','shop','web','{}',2,3,2,'d2',1);
INSERT INTO services VALUES('svc-worker','shop','worker','{}',0,1,0,NULL,1);
CREATE TABLE env_revisions (
    service TEXT NOT NULL REFERENCES services (id) ON DELETE CASCADE,
    revision BIGINT NOT NULL,
    ciphertext BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (service, revision)
);
INSERT INTO env_revisions VALUES('svc-web',1,X'7365616c6564206f6e65',2);
INSERT INTO env_revisions VALUES('svc-web',2,X'7365616c65642074776f',30);
CREATE TABLE deployments (
    id TEXT NOT NULL PRIMARY KEY,
    service TEXT NOT NULL REFERENCES services (id) ON DELETE CASCADE,
    sequence BIGINT NOT NULL,
    trigger_kind TEXT NOT NULL,
    shape TEXT NOT NULL,
    state TEXT NOT NULL,
    -- The next three derive from `state`, for indexes and listings.
    status TEXT NOT NULL,
    phase TEXT,
    active BIGINT NOT NULL,
    -- Counts the changes of `state`: an update names the version that it was decided on.
    version BIGINT NOT NULL,
    source TEXT NOT NULL,
    source_label TEXT NOT NULL,
    message TEXT,
    settings TEXT,
    plan TEXT,
    env_revision BIGINT NOT NULL,
    release_id TEXT,
    release_number BIGINT,
    diagnosis TEXT,
    created_at BIGINT NOT NULL,
    finished_at BIGINT,
    UNIQUE (service, sequence)
);
INSERT INTO deployments VALUES('d1','svc-web',1,'source','{"kind":"web","install":false,"pre_deploy":false}','{"state":"superseded","at":51,"by":2,"was_live":true}','superseded','clean-up',0,8,'{"from":"git","url":"https://example.com/shop.git","reference":"main"}','main',NULL,'{"kind":"web","root":"","install_command":null,"build_command":null,"start_command":null,"pre_deploy_command":null,"node_version":null,"python_version":null,"prune":false,"site_directory":null,"site_fallback":null,"port":3000,"replicas":2,"stop_grace":30000,"build_timeout":1200000,"pre_deploy_timeout":300000,"health":{"path":null,"interval":250,"timeout":5000,"start_timeout":60000,"stable_window":1000},"run":{"memory":536870912,"cpus":1.0,"processes_max":512,"disk":1073741824},"build":{"memory":4294967296,"cpus":2.0,"processes_max":2048,"disk":8589934592}}','{"kind":"web","root":"","framework":null,"toolchains":[{"name":"node","version_range":"24"}],"package_manager":null,"install":null,"build_command":"npm run build","start":{"by":"command","command":"npm start"},"pre_deploy_command":null,"build_env":{},"run_env":{},"cache_dirs":[],"public_prefixes":[],"reasons":[]}',1,'rel-d1',1,NULL,10,21);
INSERT INTO deployments VALUES('d2','svc-web',2,'source','{"kind":"web","install":false,"pre_deploy":false}','{"state":"live","since":53}','live','clean-up',0,8,'{"from":"git","url":"https://example.com/shop.git","reference":"main"}','main',NULL,'{"kind":"web","root":"","install_command":null,"build_command":null,"start_command":null,"pre_deploy_command":null,"node_version":null,"python_version":null,"prune":false,"site_directory":null,"site_fallback":null,"port":3000,"replicas":2,"stop_grace":30000,"build_timeout":1200000,"pre_deploy_timeout":300000,"health":{"path":null,"interval":250,"timeout":5000,"start_timeout":60000,"stable_window":1000},"run":{"memory":536870912,"cpus":1.0,"processes_max":512,"disk":1073741824},"build":{"memory":4294967296,"cpus":2.0,"processes_max":2048,"disk":8589934592}}','{"kind":"web","root":"","framework":null,"toolchains":[{"name":"node","version_range":"24"}],"package_manager":null,"install":null,"build_command":"npm run build","start":{"by":"command","command":"npm start"},"pre_deploy_command":null,"build_env":{},"run_env":{},"cache_dirs":[],"public_prefixes":[],"reasons":[]}',2,'rel-d2',2,NULL,40,51);
INSERT INTO deployments VALUES('d3','svc-web',3,'source','{"kind":"web","install":true,"pre_deploy":false}','{"state":"running","phase":"environment","worker":4,"since":72}','building','environment',1,2,'{"from":"git","url":"https://example.com/shop.git","reference":"main"}','main',NULL,NULL,NULL,2,NULL,NULL,NULL,60,NULL);
INSERT INTO deployments VALUES('d4','svc-worker',1,'source','{"kind":"web","install":true,"pre_deploy":false}','{"state":"queued","since":70}','queued',NULL,1,0,'{"from":"git","url":"https://example.com/shop.git","reference":"main"}','main',NULL,NULL,NULL,0,NULL,NULL,NULL,70,NULL);
CREATE TABLE phases (
    deployment TEXT NOT NULL REFERENCES deployments (id) ON DELETE CASCADE,
    ordinal BIGINT NOT NULL,
    phase TEXT NOT NULL,
    started_at BIGINT NOT NULL,
    finished_at BIGINT,
    result TEXT,
    note TEXT,
    output TEXT,
    PRIMARY KEY (deployment, ordinal)
);
INSERT INTO phases VALUES('d1',0,'source',11,12,'done',NULL,NULL);
INSERT INTO phases VALUES('d1',1,'environment',12,13,'done',NULL,NULL);
INSERT INTO phases VALUES('d1',2,'install',13,13,'skipped',NULL,NULL);
INSERT INTO phases VALUES('d1',3,'build',13,14,'done',NULL,NULL);
INSERT INTO phases VALUES('d1',4,'pre-deploy',14,14,'skipped',NULL,NULL);
INSERT INTO phases VALUES('d1',5,'start',14,20,'done',NULL,NULL);
INSERT INTO phases VALUES('d1',6,'health',20,20,'done',NULL,NULL);
INSERT INTO phases VALUES('d1',7,'route',20,21,'done',NULL,NULL);
INSERT INTO phases VALUES('d1',8,'drain',21,21,'skipped',NULL,NULL);
INSERT INTO phases VALUES('d1',9,'clean-up',21,23,'done',NULL,NULL);
INSERT INTO phases VALUES('d2',0,'source',41,42,'done',NULL,NULL);
INSERT INTO phases VALUES('d2',1,'environment',42,43,'done',NULL,NULL);
INSERT INTO phases VALUES('d2',2,'install',43,43,'skipped',NULL,NULL);
INSERT INTO phases VALUES('d2',3,'build',43,44,'done',NULL,NULL);
INSERT INTO phases VALUES('d2',4,'pre-deploy',44,44,'skipped',NULL,NULL);
INSERT INTO phases VALUES('d2',5,'start',44,50,'done',NULL,NULL);
INSERT INTO phases VALUES('d2',6,'health',50,50,'done',NULL,NULL);
INSERT INTO phases VALUES('d2',7,'route',50,51,'done',NULL,NULL);
INSERT INTO phases VALUES('d2',8,'drain',51,52,'done',NULL,NULL);
INSERT INTO phases VALUES('d2',9,'clean-up',52,53,'done',NULL,NULL);
INSERT INTO phases VALUES('d3',0,'source',71,72,'done',NULL,NULL);
INSERT INTO phases VALUES('d3',1,'environment',72,NULL,NULL,NULL,NULL);
CREATE TABLE releases (
    id TEXT NOT NULL PRIMARY KEY,
    service TEXT NOT NULL REFERENCES services (id) ON DELETE CASCADE,
    number BIGINT NOT NULL,
    deployment TEXT NOT NULL,
    image TEXT NOT NULL,
    settings TEXT NOT NULL,
    env_revision BIGINT NOT NULL,
    source TEXT NOT NULL,
    source_label TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    -- When it was made live last.
    live_at BIGINT,
    UNIQUE (service, number)
);
INSERT INTO releases VALUES('rel-d1','svc-web',1,'d1','{"layers":[{"kind":"source","key":"d1"}],"start":{"by":"process","command":"npm start","cwd":"/app","env":{},"path":[]}}','{"kind":"web","root":"","install_command":null,"build_command":null,"start_command":null,"pre_deploy_command":null,"node_version":null,"python_version":null,"prune":false,"site_directory":null,"site_fallback":null,"port":3000,"replicas":2,"stop_grace":30000,"build_timeout":1200000,"pre_deploy_timeout":300000,"health":{"path":null,"interval":250,"timeout":5000,"start_timeout":60000,"stable_window":1000},"run":{"memory":536870912,"cpus":1.0,"processes_max":512,"disk":1073741824},"build":{"memory":4294967296,"cpus":2.0,"processes_max":2048,"disk":8589934592}}',1,'{"from":"git","url":"https://example.com/shop.git","reference":"main"}','main',15,20);
INSERT INTO releases VALUES('rel-d2','svc-web',2,'d2','{"layers":[{"kind":"source","key":"d2"}],"start":{"by":"process","command":"npm start","cwd":"/app","env":{},"path":[]}}','{"kind":"web","root":"","install_command":null,"build_command":null,"start_command":null,"pre_deploy_command":null,"node_version":null,"python_version":null,"prune":false,"site_directory":null,"site_fallback":null,"port":3000,"replicas":2,"stop_grace":30000,"build_timeout":1200000,"pre_deploy_timeout":300000,"health":{"path":null,"interval":250,"timeout":5000,"start_timeout":60000,"stable_window":1000},"run":{"memory":536870912,"cpus":1.0,"processes_max":512,"disk":1073741824},"build":{"memory":4294967296,"cpus":2.0,"processes_max":2048,"disk":8589934592}}',2,'{"from":"git","url":"https://example.com/shop.git","reference":"main"}','main',45,50);
CREATE TABLE replicas (
    id TEXT NOT NULL PRIMARY KEY,
    deployment TEXT NOT NULL REFERENCES deployments (id) ON DELETE CASCADE,
    state TEXT NOT NULL,
    since BIGINT NOT NULL
);
INSERT INTO replicas VALUES('rep-1','d2','ready',45);
CREATE TABLE events (
    id BIGINT NOT NULL PRIMARY KEY,
    at BIGINT NOT NULL,
    service TEXT NOT NULL REFERENCES services (id) ON DELETE CASCADE,
    deployment TEXT,
    kind TEXT NOT NULL,
    message TEXT NOT NULL
);
INSERT INTO events VALUES(1,10,'svc-web','d1','deployment-created','deployment of main was created by source');
INSERT INTO events VALUES(2,11,'svc-web','d1','deployment-building','deployment is building');
INSERT INTO events VALUES(3,12,'svc-web','d1','phase-finished','source done after 1 ms');
INSERT INTO events VALUES(4,13,'svc-web','d1','phase-finished','environment done after 1 ms');
INSERT INTO events VALUES(5,13,'svc-web','d1','phase-finished','install was skipped');
INSERT INTO events VALUES(6,14,'svc-web','d1','phase-finished','build done after 1 ms');
INSERT INTO events VALUES(7,14,'svc-web','d1','phase-finished','pre-deploy was skipped');
INSERT INTO events VALUES(8,14,'svc-web','d1','deployment-deploying','deployment is deploying');
INSERT INTO events VALUES(9,20,'svc-web','d1','phase-finished','start done after 6 ms');
INSERT INTO events VALUES(10,20,'svc-web','d1','phase-finished','health done after 0 ms');
INSERT INTO events VALUES(11,21,'svc-web','d1','phase-finished','route done after 1 ms');
INSERT INTO events VALUES(12,21,'svc-web','d1','phase-finished','drain was skipped');
INSERT INTO events VALUES(13,21,'svc-web','d1','deployment-live','deployment is live');
INSERT INTO events VALUES(14,23,'svc-web','d1','phase-finished','clean-up done after 2 ms');
INSERT INTO events VALUES(15,40,'svc-web','d2','deployment-created','deployment of main was created by source');
INSERT INTO events VALUES(16,41,'svc-web','d2','deployment-building','deployment is building');
INSERT INTO events VALUES(17,42,'svc-web','d2','phase-finished','source done after 1 ms');
INSERT INTO events VALUES(18,43,'svc-web','d2','phase-finished','environment done after 1 ms');
INSERT INTO events VALUES(19,43,'svc-web','d2','phase-finished','install was skipped');
INSERT INTO events VALUES(20,44,'svc-web','d2','phase-finished','build done after 1 ms');
INSERT INTO events VALUES(21,44,'svc-web','d2','phase-finished','pre-deploy was skipped');
INSERT INTO events VALUES(22,44,'svc-web','d2','deployment-deploying','deployment is deploying');
INSERT INTO events VALUES(23,50,'svc-web','d2','phase-finished','start done after 6 ms');
INSERT INTO events VALUES(24,50,'svc-web','d2','phase-finished','health done after 0 ms');
INSERT INTO events VALUES(25,51,'svc-web','d2','phase-finished','route done after 1 ms');
INSERT INTO events VALUES(26,51,'svc-web','d2','deployment-live','deployment is live');
INSERT INTO events VALUES(27,51,'svc-web','d1','deployment-superseded','deployment was superseded by number 2 of its service');
INSERT INTO events VALUES(28,52,'svc-web','d2','phase-finished','drain done after 1 ms');
INSERT INTO events VALUES(29,53,'svc-web','d2','phase-finished','clean-up done after 1 ms');
INSERT INTO events VALUES(30,60,'svc-web','d3','deployment-created','deployment of main was created by source');
INSERT INTO events VALUES(31,70,'svc-worker','d4','deployment-created','deployment of main was created by source');
INSERT INTO events VALUES(32,71,'svc-web','d3','deployment-building','deployment is building');
INSERT INTO events VALUES(33,72,'svc-web','d3','phase-finished','source done after 1 ms');
CREATE TABLE uploads (
    id TEXT NOT NULL PRIMARY KEY,
    files BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);
INSERT INTO uploads VALUES('up-1',3,120,4);
CREATE TABLE tokens (
    sha256 TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
INSERT INTO tokens VALUES('abababababababababababababababababababababababababababababababab','admin',3);
CREATE TABLE counters (
    name TEXT NOT NULL PRIMARY KEY,
    value BIGINT NOT NULL
);
INSERT INTO counters VALUES('event',33);
INSERT INTO counters VALUES('route-generation',2);
INSERT INTO counters VALUES('replica-generation',0);
CREATE INDEX deployments_newest ON deployments (created_at, id);
CREATE INDEX deployments_active ON deployments (created_at, id) WHERE active = 1;
CREATE INDEX deployments_active_of ON deployments (service, sequence) WHERE active = 1;
CREATE INDEX deployments_live ON deployments (service, sequence) WHERE status = 'live';
CREATE INDEX replicas_deployment ON replicas (deployment);
CREATE INDEX events_service ON events (service, id);
CREATE INDEX events_deployment ON events (deployment, id);
COMMIT;
