-- The store of the distributed engine. Times are milliseconds since the Unix epoch.
-- There are no foreign keys on the hot path: a delete is a flip of a status, then bounded chunks.
--
-- Who locks more than one kind of row takes them in this order, each kind by its key, or two would wait for each other:
-- the counts of a tenant with part 0, deliveries, the schedule, everything else, the other counts. Who comes from the
-- schedule (a claim, a release) waits for nothing: it leaves out what is locked.

CREATE TABLE tenants (
    id          uuid   NOT NULL PRIMARY KEY,
    slug        text,               -- NULL once deleted, so that it may be used again
    name        text   NOT NULL,
    plan        text   NOT NULL,
    weight      bigint,             -- NULL: the plan's
    metadata    text   NOT NULL,    -- a JSON object
    status      text   NOT NULL CONSTRAINT tenants_status CHECK (status IN ('active', 'deleting', 'deleted')),
    ingest      text   NOT NULL CONSTRAINT tenants_ingest CHECK (ingest IN ('open', 'blocked')),
    dispatch    text   NOT NULL CONSTRAINT tenants_dispatch CHECK (dispatch IN ('open', 'paused')),
    reason      text,
    quota       text   NOT NULL,    -- a JSON object of the limits that differ from the plan's
    queue       text   NOT NULL,    -- made with the tenant and never computed again
    version     bigint NOT NULL,    -- raised by every change, over all tenants: dispatchers ask for what is newer
    created_at  bigint NOT NULL,
    updated_at  bigint NOT NULL
);
CREATE UNIQUE INDEX tenants_slug ON tenants (slug) WHERE slug IS NOT NULL;
CREATE INDEX tenants_version ON tenants (version);

-- The greatest version of a tenant. Whoever raises it keeps the row until its commit, so that versions are seen in order.
CREATE TABLE roster (
    one         boolean NOT NULL PRIMARY KEY DEFAULT true CONSTRAINT roster_one CHECK (one),
    version     bigint  NOT NULL
);
INSERT INTO roster (version) VALUES (0);

-- How each tenant's deliveries stand: the sum over its parts. Moved in the transaction that changes them:
-- accepted = delivered + dead + discarded + backlog + retrying, always. `dead` is moved in part 0 only, whose row is locked
-- before anything else by whoever moves it, so that it is exact; what else moves goes to one of the other parts, so that
-- writers rarely wait for one another's commits. A single part may be negative.
CREATE TABLE delivery_counts (
    tenant      uuid     NOT NULL,
    part        smallint NOT NULL DEFAULT 0,
    accepted    bigint   NOT NULL DEFAULT 0,
    delivered   bigint   NOT NULL DEFAULT 0,
    dead        bigint   NOT NULL DEFAULT 0,
    discarded   bigint   NOT NULL DEFAULT 0,
    backlog     bigint   NOT NULL DEFAULT 0,  -- unfinished, attempts = 0
    retrying    bigint   NOT NULL DEFAULT 0,  -- unfinished, attempts > 0
    CONSTRAINT delivery_counts_key PRIMARY KEY (tenant, part)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05);

CREATE TABLE api_keys (
    id          uuid   NOT NULL PRIMARY KEY,
    tenant      uuid,               -- NULL: an operator's
    name        text,
    scopes      text   NOT NULL,    -- names, separated by spaces
    secret_hash bytea  NOT NULL,    -- SHA-256
    created_at  bigint NOT NULL,
    expires_at  bigint,
    revoked_at  bigint
);
CREATE INDEX api_keys_by_tenant ON api_keys (tenant, id);

CREATE TABLE endpoints (
    id              uuid   NOT NULL PRIMARY KEY,
    tenant          uuid   NOT NULL,
    uid             text,               -- NULL: none; freed by a delete
    url             text   NOT NULL,
    event_types     text   NOT NULL,    -- a JSON array of patterns
    patterns        jsonb  NOT NULL GENERATED ALWAYS AS (event_types::jsonb) STORED, -- the same, read once
    description     text,
    metadata        text,               -- a JSON object
    headers         text   NOT NULL,    -- a JSON array of {name, value}; values are write-only
    secret          text   NOT NULL,    -- whsec_…
    previous_secret text,
    previous_until  bigint,             -- the previous secret signs until then
    rate_limit_per_s bigint,
    timeout_ms      bigint NOT NULL,
    retry           text   NOT NULL,    -- {"schedule_s": […], "jitter": …}
    body            text   NOT NULL CONSTRAINT endpoints_body CHECK (body IN ('raw', 'envelope')),
    status          text   NOT NULL CONSTRAINT endpoints_status CHECK (status IN ('active', 'paused', 'disabled', 'deleted')),
    status_reason   text,
    circuit         text   NOT NULL DEFAULT 'closed', -- as the dispatcher last said
    failing_since   bigint,             -- NULL: the last attempt went well, or there was none
    created_at      bigint NOT NULL,
    updated_at      bigint NOT NULL
);
CREATE INDEX endpoints_by_tenant ON endpoints (tenant, id) WHERE status <> 'deleted';
CREATE UNIQUE INDEX endpoints_uid ON endpoints (tenant, uid) WHERE uid IS NOT NULL AND status <> 'deleted';
-- What the sweeper looks for: deleted endpoints, which go with retention.
CREATE INDEX endpoints_deleted ON endpoints (tenant, id) WHERE status = 'deleted';

