-- Doors for the webhooks of others. Rows go when a source is deleted: nothing refers to them.

CREATE TABLE sources (
    id              uuid    NOT NULL PRIMARY KEY,
    tenant          uuid    NOT NULL,
    token_hash      bytea   NOT NULL,   -- SHA-256 of the end of its URL
    name            text,
    metadata        text,               -- a JSON object
    verification    text    NOT NULL,   -- a JSON object with a scheme and what belongs to it, without secrets
    secret          text,               -- as the provider gave it; NULL: nothing is signed
    previous_secret text,
    previous_until  bigint,             -- the previous secret counts until then
    event_type      text,               -- a JSON object; NULL: as the provider says it
    delivery_id     text,               -- a JSON object; NULL: what the provider gives
    status          text    NOT NULL CONSTRAINT sources_status CHECK (status IN ('active', 'paused')),
    created_at      bigint  NOT NULL,
    updated_at      bigint  NOT NULL
);
CREATE INDEX sources_by_tenant ON sources (tenant, id);
CREATE UNIQUE INDEX sources_token ON sources (token_hash);

-- It holds rows of tenants: what is read in a tenant's role is its own only, as in every such table.
DO $$
BEGIN
    ALTER TABLE sources ENABLE ROW LEVEL SECURITY;
    ALTER TABLE sources FORCE ROW LEVEL SECURITY;
    EXECUTE format('CREATE POLICY engine ON sources TO %I USING (true) WITH CHECK (true)', current_user);
    CREATE POLICY tenant ON sources FOR SELECT TO fairhook_tenant
        USING (tenant = nullif(current_setting('fairhook.tenant', true), '')::uuid);
    GRANT SELECT ON sources TO fairhook_tenant;
END $$;
