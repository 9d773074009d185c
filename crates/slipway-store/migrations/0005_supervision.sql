-- Which replicas of a live deployment run, once they are others than those that it began with: after a restart, with another
-- number of them, or stopped.
ALTER TABLE deployments ADD COLUMN roster TEXT;