-- Events, deliveries and attempts are partitioned on the event's id, which is a UUIDv7 and so a time: a day goes by dropping
-- its tables. What no partition was made for lies in the default ones.
CREATE TABLE events (
    id          uuid    NOT NULL,   -- UUIDv7; ascending for each process that admits
    tenant      uuid    NOT NULL,
    type        text    NOT NULL,
    payload     bytea   NOT NULL,   -- as posted, byte for byte
    metadata    text,               -- a JSON object
    created_at  bigint  NOT NULL,
    deliver_at  bigint,
    expires_at  bigint  NOT NULL,
    next_ordinal integer NOT NULL,  -- the ordinal of its next delivery
    CONSTRAINT events_key PRIMARY KEY (id)
) PARTITION BY RANGE (id);
CREATE INDEX events_by_tenant ON events (tenant, id);
CREATE TABLE events_default PARTITION OF events DEFAULT;

-- `state` is in no index and in no index's predicate: an update that leaves the indexed columns alone stays in its page.
CREATE TABLE deliveries (
    event       uuid    NOT NULL,
    ordinal     integer NOT NULL,
    tenant      uuid    NOT NULL,
    endpoint    uuid    NOT NULL,
    state       text    NOT NULL CONSTRAINT deliveries_state
                CHECK (state IN ('queued', 'scheduled', 'held', 'delivered', 'dead', 'discarded')),
    generation  integer NOT NULL DEFAULT 0,  -- raised by every claim, replay and recovery
    attempts    integer NOT NULL DEFAULT 0,  -- recorded so far; never falls
    schedule_position integer NOT NULL DEFAULT 0, -- in the retry schedule; a replay sets it to 0
    expires_at  bigint  NOT NULL,
    finished_at bigint,
    discarded_reason text,
    replay_of   integer,            -- the ordinal of the delivery of the same event that this one repeats
    CONSTRAINT deliveries_key PRIMARY KEY (event, ordinal)
) PARTITION BY RANGE (event);
CREATE INDEX deliveries_by_tenant ON deliveries (tenant, event, ordinal);
CREATE TABLE deliveries_default PARTITION OF deliveries DEFAULT WITH (fillfactor = 70);

CREATE TABLE attempts (
    event       uuid    NOT NULL,
    ordinal     integer NOT NULL,
    n           integer NOT NULL,   -- from 1; never used twice
    tenant      uuid    NOT NULL,
    id          uuid    NOT NULL,   -- made when the attempt starts
    started_at  bigint  NOT NULL,
    duration_ms bigint  NOT NULL,
    status_code integer,
    error_code  text,
    error_detail text,
    response_snippet bytea NOT NULL,
    CONSTRAINT attempts_key PRIMARY KEY (event, ordinal, n)
) PARTITION BY RANGE (event);
CREATE TABLE attempts_default PARTITION OF attempts DEFAULT;

