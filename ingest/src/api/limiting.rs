//! Which policies guard which calls, and how callers are told.
//!
//! [`guarded`] stands before every call, put there in one line: it finds out who calls and from where, refuses strangers within
//! their own limits, bounds how many requests of one tenant are under way, and asks the policies of its [`Guard`]. What was
//! decided, here or by a handler, is collected in [`Decided`] and written into the answer's headers once, on the way out.

use std::collections::HashMap;
use std::fmt::Write;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use fairhook_common::ids::TenantId;
use fairhook_common::policy::{Configured, Policy, PolicyRate};
use fairhook_common::store::TenantRef;
use fairhook_common::tenant::Tenant;
use fairhook_common::time::Timestamp;

use super::Edge;
use super::auth::{self, Caller, Given, Unknown};
use super::client::{self, Peer};
use super::problem::Problem;
use crate::limiter::key::Key;
use crate::limiter::shared::Patience;
use crate::limiter::{Decision, Limiter};

/// Who calls and from where; an extension of each request behind [`guarded`].
#[derive(Debug, Clone)]
pub struct Identified {
    /// Who.
    pub caller: Caller,
    /// From where.
    pub address: IpAddr,
    /// For whom, if it is an operator.
    pub acts_for: ActsFor,
}

/// For which tenant an operator's request acts, from when that is known on; the first of several.
#[derive(Debug, Clone, Default)]
pub struct ActsFor(Arc<OnceLock<TenantId>>);

impl ActsFor {
    /// For this one.
    pub fn note(&self, tenant: TenantId) {
        let _ = self.0.set(tenant);
    }
}

/// What was decided about a request; an extension of its answer.
#[derive(Debug, Clone, Default)]
pub struct Decided {
    decisions: Vec<(Policy, Decision)>,
    /// How long those who decide may still wait.
    patience: Patience,
}

impl Decided {
    /// A policy's decision; a later one of the same takes the place of the earlier.
    pub fn add(&mut self, policy: Policy, decision: Decision) {
        self.decisions.retain(|(decided, _)| *decided != policy);
        self.decisions.push((policy, decision));
    }

    /// What is decided from here on is about another event, for which may be waited as long as for any.
    pub fn next_event(&mut self) {
        self.patience = Patience::default();
    }

    /// Takes `cost` of what `key` may ask at this rate.
    pub async fn take(
        &mut self,
        limiter: &Limiter,
        policy: Policy,
        key: &Key,
        rate: PolicyRate,
        cost: u32,
    ) -> Decision {
        let decision = limiter.take(policy, key, rate, cost, &mut self.patience).await;
        self.add(policy, decision);
        decision
    }

    /// Takes one of a tenant's events per second.
    pub async fn take_event(&mut self, limiter: &Limiter, tenant: &Tenant) -> Decision {
        let decision = limiter.take_event(tenant.id, &tenant.limits(), &mut self.patience).await;
        self.add(Policy::Events, decision);
        decision
    }

    /// Leaves it with a handler's answer.
    pub fn leave(self, response: &mut Response) {
        response.extensions_mut().insert(self);
    }

    /// With what a handler has left.
    fn and(mut self, left: Option<Self>) -> Self {
        for (policy, decision) in left.into_iter().flat_map(|left| left.decisions) {
            self.add(policy, decision);
        }
        self
    }

    /// All policies in `RateLimit-Policy`, the tightest in `RateLimit` (draft-ietf-httpapi-ratelimit-headers) and `X-RateLimit-*`.
    fn write(&self, headers: &mut HeaderMap) {
        let Some((tightest, decision)) =
            self.decisions.iter().min_by_key(|(_, decision)| decision.tightness())
        else {
            return;
        };
        let mut header = |name, value: HeaderValue| {
            headers.insert(HeaderName::from_static(name), value);
        };
        let text = |text: String| HeaderValue::try_from(text).expect("digits and fixed ASCII make a header");
        let mut policies = String::with_capacity(64);
        for (policy, decision) in &self.decisions {
            let whole = decision.window.as_secs() + u64::from(decision.window.subsec_nanos() > 0);
            let comma = if policies.is_empty() { "" } else { ", " };
            // A String takes whatever is written.
            let _ = write!(policies, "{comma}\"{policy}\";q={};w={}", decision.limit, whole.max(1));
        }
        let (remaining, seconds) = (decision.remaining, decision.reset_seconds());
        header("ratelimit-policy", text(policies));
        header("ratelimit", text(format!("\"{tightest}\";r={remaining};t={seconds}")));
        header("x-ratelimit-limit", decision.limit.into());
        header("x-ratelimit-remaining", remaining.into());
        header("x-ratelimit-reset", decision.reset.0.into());
    }
}

