-- Rates that a tenant has for a while in place of its plan's. One that has ended counts no more; it goes when another one is set.

CREATE TABLE limit_overrides (
    tenant      uuid    NOT NULL,
    policy      text    NOT NULL,
    limit_      bigint  NOT NULL,   -- so many
    window_ms   bigint  NOT NULL,   -- in this time
    created_at  bigint  NOT NULL,
    ends_at     bigint  NOT NULL,
    PRIMARY KEY (tenant, policy)
);

-- It holds rows of tenants: what is read in a tenant's role is its own only, as in every such table.
DO $$
BEGIN
    ALTER TABLE limit_overrides ENABLE ROW LEVEL SECURITY;
    ALTER TABLE limit_overrides FORCE ROW LEVEL SECURITY;
    EXECUTE format('CREATE POLICY engine ON limit_overrides TO %I USING (true) WITH CHECK (true)', current_user);
    CREATE POLICY tenant ON limit_overrides FOR SELECT TO fairhook_tenant
        USING (tenant = nullif(current_setting('fairhook.tenant', true), '')::uuid);
    GRANT SELECT ON limit_overrides TO fairhook_tenant;
END $$;
