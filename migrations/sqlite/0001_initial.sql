-- The embedded store. Ids are UUIDs in 16 bytes; times are milliseconds since the Unix epoch.
-- There are no foreign keys on the hot path: a delete is a flip of a status, then bounded chunks.

CREATE TABLE tenants (
    id          BLOB    NOT NULL PRIMARY KEY,
    slug        TEXT,               -- NULL once deleted, so that it may be used again
    name        TEXT    NOT NULL,
    plan        TEXT    NOT NULL,
    weight      INTEGER,            -- NULL: the plan's
    metadata    TEXT    NOT NULL,   -- a JSON object
    status      TEXT    NOT NULL CONSTRAINT tenants_status CHECK (status IN ('active', 'deleting', 'deleted')),
    ingest      TEXT    NOT NULL CONSTRAINT tenants_ingest CHECK (ingest IN ('open', 'blocked')),
    dispatch    TEXT    NOT NULL CONSTRAINT tenants_dispatch CHECK (dispatch IN ('open', 'paused')),
    reason      TEXT,
    quota       TEXT    NOT NULL,   -- a JSON object of the limits that differ from the plan's
    queue       TEXT    NOT NULL,   -- made with the tenant and never computed again
    version     INTEGER NOT NULL,   -- raised by every change, over all tenants: dispatchers ask for what is newer
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX tenants_slug ON tenants (slug) WHERE slug IS NOT NULL;
CREATE INDEX tenants_version ON tenants (version);

-- How each tenant's deliveries stand. Moved in the transaction that changes them:
-- accepted = delivered + dead + discarded + backlog + retrying, always.
CREATE TABLE delivery_counts (
    tenant      BLOB    NOT NULL PRIMARY KEY,
    accepted    INTEGER NOT NULL DEFAULT 0,
    delivered   INTEGER NOT NULL DEFAULT 0,
    dead        INTEGER NOT NULL DEFAULT 0,
    discarded   INTEGER NOT NULL DEFAULT 0,
    backlog     INTEGER NOT NULL DEFAULT 0,  -- unfinished, attempts = 0
    retrying    INTEGER NOT NULL DEFAULT 0   -- unfinished, attempts > 0
) STRICT, WITHOUT ROWID;

CREATE TABLE api_keys (
    id          BLOB    NOT NULL PRIMARY KEY,
    tenant      BLOB,               -- NULL: an operator's
    name        TEXT,
    scopes      TEXT    NOT NULL,   -- names, separated by spaces
    secret_hash BLOB    NOT NULL,   -- SHA-256
    created_at  INTEGER NOT NULL,
    expires_at  INTEGER,
    revoked_at  INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX api_keys_by_tenant ON api_keys (tenant, id);

CREATE TABLE endpoints (
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
    body            TEXT    NOT NULL CONSTRAINT endpoints_body CHECK (body IN ('raw', 'envelope')),
    status          TEXT    NOT NULL CONSTRAINT endpoints_status CHECK (status IN ('active', 'paused', 'disabled', 'deleted')),
    status_reason   TEXT,
    circuit         TEXT    NOT NULL DEFAULT 'closed', -- as the dispatcher last said
    failing_since   INTEGER,            -- NULL: the last attempt went well, or there was none
    created_at      INTEGER NOT NULL,
    updated_at      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX endpoints_by_tenant ON endpoints (tenant, id) WHERE status <> 'deleted';
CREATE UNIQUE INDEX endpoints_uid ON endpoints (tenant, uid) WHERE uid IS NOT NULL AND status <> 'deleted';
-- What the sweeper looks for: deleted endpoints, which go with retention.
CREATE INDEX endpoints_deleted ON endpoints (tenant, id) WHERE status = 'deleted';

-- A rowid table: payloads do not belong in the pages of a clustered key.
CREATE TABLE events (
    id          BLOB    NOT NULL PRIMARY KEY,  -- UUIDv7, ascending in the order of commits
    tenant      BLOB    NOT NULL,
    type        TEXT    NOT NULL,
    payload     BLOB    NOT NULL,   -- as posted, byte for byte
    metadata    TEXT CONSTRAINT events_metadata CHECK (instr(metadata, char(0)) = 0), -- a JSON object
    created_at  INTEGER NOT NULL,
    deliver_at  INTEGER,
    expires_at  INTEGER NOT NULL,
    next_ordinal INTEGER NOT NULL   -- the ordinal of its next delivery
) STRICT;
CREATE INDEX events_by_tenant ON events (tenant, id);

CREATE TABLE deliveries (
    event       BLOB    NOT NULL,
    ordinal     INTEGER NOT NULL,
    tenant      BLOB    NOT NULL,
    endpoint    BLOB    NOT NULL,
    state       TEXT    NOT NULL CONSTRAINT deliveries_state
                CHECK (state IN ('queued', 'scheduled', 'held', 'delivered', 'dead', 'discarded')),
    generation  INTEGER NOT NULL DEFAULT 0,  -- raised by every claim, replay and recovery
    attempts    INTEGER NOT NULL DEFAULT 0,  -- recorded so far; never falls
    schedule_position INTEGER NOT NULL DEFAULT 0, -- in the retry schedule; a replay sets it to 0
    expires_at  INTEGER NOT NULL,
    finished_at INTEGER,
    discarded_reason TEXT,
    replay_of   INTEGER,            -- the ordinal of the delivery of the same event that this one repeats
    CONSTRAINT deliveries_key PRIMARY KEY (event, ordinal)
) STRICT, WITHOUT ROWID;
CREATE INDEX deliveries_by_tenant ON deliveries (tenant, event, ordinal);
-- What a crash may have left in a queue that is gone. Small: it holds what is under way.
CREATE INDEX deliveries_queued ON deliveries (tenant, event, ordinal) WHERE state = 'queued';

CREATE TABLE attempts (
    event       BLOB    NOT NULL,
    ordinal     INTEGER NOT NULL,
    n           INTEGER NOT NULL,   -- from 1; never used twice
    id          BLOB    NOT NULL,   -- made when the attempt starts
    started_at  INTEGER NOT NULL,
    duration_ms INTEGER NOT NULL,
    status_code INTEGER,
    error_code  TEXT,
    error_detail TEXT CONSTRAINT attempts_error_detail CHECK (instr(error_detail, char(0)) = 0),
    response_snippet BLOB NOT NULL,
    CONSTRAINT attempts_key PRIMARY KEY (event, ordinal, n)
) STRICT, WITHOUT ROWID;

-- What waits: for its time, for room at its endpoint (parked), for its endpoint or tenant to be active (held),
-- or, claimed, for its outcome (its time is then the end of the claim's lease).
CREATE TABLE schedule (
    event       BLOB    NOT NULL,
    ordinal     INTEGER NOT NULL,
    tenant      BLOB    NOT NULL,
    endpoint    BLOB    NOT NULL,
    lane        INTEGER NOT NULL,   -- 0 first attempts, 1 retries, 2 replays
    wait        TEXT    NOT NULL CONSTRAINT schedule_wait CHECK (wait IN ('time', 'parked', 'held')),
    due_at      INTEGER NOT NULL,   -- for 'parked' and 'held': since when, which is their order
    expires_at  INTEGER NOT NULL,
    CONSTRAINT schedule_key PRIMARY KEY (event, ordinal)
) STRICT, WITHOUT ROWID;
CREATE INDEX schedule_due ON schedule (tenant, lane, due_at) WHERE wait = 'time';
CREATE INDEX schedule_by_endpoint ON schedule (tenant, endpoint, wait, due_at);
CREATE INDEX schedule_expiry ON schedule (expires_at);

-- Pointers to the deliveries that are dead, not a second truth.
CREATE TABLE dead_letters (
    tenant      BLOB    NOT NULL,
    event       BLOB    NOT NULL,
    ordinal     INTEGER NOT NULL,
    died_at     INTEGER NOT NULL,
    CONSTRAINT dead_letters_key PRIMARY KEY (tenant, event, ordinal)
) STRICT, WITHOUT ROWID;
CREATE INDEX dead_letters_by_age ON dead_letters (tenant, died_at);

CREATE TABLE idempotency_keys (
    tenant      BLOB    NOT NULL,
    key         TEXT    NOT NULL CONSTRAINT idempotency_keys_text CHECK (instr(key, char(0)) = 0),
    fingerprint BLOB    NOT NULL,
    event       BLOB    NOT NULL,
    created_at  INTEGER NOT NULL,   -- the event's
    deliveries  INTEGER NOT NULL,   -- as they were answered
    expires_at  INTEGER NOT NULL,
    CONSTRAINT idempotency_keys_key PRIMARY KEY (tenant, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_keys_expiry ON idempotency_keys (expires_at);

-- One row per admitted batch, until the queue has confirmed its deliveries.
CREATE TABLE outbox (
    id          INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    first_event BLOB    NOT NULL,
    last_event  BLOB    NOT NULL,
    created_at  INTEGER NOT NULL
) STRICT;

CREATE TABLE jobs (
    id          BLOB    NOT NULL PRIMARY KEY,
    tenant      BLOB    NOT NULL,
    kind        TEXT    NOT NULL CONSTRAINT jobs_kind CHECK (kind IN ('replay', 'purge', 'delete_tenant')),
    filter      TEXT    NOT NULL,   -- JSON
    status      TEXT    NOT NULL CONSTRAINT jobs_status
                CHECK (status IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
    cursor      TEXT,               -- where the next step goes on; NULL: at the start
    total       INTEGER NOT NULL,
    done        INTEGER NOT NULL DEFAULT 0,
    skipped     INTEGER NOT NULL DEFAULT 0,
    failed      INTEGER NOT NULL DEFAULT 0,
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL,
    ended_at    INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX jobs_by_tenant ON jobs (tenant, id);
CREATE INDEX jobs_open ON jobs (tenant, id) WHERE ended_at IS NULL;
CREATE INDEX jobs_ended ON jobs (ended_at) WHERE ended_at IS NOT NULL;

-- What dispatchers last said is in flight.
CREATE TABLE in_flight (
    node        TEXT    NOT NULL,
    tenant      BLOB    NOT NULL,
    deliveries  INTEGER NOT NULL,
    reported_at INTEGER NOT NULL,
    CONSTRAINT in_flight_key PRIMARY KEY (node, tenant)
) STRICT, WITHOUT ROWID;
CREATE INDEX in_flight_by_tenant ON in_flight (tenant);
