-- Which replica an event is about, and which of its lives.
ALTER TABLE events ADD COLUMN replica TEXT;
ALTER TABLE events ADD COLUMN run TEXT;
