-- What the service's own ignore command ruled out is nothing that a redeploy deploys again.
ALTER TABLE deployments ADD COLUMN ignored BIGINT NOT NULL DEFAULT 0;
