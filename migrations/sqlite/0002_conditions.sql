-- Conditions that tenants are in. (How busy they are is kept in memory: there is only one process.)

-- A condition that holds, or that was cleared and is to be told of.
CREATE TABLE conditions (
    id          BLOB    NOT NULL PRIMARY KEY,   -- new with each time that it is raised
    kind        TEXT    NOT NULL,
    tenant      BLOB    NOT NULL,
    subject     TEXT    NOT NULL,   -- a quota, an endpoint, or nothing: all of the tenant
    value       REAL    NOT NULL,   -- what was measured when it was raised
    measure     REAL    NOT NULL,   -- what it is measured by: a quota, a cap, a share
    reason      TEXT,               -- why an endpoint was disabled
    created_at  INTEGER NOT NULL,   -- when it was raised
    cleared_at  INTEGER,            -- NULL: it holds
    told        INTEGER NOT NULL DEFAULT 0      -- that it was raised
) STRICT;
CREATE UNIQUE INDEX conditions_held ON conditions (tenant, kind, subject) WHERE cleared_at IS NULL;
CREATE INDEX conditions_untold ON conditions (id) WHERE told = 0 OR cleared_at IS NOT NULL;
