-- What is seen of all tenants: how busy they are, and the conditions that they are in. Only the engine looks here, or a tenant at its own.

-- What each part of a process told last of the tenants that it works for: one small row, replaced every few seconds.
CREATE TABLE activities (
    teller      uuid    NOT NULL PRIMARY KEY,
    told_at     bigint  NOT NULL,
    body        text    NOT NULL    -- JSON
);

-- A condition that holds, or that was cleared and is to be told of.
CREATE TABLE conditions (
    id          uuid    NOT NULL PRIMARY KEY,   -- new with each time that it is raised
    kind        text    NOT NULL,
    tenant      uuid    NOT NULL,
    subject     text    NOT NULL,   -- a quota, an endpoint, or nothing: all of the tenant
    value       double precision NOT NULL,      -- what was measured when it was raised
    measure     double precision NOT NULL,      -- what it is measured by: a quota, a cap, a share
    reason      text,               -- why an endpoint was disabled
    created_at  bigint  NOT NULL,   -- when it was raised
    cleared_at  bigint,             -- NULL: it holds
    told        boolean NOT NULL DEFAULT false  -- that it was raised
);
CREATE UNIQUE INDEX conditions_held ON conditions (tenant, kind, subject) WHERE cleared_at IS NULL;
CREATE INDEX conditions_untold ON conditions (id) WHERE NOT told OR cleared_at IS NOT NULL;

-- It holds rows of tenants: what is read in a tenant's role is its own only, as in every such table.
DO $$
BEGIN
    ALTER TABLE conditions ENABLE ROW LEVEL SECURITY;
    ALTER TABLE conditions FORCE ROW LEVEL SECURITY;
    EXECUTE format('CREATE POLICY engine ON conditions TO %I USING (true) WITH CHECK (true)', current_user);
    CREATE POLICY tenant ON conditions FOR SELECT TO fairhook_tenant
        USING (tenant = nullif(current_setting('fairhook.tenant', true), '')::uuid);
    GRANT SELECT ON conditions TO fairhook_tenant;
END $$;
