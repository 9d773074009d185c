-- What lets a later deployment of the same source take the image instead of building it again.

-- Of the build phase: the image, before there is a release.
ALTER TABLE deployments ADD COLUMN image TEXT;
-- What the build read: values of variables as keyed digests.
ALTER TABLE deployments ADD COLUMN build_inputs TEXT;
-- What the source itself says about its settings.
ALTER TABLE deployments ADD COLUMN source_settings TEXT;
-- The deployment that built the image, when it was another one.
ALTER TABLE deployments ADD COLUMN built_by TEXT;

CREATE INDEX deployments_built ON deployments (service, sequence) WHERE image IS NOT NULL;