/// Requests of tenants that are under way in this process.
#[derive(Debug, Clone, Default)]
pub struct UnderWay(Arc<Mutex<HashMap<TenantId, usize>>>);

/// One of them; it ends when this is dropped.
pub(super) struct OnItsWay(UnderWay, TenantId);

impl UnderWay {
    /// One more of this tenant's, unless there are `most`.
    pub(super) fn begin(&self, tenant: TenantId, most: usize) -> Option<OnItsWay> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(tenant).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(OnItsWay(self.clone(), tenant))
    }
}

impl Drop for OnItsWay {
    fn drop(&mut self) {
        let mut counts = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.1) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.1);
            }
        }
    }
}

/// A guard before routes: these policies, in this order, which is that of their windows. Operators are not limited.
#[derive(Clone)]
pub struct Guard {
    edge: Arc<Edge>,
    policies: &'static [Policy],
}

impl Guard {
    /// Guards with these. Two are no guard's: an event's rate is no window's, and which source it is only its own route knows.
    pub fn new(edge: &Arc<Edge>, policies: &'static [Policy]) -> Self {
        assert!(!policies.iter().any(|policy| matches!(policy, Policy::Events | Policy::SourceIngest)));
        Self { edge: Arc::clone(edge), policies }
    }
}

/// Lets a request pass its guard, or refuses it: routes take it by `route_layer(from_fn_with_state(guard, guarded))`. A stranger
/// is refused, and sooner if it is a stranger often; a caller with a valid key is never refused for what others of its address do.
pub async fn guarded(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let edge = &guard.edge;
    let peer = request.extensions().get().copied().unwrap_or(Peer::NONE);
    let address = client::address(peer, request.headers(), &edge.settings.trusted_proxies);
    let root = &edge.settings.operator_key;
    let (mut whose, mut decided) = (None, Decided::default());
    let known = auth::authenticate(request.headers(), root, &edge.memory, address, Timestamp::now());
    let mut response = match known.await {
        Ok(caller) => {
            let (own, acts_for) = (caller.tenant(), ActsFor::default());
            let identified = Identified { caller, address, acts_for: acts_for.clone() };
            let response = answer(&guard, identified, request, next, &mut decided).await;
            whose = own.or_else(|| acts_for.0.get().copied());
            response
        }
        Err(Unknown::Stranger { problem, given }) => {
            stranger(edge, address, problem, given, &mut decided).await.into_response()
        }
        Err(Unknown::Failed(problem)) => problem.into_response(),
    };
    tell(&mut response, decided, whose);
    response
}

/// Writes what was decided about a request, here and by its handler, into its answer's headers, and leaves whose request it was
/// for whoever counts answers.
pub(super) fn tell(response: &mut Response, decided: Decided, whose: Option<TenantId>) {
    decided.and(response.extensions_mut().remove()).write(response.headers_mut());
    if let Some(tenant) = whose {
        response.extensions_mut().insert(tenant);
    }
}

/// The answer to somebody who is known.
async fn answer(
    guard: &Guard,
    identified: Identified,
    mut request: Request,
    next: Next,
    decided: &mut Decided,
) -> Response {
    let most = guard.edge.settings.concurrent_requests;
    let tenant = identified.caller.tenant();
    let place = tenant.map(|tenant| guard.edge.under_way.begin(tenant, most));
    if matches!(place, Some(None)) {
        return too_many_at_once(most).into_response();
    }
    if let Some(tenant) = tenant
        && let Err(problem) = pass(guard, tenant, identified.address, decided).await
    {
        return problem.into_response();
    }
    request.extensions_mut().insert(identified);
    let response = next.run(request).await;
    drop(place);
    response
}

