-- The second role. The engine works as the owner of the tables. What the management API reads on a tenant's behalf it reads
-- as fairhook_tenant, who sees the rows of the tenant named in `fairhook.tenant` and no others; nobody is named: no rows.
-- Row-level security is forced, so that a table without a policy shows nothing to its owner either.

-- A role belongs to the whole server: another database of it may be making the same one now. Where the engine's role may
-- not make roles, an administrator makes this one beforehand and grants it to the engine's.
DO $$
BEGIN
    IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'fairhook_tenant') THEN
        CREATE ROLE fairhook_tenant NOLOGIN;
    END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL;
END $$;

DO $$
BEGIN
    IF NOT pg_has_role(current_user, 'fairhook_tenant', 'MEMBER') THEN
        EXECUTE format('GRANT fairhook_tenant TO %I', current_user);
    END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL;
END $$;

DO $$
DECLARE
    place record;
BEGIN
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO fairhook_tenant', current_schema());
    FOR place IN
        SELECT name, CASE name WHEN 'tenants' THEN 'id' ELSE 'tenant' END AS owner
        FROM unnest(ARRAY['tenants', 'delivery_counts', 'api_keys', 'endpoints', 'events', 'deliveries', 'attempts',
            'schedule', 'dead_letters', 'idempotency_keys', 'lost_scans', 'jobs', 'in_flight']) AS name
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', place.name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', place.name);
        EXECUTE format('CREATE POLICY engine ON %I TO %I USING (true) WITH CHECK (true)', place.name, current_user);
        -- Once it was set, a setting that is not is an empty text, which is nobody's id.
        EXECUTE format('CREATE POLICY tenant ON %I FOR SELECT TO fairhook_tenant '
            'USING (%I = nullif(current_setting(''fairhook.tenant'', true), '''')::uuid)', place.name, place.owner);
        EXECUTE format('GRANT SELECT ON %I TO fairhook_tenant', place.name);
    END LOOP;
END $$;
