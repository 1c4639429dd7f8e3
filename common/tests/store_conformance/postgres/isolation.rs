//! A tenant's role sees that tenant's rows and no others, in every table there is: also in those that somebody adds.

use fairhook_common::condition::{ConditionKind, Subject};
use fairhook_common::ids::TenantId;
use fairhook_common::key::{ApiKey, KeyText, Scope};
use fairhook_common::policy::Policy;
use fairhook_common::store::postgres::PostgresStore;
use fairhook_common::store::{Control, EventFilter, JobKind, Recovery, Report, Store};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection, Row};
use uuid::Uuid;

use super::backend::{Home, statement};
use super::given::{first_page, new_endpoint, new_tenant, states};
use super::harness::{START, World, at, event, keyed};
use super::overrides::an_override;
use super::sources::new_source;
use super::watch::condition;

/// Leaves a row of the tenant's in every table that holds rows of tenants.
async fn fill(world: &World, slug: &str) -> TenantId {
    let store = &world.store;
    let text = KeyText::generate();
    let key = ApiKey {
        id: text.id,
        tenant: None,
        name: None,
        scopes: vec![Scope::EventsWrite],
        secret_hash: text.hash(),
        created_at: START,
        expires_at: None,
        revoked_at: None,
    };
    let tenant = store.create_tenant(new_tenant(slug), Some(key), START).await.expect("a tenant").id;
    world.endpoint(tenant).await;
    let sent = world.deliveries(tenant, 2).await;
    world.record(vec![sent[0].dead(at(1)), sent[1].retry(at(60), at(1))]).await;
    world.admit(vec![keyed(tenant, "key", 1), event(tenant, "a")], at(2)).await;
    store.create_job(tenant, JobKind::Replay, states(&[]), at(2)).await.expect("a job");
    let report = Report { in_flight: vec![(tenant, 2)], ..Report::default() };
    store.report(slug, report, at(2)).await.expect("reported");
    store.recover(Recovery::Lost { tenant, before: at(1) }, at(3)).await.expect("looked through");
    let raised = condition(tenant, ConditionKind::TenantNoisy, Subject::Tenant, at(2));
    store.change_conditions(&[raised], &[], at(3)).await.expect("raised");
    store.put_override(tenant, an_override(Policy::Tier, "1 / 1 s", 2, 60), at(2)).await.expect("set");
    store.create_source(new_source(tenant), at(2)).await.expect("a source");
    tenant
}

async fn count(db: &mut PgConnection, table: &str, setting: Option<&str>, condition: &str) -> i64 {
    let mut transaction = db.begin().await.expect("begins");
    statement(&mut transaction, "SET LOCAL ROLE fairhook_tenant").await;
    if let Some(setting) = setting {
        let set = sqlx::query("SELECT set_config('fairhook.tenant', $1, true)").bind(setting);
        set.execute(&mut *transaction).await.expect("set");
    }
    let sql = format!("SELECT count(*) FROM {table} WHERE {condition}");
    let count = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut *transaction).await;
    transaction.rollback().await.expect("rolls back");
    count.unwrap_or_else(|error| panic!("{table}: {error}"))
}

async fn assert_isolated(db: &mut PgConnection, table: &str, a: TenantId, b: TenantId) {
    let owner = if table == "tenants" { "id" } else { "tenant" };
    let (a, b) = (a.uuid().to_string(), b.uuid().to_string());
    let of_a = format!("{owner} = '{a}'");
    assert_eq!(count(db, table, None, "true").await, 0, "{table}: nobody was named");
    assert_eq!(count(db, table, Some(""), "true").await, 0, "{table}: nobody is named any more");
    assert_eq!(count(db, table, Some(&Uuid::now_v7().to_string()), "true").await, 0, "{table}: a stranger");
    assert_eq!(count(db, table, Some(&b), &of_a).await, 0, "{table}: another tenant");
    let own = count(db, table, Some(&a), "true").await;
    let all: i64 = sqlx::query_scalar(AssertSqlSafe(format!("SELECT count(*) FROM {table} WHERE {of_a}")))
        .fetch_one(db)
        .await
        .expect("reads");
    assert!(all > 0, "{table}: the test has left no row of the tenant's there");
    assert_eq!(own, all, "{table}: the tenant itself");
}

