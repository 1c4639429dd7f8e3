-- What tenants may use where nothing of their own is set. An operator changes plans and adds others; none is ever deleted.
-- Nothing in it is a tenant's: the tenant's role has no business here.
CREATE TABLE plans (
    name                      text   NOT NULL PRIMARY KEY,
    weight                    bigint NOT NULL,
    max_events_per_sec        bigint NOT NULL,
    burst                     bigint NOT NULL,
    max_concurrent_deliveries bigint NOT NULL,
    max_dlq_size              bigint NOT NULL,
    max_backlog               bigint NOT NULL,
    max_endpoints             bigint NOT NULL,
    dlq_overflow              text   NOT NULL CONSTRAINT plans_dlq_overflow
                              CHECK (dlq_overflow IN ('drop_oldest', 'reject_new', 'pause_endpoint')),
    tier_limit                bigint NOT NULL,    -- calls, but for events, of a tenant from one address
    tier_window_ms            bigint NOT NULL,    -- in this time
    version                   bigint NOT NULL,    -- out of `roster`, as that of tenants: all of the plan's changed with it
    changed_at                bigint NOT NULL
);
INSERT INTO plans
SELECT plan.*, 0, floor(extract(epoch FROM now()) * 1000)::bigint FROM (VALUES
    ('starter', 1, 100, 1000, 50, 100, 100000, 50, 'drop_oldest', 50, 10000),
    ('professional', 2, 1000, 10000, 100, 1000, 1000000, 100, 'drop_oldest', 200, 10000),
    ('enterprise', 4, 10000, 100000, 500, 10000, 10000000, 250, 'drop_oldest', 1000, 10000)
) plan;

-- The tenants of a plan that changed, for the roster.
CREATE INDEX tenants_plan ON tenants (plan);
