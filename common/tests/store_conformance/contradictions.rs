//! What must never be found in a backend's tables, in SQL that every backend reads.

/// Pairs of a contradiction's name and the query that finds its cases.
pub const CONTRADICTIONS: &[(&str, &str)] = &[
    (
        "waits, but has no row in the schedule",
        "SELECT d.event FROM deliveries d LEFT JOIN schedule s USING (event, ordinal) \
         WHERE d.state IN ('scheduled', 'held') AND s.event IS NULL",
    ),
    (
        "has a row in the schedule that its state has no use for",
        "SELECT s.event FROM schedule s LEFT JOIN deliveries d USING (event, ordinal) WHERE d.event IS NULL OR NOT CASE s.wait \
         WHEN 'held' THEN d.state = 'held' WHEN 'parked' THEN d.state = 'scheduled' \
         ELSE d.state IN ('scheduled', 'queued') END",
    ),
    (
        "its row in the schedule is another's",
        "SELECT s.event FROM schedule s JOIN deliveries d USING (event, ordinal) \
         WHERE s.tenant <> d.tenant OR s.endpoint <> d.endpoint OR s.expires_at <> d.expires_at",
    ),
    (
        "is dead, but not listed",
        "SELECT d.event FROM deliveries d LEFT JOIN dead_letters l USING (tenant, event, ordinal) \
         WHERE d.state = 'dead' AND l.event IS NULL",
    ),
    (
        "is listed, but not dead",
        "SELECT l.event FROM dead_letters l LEFT JOIN deliveries d USING (tenant, event, ordinal) \
         WHERE d.state IS DISTINCT FROM 'dead'",
    ),
    (
        "has more attempts than it says, or one beyond their number",
        "SELECT d.event FROM deliveries d JOIN attempts a USING (event, ordinal) GROUP BY d.event, d.ordinal \
         HAVING count(*) > d.attempts OR max(a.n) > d.attempts",
    ),
    (
        "is an attempt of no delivery",
        "SELECT a.event FROM attempts a LEFT JOIN deliveries d USING (event, ordinal) WHERE d.event IS NULL",
    ),
    (
        "belongs to a tenant that is gone",
        "SELECT t.id FROM tenants t WHERE t.status = 'deleted' AND t.id IN ( \
         SELECT tenant FROM endpoints UNION ALL SELECT tenant FROM api_keys UNION ALL SELECT tenant FROM events \
         UNION ALL SELECT tenant FROM deliveries UNION ALL SELECT tenant FROM schedule \
         UNION ALL SELECT tenant FROM dead_letters UNION ALL SELECT tenant FROM idempotency_keys \
         UNION ALL SELECT tenant FROM delivery_counts UNION ALL SELECT tenant FROM in_flight \
         UNION ALL SELECT tenant FROM jobs WHERE kind <> 'delete_tenant')",
    ),
    (
        "has no event",
        "SELECT d.event FROM deliveries d LEFT JOIN events e ON e.id = d.event \
         WHERE e.id IS NULL OR d.ordinal >= e.next_ordinal",
    ),
];
