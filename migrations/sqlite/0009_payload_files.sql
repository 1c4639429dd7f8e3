-- A large payload lies in a file of its own, payloads/<payload_file in hex>, and its row's is empty. Those of rows that were there
-- before stay where they are.

ALTER TABLE events ADD COLUMN payload_file BLOB;     -- NULL: the payload is in the row
ALTER TABLE events ADD COLUMN payload_bytes INTEGER; -- how long the file is
-- Whose a file is: nobody's, and the next start removes it.
CREATE UNIQUE INDEX events_by_payload_file ON events (payload_file) WHERE payload_file IS NOT NULL;