-- What waits: for its time, for room at its endpoint (parked), for its endpoint or tenant to be active (held),
-- or, claimed, for its outcome (its time is then the end of the claim's lease). It is small and never still.
CREATE TABLE schedule (
    event       uuid     NOT NULL,
    ordinal     integer  NOT NULL,
    tenant      uuid     NOT NULL,
    endpoint    uuid     NOT NULL,
    lane        smallint NOT NULL,  -- 0 first attempts, 1 retries, 2 replays
    wait        text     NOT NULL CONSTRAINT schedule_wait CHECK (wait IN ('time', 'parked', 'held')),
    due_at      bigint   NOT NULL,  -- for 'parked' and 'held': since when, which is their order
    expires_at  bigint   NOT NULL,
    CONSTRAINT schedule_key PRIMARY KEY (event, ordinal)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);
CREATE INDEX schedule_due ON schedule (tenant, lane, due_at) WHERE wait = 'time';
CREATE INDEX schedule_by_endpoint ON schedule (tenant, endpoint, wait, due_at);
CREATE INDEX schedule_expiry ON schedule (expires_at);

-- Pointers to the deliveries that are dead, not a second truth.
CREATE TABLE dead_letters (
    tenant      uuid    NOT NULL,
    event       uuid    NOT NULL,
    ordinal     integer NOT NULL,
    died_at     bigint  NOT NULL,
    CONSTRAINT dead_letters_key PRIMARY KEY (tenant, event, ordinal)
);
CREATE INDEX dead_letters_by_age ON dead_letters (tenant, died_at);

CREATE TABLE idempotency_keys (
    tenant      uuid    NOT NULL,
    key         text    NOT NULL,
    fingerprint bytea   NOT NULL,
    event       uuid    NOT NULL,
    created_at  bigint  NOT NULL,   -- the event's
    deliveries  integer NOT NULL,   -- as they were answered
    expires_at  bigint  NOT NULL,
    CONSTRAINT idempotency_keys_key PRIMARY KEY (tenant, key)
);
CREATE INDEX idempotency_keys_expiry ON idempotency_keys (expires_at);

-- One row per admitted batch, until the queue has confirmed its deliveries.
CREATE TABLE outbox (
    id          bigint  NOT NULL GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    events      uuid[]  NOT NULL,   -- those with deliveries to publish, ascending (others' lie between them)
    created_at  bigint  NOT NULL
);
ALTER TABLE outbox ALTER COLUMN events SET STORAGE EXTERNAL;

-- How far each tenant's deliveries were looked through for lost messages: none below is on its way in a queue.
CREATE TABLE lost_scans (
    tenant      uuid    NOT NULL PRIMARY KEY,
    below       uuid    NOT NULL
);

CREATE TABLE jobs (
    id          uuid    NOT NULL PRIMARY KEY,
    tenant      uuid    NOT NULL,
    kind        text    NOT NULL CONSTRAINT jobs_kind CHECK (kind IN ('replay', 'purge', 'delete_tenant')),
    filter      text    NOT NULL,   -- JSON
    status      text    NOT NULL CONSTRAINT jobs_status
                CHECK (status IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
    cursor      text,               -- where the next step goes on; NULL: at the start
    total       bigint  NOT NULL,
    done        bigint  NOT NULL DEFAULT 0,
    skipped     bigint  NOT NULL DEFAULT 0,
    failed      bigint  NOT NULL DEFAULT 0,
    created_at  bigint  NOT NULL,
    updated_at  bigint  NOT NULL,
    ended_at    bigint
);
CREATE INDEX jobs_by_tenant ON jobs (tenant, id);
CREATE INDEX jobs_open ON jobs (tenant, id) WHERE ended_at IS NULL;
CREATE INDEX jobs_ended ON jobs (ended_at) WHERE ended_at IS NOT NULL;

-- What dispatchers last said is in flight.
CREATE TABLE in_flight (
    node        text    NOT NULL,
    tenant      uuid    NOT NULL,
    deliveries  bigint  NOT NULL,
    reported_at bigint  NOT NULL,
    CONSTRAINT in_flight_key PRIMARY KEY (node, tenant)
);
CREATE INDEX in_flight_by_tenant ON in_flight (tenant);

-- The processes of the engine. Whoever reads or changes them holds the one row of `cluster`.
CREATE TABLE cluster (
    one         boolean NOT NULL PRIMARY KEY DEFAULT true CONSTRAINT cluster_one CHECK (one),
    version     bigint  NOT NULL,   -- raised when a dispatcher joins, begins to leave, leaves or is buried
    queue_epoch uuid                -- marks the queue's data as the ones we know
);
INSERT INTO cluster (version) VALUES (0);

CREATE TABLE nodes (
    node        uuid    NOT NULL PRIMARY KEY,
    name        text    NOT NULL,
    ingest      boolean NOT NULL,   -- its roles
    dispatcher  boolean NOT NULL,
    state       text    NOT NULL CONSTRAINT nodes_state CHECK (state IN ('live', 'leaving', 'dead')),
    joined      bigint  NOT NULL,   -- the version at which it joined
    applied     bigint  NOT NULL,   -- the version whose shares it keeps
    admitted    boolean NOT NULL,
    lease_until bigint  NOT NULL
);

-- What only one process at a time may do.
CREATE TABLE leases (
    name        text    NOT NULL PRIMARY KEY,
    node        uuid    NOT NULL,
    lease_until bigint  NOT NULL
);
