-- What tenants may use where nothing of their own is set. An operator changes plans and adds others; none is ever deleted.
CREATE TABLE plans (
    name                      TEXT    NOT NULL PRIMARY KEY,
    weight                    INTEGER NOT NULL,
    max_events_per_sec        INTEGER NOT NULL,
    burst                     INTEGER NOT NULL,
    max_concurrent_deliveries INTEGER NOT NULL,
    max_dlq_size              INTEGER NOT NULL,
    max_backlog               INTEGER NOT NULL,
    max_endpoints             INTEGER NOT NULL,
    dlq_overflow              TEXT    NOT NULL CONSTRAINT plans_dlq_overflow
                              CHECK (dlq_overflow IN ('drop_oldest', 'reject_new', 'pause_endpoint')),
    tier_limit                INTEGER NOT NULL,   -- calls, but for events, of a tenant from one address
    tier_window_ms            INTEGER NOT NULL,   -- in this time
    version                   INTEGER NOT NULL,   -- of the same order as that of tenants: all of the plan's changed with it
    changed_at                INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO plans VALUES
    ('starter', 1, 100, 1000, 50, 100, 100000, 50, 'drop_oldest', 50, 10000, 0, unixepoch() * 1000),
    ('professional', 2, 1000, 10000, 100, 1000, 1000000, 100, 'drop_oldest', 200, 10000, 0, unixepoch() * 1000),
    ('enterprise', 4, 10000, 100000, 500, 10000, 10000000, 250, 'drop_oldest', 1000, 10000, 0, unixepoch() * 1000);

-- The tenants of a plan that changed, for the roster.
CREATE INDEX tenants_plan ON tenants (plan);
