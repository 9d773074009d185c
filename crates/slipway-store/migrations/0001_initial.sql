-- Portable between SQLite and PostgreSQL: instants are BIGINT milliseconds, flags are BIGINT 0 or 1, JSON is TEXT.

CREATE TABLE projects (
    name TEXT NOT NULL PRIMARY KEY,
    created_at BIGINT NOT NULL
);

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

CREATE TABLE env_revisions (
    service TEXT NOT NULL REFERENCES services (id) ON DELETE CASCADE,
    revision BIGINT NOT NULL,
    ciphertext BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (service, revision)
);

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
CREATE INDEX deployments_newest ON deployments (created_at, id);
CREATE INDEX deployments_active ON deployments (created_at, id) WHERE active = 1;
CREATE INDEX deployments_active_of ON deployments (service, sequence) WHERE active = 1;
CREATE INDEX deployments_live ON deployments (service, sequence) WHERE status = 'live';

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

CREATE TABLE replicas (
    id TEXT NOT NULL PRIMARY KEY,
    deployment TEXT NOT NULL REFERENCES deployments (id) ON DELETE CASCADE,
    state TEXT NOT NULL,
    since BIGINT NOT NULL
);
CREATE INDEX replicas_deployment ON replicas (deployment);

CREATE TABLE events (
    id BIGINT NOT NULL PRIMARY KEY,
    at BIGINT NOT NULL,
    service TEXT NOT NULL REFERENCES services (id) ON DELETE CASCADE,
    deployment TEXT,
    kind TEXT NOT NULL,
    message TEXT NOT NULL
);
CREATE INDEX events_service ON events (service, id);
CREATE INDEX events_deployment ON events (deployment, id);

CREATE TABLE uploads (
    id TEXT NOT NULL PRIMARY KEY,
    files BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE tokens (
    sha256 TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE counters (
    name TEXT NOT NULL PRIMARY KEY,
    value BIGINT NOT NULL
);
INSERT INTO counters (name, value) VALUES ('event', 0), ('route-generation', 0), ('replica-generation', 0);
