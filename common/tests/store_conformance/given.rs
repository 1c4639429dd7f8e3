//! What the tests of the control plane and of lists begin with.

use fairhook_common::delivery::DeliveryState;
use fairhook_common::endpoint::{BodyForm, Endpoint, EndpointSettings};
use fairhook_common::event::EventPattern;
use fairhook_common::ids::TenantId;
use fairhook_common::limits;
use fairhook_common::plan::PlanName;
use fairhook_common::retry::RetrySchedule;
use fairhook_common::store::{JobFilter, NewEndpoint, NewTenant, Order, Page, PageRequest, StoreError};
use fairhook_common::tenant::Tenant;

use super::harness::{START, World};

pub fn new_tenant(slug: &str) -> NewTenant {
    NewTenant {
        slug: slug.into(),
        name: format!("The {slug}"),
        plan: PlanName::STARTER,
        weight: None,
        metadata: "{}".into(),
    }
}

pub async fn made(world: &World, slug: &str) -> Tenant {
    world.store.create_tenant(new_tenant(slug), None, START).await.expect("a tenant")
}

pub fn settings() -> EndpointSettings {
    EndpointSettings {
        url: "https://example.com/hook".into(),
        event_types: vec![EventPattern::parse("*").expect("a pattern")],
        description: None,
        metadata: None,
        headers: vec![],
        rate_limit_per_s: None,
        timeout: limits::ATTEMPT_TIMEOUT,
        retry: RetrySchedule::default(),
        body: BodyForm::Raw,
        handshake: false,
    }
}

pub fn new_endpoint(tenant: TenantId, uid: Option<&str>) -> NewEndpoint {
    NewEndpoint { tenant, uid: uid.map(str::to_owned), settings: settings(), secret: None }
}

pub async fn make_endpoint(world: &World, tenant: TenantId) -> Endpoint {
    world.store.create_endpoint(new_endpoint(tenant, None), START).await.expect("an endpoint")
}

pub fn states(states: &[DeliveryState]) -> JobFilter {
    JobFilter { states: states.to_vec(), ..JobFilter::default() }
}

pub fn first_page() -> PageRequest {
    PageRequest { limit: limits::PAGE_ITEMS, ..PageRequest::default() }
}

/// Reads a list to its end, `limit` items at a time.
pub async fn all_pages<T, F, R>(limit: u32, order: Order, list: F) -> Vec<T>
where
    F: Fn(PageRequest) -> R,
    R: Future<Output = Result<Page<T>, StoreError>>,
{
    let (mut found, mut after) = (vec![], None);
    loop {
        let page = list(PageRequest { limit, after, order, ..PageRequest::default() }).await.expect("a page");
        assert!(page.items.len() <= limit as usize, "a page holds at most what was asked for");
        assert!(!page.items.is_empty() || page.next.is_none() || page.next != after, "a page leads on");
        found.extend(page.items);
        match page.next {
            Some(next) => after = Some(next),
            None => return found,
        }
    }
}
