-- Two indexes put each delivery at its tenant's place, so that a batch over many tenants wrote a page or two for each of them.
-- Now all that a batch adds to `deliveries` and its index stands at their ends, and a tenant's deliveries are found by its events.

DROP INDEX deliveries_by_tenant;
DROP INDEX deliveries_queued;
-- What a crash may have left in a queue that is gone. Small: it holds what is under way.
CREATE INDEX deliveries_queued ON deliveries (event, ordinal, tenant) WHERE state = 'queued';

-- Unique, so that SQLite knows that the events of a tenant, in order, have their deliveries in order.
DROP INDEX events_by_tenant;
CREATE UNIQUE INDEX events_by_tenant ON events (tenant, id);

-- The keys of each tenant's deliveries. Bounds and orders are to name (event, ordinal).
CREATE VIEW tenant_deliveries AS
    SELECT e.tenant, e.id AS event, d.ordinal FROM events e CROSS JOIN deliveries d ON d.event = e.id;
