-- Events that came as CloudEvents keep all of them but their data; endpoints may want CloudEvents, and to be asked first.

ALTER TABLE events ADD COLUMN cloudevent TEXT -- its attributes, a JSON object; NULL: it came as something else
    CONSTRAINT events_cloudevent CHECK (instr(cloudevent, char(0)) = 0);

-- SQLite changes no constraint of a table that is there.
CREATE TABLE endpoints_anew (
    id              BLOB    NOT NULL PRIMARY KEY,
    tenant          BLOB    NOT NULL,
    uid             TEXT,               -- NULL: none; freed by a delete
    url             TEXT    NOT NULL,
    event_types     TEXT    NOT NULL,   -- a JSON array of patterns
    description     TEXT,
    metadata        TEXT,               -- a JSON object
    headers         TEXT    NOT NULL,   -- a JSON array of {name, value}; values are write-only
    secret          TEXT    NOT NULL,   -- whsec_…
    previous_secret TEXT,
    previous_until  INTEGER,            -- the previous secret signs until then
    rate_limit_per_s INTEGER,
    timeout_ms      INTEGER NOT NULL,
    retry           TEXT    NOT NULL,   -- {"schedule_s": […], "jitter": …}
    body            TEXT    NOT NULL CONSTRAINT endpoints_body
                    CHECK (body IN ('raw', 'envelope', 'cloudevents', 'cloudevents_binary')),
    status          TEXT    NOT NULL CONSTRAINT endpoints_status CHECK (status IN ('active', 'paused', 'disabled', 'deleted')),
    status_reason   TEXT,
    circuit         TEXT    NOT NULL DEFAULT 'closed', -- as the dispatcher last said
    failing_since   INTEGER,            -- NULL: the last attempt went well, or there was none
    created_at      INTEGER NOT NULL,
    updated_at      INTEGER NOT NULL,
    handshake       INTEGER NOT NULL DEFAULT 0 -- 1: it is asked whether it wants anything before it gets anything
) STRICT, WITHOUT ROWID;
INSERT INTO endpoints_anew (id, tenant, uid, url, event_types, description, metadata, headers, secret, previous_secret,
        previous_until, rate_limit_per_s, timeout_ms, retry, body, status, status_reason, circuit, failing_since, created_at, updated_at)
    SELECT id, tenant, uid, url, event_types, description, metadata, headers, secret, previous_secret,
        previous_until, rate_limit_per_s, timeout_ms, retry, body, status, status_reason, circuit, failing_since, created_at, updated_at
    FROM endpoints;
DROP TABLE endpoints;
ALTER TABLE endpoints_anew RENAME TO endpoints;
CREATE INDEX endpoints_by_tenant ON endpoints (tenant, id) WHERE status <> 'deleted';
CREATE UNIQUE INDEX endpoints_uid ON endpoints (tenant, uid) WHERE uid IS NOT NULL AND status <> 'deleted';
-- What the sweeper looks for: deleted endpoints, which go with retention.
CREATE INDEX endpoints_deleted ON endpoints (tenant, id) WHERE status = 'deleted';
