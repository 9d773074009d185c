-- The deployment of the service that was put to sleep. Only as long as that is the live one does it say anything of the
-- service. No foreign key, as with the live pointer.
ALTER TABLE services ADD COLUMN asleep_deployment TEXT;