pub(super) fn too_many_at_once(most: usize) -> Problem {
    let after = Duration::from_secs(1);
    let (detail, limit) =
        (format!("{most} requests of the tenant are under way"), u32::try_from(most).unwrap_or(u32::MAX));
    Problem::quota(detail, "concurrent_requests", (limit, 0), (Timestamp::now().after(after), after))
}

/// What to answer to a request without a valid key, or to a source that there is not; `problem` says why.
pub(super) async fn stranger(
    edge: &Edge,
    address: IpAddr,
    problem: Problem,
    given: Given,
    decided: &mut Decided,
) -> Problem {
    let policies: &[Policy] = match given {
        // The longest window last here, too.
        Given::Key => &[Policy::Anonymous, Policy::AuthFailures],
        Given::Nothing | Given::Token => &[Policy::Anonymous],
    };
    for policy in policies {
        let Configured::Rate(rate) = edge.limiter.rates.of(*policy) else { continue };
        if let Err(refused) = take_of(edge, *policy, &Key::address(address), rate, 1, decided).await {
            // For whoever gave nothing, nothing was looked up.
            if given != Given::Nothing {
                edge.memory.guesses.note(address);
            }
            return refused;
        }
    }
    problem
}

/// Whether the guard's policies let a request of this tenant from this address pass.
async fn pass(guard: &Guard, id: TenantId, address: IpAddr, decided: &mut Decided) -> Result<(), Problem> {
    if guard.policies.is_empty() {
        return Ok(());
    }
    let Some(tenant) = guard.edge.memory.tenant(&TenantRef::Id(id)).await? else { return Ok(()) };
    let (edge, now) = (&guard.edge, Timestamp::now());
    for policy in guard.policies {
        let Some(rate) = rate_of(edge, *policy, &tenant, now) else { continue };
        let key = key_of(*policy, tenant.id, address);
        take_of(edge, *policy, &key, rate, 1, decided).await?;
    }
    Ok(())
}

/// Whose requests a guard's policy counts together.
fn key_of(policy: Policy, tenant: TenantId, address: IpAddr) -> Key {
    match policy {
        Policy::Tier => Key::tenant_at(tenant, address),
        Policy::ApiRequests | Policy::EventsPerDay | Policy::BytesPerMinute => Key::tenant(tenant),
        Policy::Anonymous | Policy::AuthFailures | Policy::PublicForm => Key::address(address),
        Policy::Events | Policy::SourceIngest => unreachable!("a guard is not made with it"),
    }
}

/// Takes `cost` of what the tenant may ask under a policy of its own, not by the address. What costs more than the whole limit
/// takes all of it.
pub async fn take(
    edge: &Edge,
    policy: Policy,
    tenant: &Tenant,
    cost: u32,
    now: Timestamp,
    decided: &mut Decided,
) -> Result<(), Problem> {
    let Some(rate) = rate_of(edge, policy, tenant, now) else { return Ok(()) };
    take_of(edge, policy, &Key::tenant(tenant.id), rate, cost, decided).await
}

/// Takes `cost` of what `key` may ask at this rate.
pub async fn take_of(
    edge: &Edge,
    policy: Policy,
    key: &Key,
    rate: PolicyRate,
    cost: u32,
    decided: &mut Decided,
) -> Result<(), Problem> {
    let decision = decided.take(&edge.limiter, policy, key, rate, cost.min(rate.limit)).await;
    if decision.allowed { Ok(()) } else { Err(over(policy, &decision)) }
}

/// What a tenant may ask under a policy that counts in a window; `None`: it is off, and not overridden.
fn rate_of(edge: &Edge, policy: Policy, tenant: &Tenant, now: Timestamp) -> Option<PolicyRate> {
    tenant.override_of(policy, now).or_else(|| tenant.rate_of(policy, edge.limiter.rates.of(policy)))
}

/// Too much was asked.
pub fn over(policy: Policy, decision: &Decision) -> Problem {
    let detail = format!(
        "more than {} in {} s under the policy `{policy}`",
        decision.limit,
        decision.window.as_secs_f64()
    );
    refused(detail, policy, decision)
}

/// A policy refused, in these words.
pub fn refused(detail: String, policy: Policy, decision: &Decision) -> Problem {
    let Decision { limit, remaining, reset, reset_after, .. } = *decision;
    Problem::quota(detail, policy.name(), (limit, remaining), (reset, reset_after))
}