#[tokio::test]
async fn the_tenants_role_sees_its_own_rows_in_every_table_and_no_others() {
    let world = World::new().await;
    let (a, b) = (fill(&world, "acme").await, fill(&world, "other").await);
    let mut db = world.home.connect().await;
    let tables = sqlx::query(
        "SELECT c.relname::text AS name, c.relispartition, c.relrowsecurity AND c.relforcerowsecurity AS forced, \
         has_table_privilege('fairhook_tenant', c.oid, 'SELECT') AS reads, \
         has_table_privilege('fairhook_tenant', c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER') AS writes, \
         c.relname = 'tenants' OR EXISTS (SELECT 1 FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'tenant') \
         AS holds FROM pg_class c WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm') \
         ORDER BY 1",
    );
    let mut walked = 0;
    for table in tables.fetch_all(&mut db).await.expect("reads") {
        let name: String = table.get("name");
        let is = |what: &str| table.get::<bool, _>(what);
        assert!(!is("writes"), "{name} can be written by the tenant's role");
        // A partition is read through its table, whose policies count then, and not by itself.
        if is("relispartition") || !is("holds") {
            assert!(!is("reads"), "{name} can be read by the tenant's role");
            continue;
        }
        assert!(is("forced"), "{name} holds rows of tenants without row-level security that is forced");
        assert!(is("reads"), "{name} cannot be read by the tenant's role");
        assert_isolated(&mut db, &name, a, b).await;
        walked += 1;
    }
    assert!(walked >= 13, "only {walked} tables");
}

#[tokio::test]
async fn what_is_read_for_a_tenant_is_read_in_its_role() {
    let world = World::new().await;
    let acme = fill(&world, "acme").await;
    let page = first_page();
    let events = world.store.list_events(acme, &EventFilter::default(), &page).await.expect("a list").items;
    assert!(!events.is_empty());
    // Without its policies the role sees nothing: whoever still sees something reads in another one.
    let mut db = world.home.connect().await;
    for table in ["events", "endpoints", "jobs", "api_keys", "deliveries", "sources"] {
        statement(&mut db, &format!("DROP POLICY tenant ON {table}")).await;
    }
    let store = &world.store;
    assert!(store.list_events(acme, &EventFilter::default(), &page).await.expect("a list").items.is_empty());
    assert!(store.find_event(acme, events[0].id).await.expect("reads").is_none());
    assert!(store.list_endpoints(acme, &[], &page).await.expect("a list").items.is_empty());
    assert!(store.list_sources(acme, &page).await.expect("a list").items.is_empty());
    assert!(store.list_jobs(acme, &page).await.expect("a list").items.is_empty());
    assert!(world.all(acme).await.is_empty());
    let owner = fairhook_common::store::KeyOwner::Tenant(acme);
    assert!(store.list_keys(owner, &page).await.expect("a list").items.is_empty());
    assert!(!store.list_tenants(&page).await.expect("a list").items.is_empty(), "the engine's role sees all");
}

#[tokio::test]
async fn whoever_may_not_act_for_tenants_is_told_what_to_run() {
    let home = Home::new();
    let mut db = home.connect().await;
    let role = format!("fairhook_test_{}", Uuid::now_v7().simple());
    statement(&mut db, &format!("CREATE ROLE {role} LOGIN PASSWORD '{role}'")).await;
    let mut url: url::Url = home.url().parse().expect("a URL");
    url.set_username(&role).expect("a name");
    url.set_password(Some(&role)).expect("a password");
    let refused = PostgresStore::open(url.as_str()).await.err().map(|error| error.to_string());
    statement(&mut db, &format!("DROP ROLE {role}")).await;
    let refused = refused.expect("it cannot work");
    assert!(refused.contains(&format!("GRANT fairhook_tenant TO {role}")), "{refused}");
}

#[tokio::test]
async fn the_engine_needs_no_superuser() {
    let home = Home::new();
    drop(home.open().await);
    let mut db = home.connect().await;
    let role = format!("fairhook_test_{}", Uuid::now_v7().simple());
    let database = format!("{role}_db");
    statement(
        &mut db,
        &format!("CREATE ROLE {role} LOGIN PASSWORD '{role}'; GRANT fairhook_tenant TO {role}"),
    )
    .await;
    statement(&mut db, &format!("CREATE DATABASE {database} OWNER {role}")).await;
    let mut url: url::Url = home.url().parse().expect("a URL");
    url.set_path(&database);
    url.set_username(&role).expect("a name");
    url.set_password(Some(&role)).expect("a password");
    let tried = async {
        let store = PostgresStore::open(url.as_str()).await.expect("the store opens");
        let tenant = store.create_tenant(new_tenant("acme"), None, START).await.expect("a tenant").id;
        store.create_endpoint(new_endpoint(tenant, None), START).await.expect("an endpoint");
        let _ = store.changes();
        let found = store.list_endpoints(tenant, &[], &first_page()).await.expect("a list").items.len();
        let others = store.list_endpoints(TenantId::generate(), &[], &first_page()).await.expect("a list");
        store.close().await;
        (found, others.items.len())
    };
    let seen = tried.await;
    statement(&mut db, &format!("DROP DATABASE {database} WITH (FORCE)")).await;
    statement(&mut db, &format!("DROP ROLE {role}")).await;
    assert_eq!(seen, (1, 0));
}
