//! The operator's endpoint for operational events, as the configuration has it. It is an endpoint like any other, of a tenant
//! like any other: its secret, its deliveries and its dead letters are found by the API.

use fairhook_common::condition::OPERATOR_TENANT;
use fairhook_common::endpoint::{BodyForm, EndpointSettings};
use fairhook_common::event::EventPattern;
use fairhook_common::limits;
use fairhook_common::plan::PlanName;
use fairhook_common::retry::RetrySchedule;
use fairhook_common::store::{ControlError, NewEndpoint, NewTenant, SharedStore, TenantRef};
use fairhook_common::time::Timestamp;

/// The endpoint's uid.
const UID: &str = "configured";

/// Makes the tenant, unless it is there, and the endpoint, or points it at `url`. Any number of processes may do so.
pub async fn keep(store: &SharedStore, url: &str) -> Result<(), ControlError> {
    let now = Timestamp::now();
    let tenant = match store.find_tenant(&TenantRef::Slug(OPERATOR_TENANT.into())).await? {
        Some(tenant) => tenant,
        None => store.put_tenant(operator(), now).await?.0,
    };
    let endpoint = NewEndpoint {
        tenant: tenant.id,
        uid: Some(UID.into()),
        settings: EndpointSettings {
            url: url.to_owned(),
            event_types: vec![EventPattern::parse("fairhook.*").expect("a fixed pattern that is one")],
            description: Some("setting operator_webhook_url".into()),
            metadata: None,
            headers: Vec::new(),
            rate_limit_per_s: None,
            timeout: limits::ATTEMPT_TIMEOUT,
            retry: RetrySchedule::default(),
            body: BodyForm::Raw,
            handshake: false,
        },
        secret: None,
    };
    store.put_endpoint(endpoint, now).await.map(drop)
}

fn operator() -> NewTenant {
    NewTenant {
        slug: OPERATOR_TENANT.into(),
        name: "The operator's own events".into(),
        plan: PlanName::STARTER,
        weight: None,
        metadata: "{}".into(),
    }
}
