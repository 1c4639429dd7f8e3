-- Doors for the webhooks of others. Rows go when a source is deleted: nothing refers to them.

CREATE TABLE sources (
    id              BLOB    NOT NULL PRIMARY KEY,
    tenant          BLOB    NOT NULL,
    token_hash      BLOB    NOT NULL,   -- SHA-256 of the end of its URL
    name            TEXT,
    metadata        TEXT,               -- a JSON object
    verification    TEXT    NOT NULL,   -- a JSON object with a scheme and what belongs to it, without secrets
    secret          TEXT,               -- as the provider gave it; NULL: nothing is signed
    previous_secret TEXT,
    previous_until  INTEGER,            -- the previous secret counts until then
    event_type      TEXT,               -- a JSON object; NULL: as the provider says it
    delivery_id     TEXT,               -- a JSON object; NULL: what the provider gives
    status          TEXT    NOT NULL CONSTRAINT sources_status CHECK (status IN ('active', 'paused')),
    created_at      INTEGER NOT NULL,
    updated_at      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX sources_by_tenant ON sources (tenant, id);
CREATE UNIQUE INDEX sources_token ON sources (token_hash);
