//! What limits did: `GET /analytics/limits`.

use std::collections::{BTreeMap, HashMap};

use fairhook_common::key::Scope;
use fairhook_common::limits;
use fairhook_common::store::{CountedBy, LimitCount, Tally, TenantRef};
use fairhook_common::time::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::answer::{self, Answer};
use super::openapi::requests;
use super::page;
use super::problem::{Fault, Problem};
use super::tenant::Asked;
use crate::analytics::minute_of;

/// Read what limits did
///
/// Requests of whole minutes, and which of them were refused. It is kept for 7 days; a request counts for the tenant that it acts for.
#[utoipa::path(
    get, path = "/analytics/limits", operation_id = "getLimitAnalytics", tag = "Limits",
    security(("key" = ["events:read"])),
    params(requests::SpanQuery),
    responses((status = 200, description = "The sums.", body = Report)),
    extensions(("x-problems" = json!(["operator_required"])))
)]
pub(super) async fn limits(asked: Asked) -> Answer {
    asked.caller.must_be_operator(Scope::EventsRead)?;
    let mut params = asked.params();
    let (from, to) = (params.take("from", page::time), params.take("to", page::time));
    params.finish()?;
    let (from, to) = span(from, to, asked.at)?;
    let mut counted = asked.edge.store.limit_counts(from, to).await?;
    counted.extend(asked.edge.recorder.pending(from, to));
    let sums = Sums::of(counted);
    let all = sums.by(CountedBy::Route).fold(Tally::default(), |sum, (_, tally)| sum.plus(tally));
    let blocked_by_policy: BTreeMap<_, _> =
        sums.by(CountedBy::Policy).map(|(policy, tally)| (policy.to_owned(), tally.blocked)).collect();
    let routes = sums.top(CountedBy::Route).into_iter();
    let routes = routes.map(|(route, tally)| RouteTally { route: route.to_owned(), tally }).collect();
    let mut tenants = Vec::new();
    for (tenant, tally) in sums.top(CountedBy::Tenant) {
        tenants.push(shown_tenant(&asked, tenant, tally).await?);
    }
    Ok(answer::ok(&Report {
        from,
        to,
        total_requests: all.total,
        blocked_requests: all.blocked,
        blocked_by_policy,
        top_tenants: tenants,
        top_routes: routes,
    }))
}

/// What limits did.
#[derive(Serialize, ToSchema)]
#[schema(as = LimitReport, example = json!({
    "from": "2026-01-30T12:00:00.000Z", "to": "2026-01-31T12:00:00.000Z", "total_requests": 120400, "blocked_requests": 310,
    "blocked_by_policy": {"events": 290, "tier": 20},
    "top_tenants": [{"tenant_id": "ten_01kz0z5m4he58vf3j2c4q9w7xd", "slug": "acme", "total": 90000, "blocked": 290}],
    "top_routes": [{"route": "POST /v1/events", "total": 118000, "blocked": 290}]
}))]
struct Report {
    /// The beginning of the first minute.
    from: Timestamp,
    /// The end of the last.
    to: Timestamp,
    total_requests: u64,
    /// Answered with 429.
    blocked_requests: u64,
    /// By what `violated-policies` named: such answers, and events of batches that were read, each of which counts.
    blocked_by_policy: BTreeMap<String, u64>,
    /// The 10 with the most requests.
    top_tenants: Vec<TenantTally>,
    /// The 10 with the most requests.
    top_routes: Vec<RouteTally>,
}

/// Requests at a route.
#[derive(Serialize, ToSchema)]
struct RouteTally {
    /// The method and the path as it is described, such as `POST /v1/events`; `none`: there is no such path.
    route: String,
    #[serde(flatten)]
    tally: Tally,
}

/// Requests of a tenant.
#[derive(Serialize, ToSchema)]
struct TenantTally {
    tenant_id: String,
    /// `null`: the tenant is gone.
    slug: Option<String>,
    #[serde(flatten)]
    tally: Tally,
}

/// A tenant that is gone has no slug any more.
async fn shown_tenant(asked: &Asked, id: &str, tally: Tally) -> Result<TenantTally, Problem> {
    let found = match id.parse() {
        Ok(id) => asked.edge.memory.tenant(&TenantRef::Id(id)).await?,
        Err(_) => None,
    };
    let slug = found.map(|tenant| tenant.slug.clone());
    Ok(TenantTally { tenant_id: id.to_owned(), slug, tally })
}

/// The minutes from the one that holds `from` to the one that holds the end; the last day unless it is said.
fn span(
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    now: Timestamp,
) -> Result<(Timestamp, Timestamp), Problem> {
    let to = to.unwrap_or(now.after(MILLISECOND));
    let from = from.unwrap_or(to.before(limits::LIMIT_SPAN));
    let refused = |detail: &str| Err(Problem::invalid(vec![Fault::of_parameter("from", detail)]));
    if from >= to {
        return refused("`from` must be before `to`");
    }
    if to.since(from) > limits::LIMIT_MINUTES_KEPT {
        return refused("`from` must be at most 7 days before `to`");
    }
    Ok((minute_of(from), minute_of(to.before(MILLISECOND)).after(MINUTE)))
}

const MILLISECOND: std::time::Duration = std::time::Duration::from_millis(1);
const MINUTE: std::time::Duration = std::time::Duration::from_secs(60);

/// What was counted in the store and here, put together.
struct Sums(HashMap<(CountedBy, String), Tally>);

impl Sums {
    fn of(counted: Vec<LimitCount>) -> Self {
        let mut sums: HashMap<_, Tally> = HashMap::new();
        for LimitCount { by, name, tally } in counted {
            let sum = sums.entry((by, name)).or_default();
            *sum = sum.plus(tally);
        }
        Self(sums)
    }

    fn by(&self, wanted: CountedBy) -> impl Iterator<Item = (&str, Tally)> {
        let of_kind = self.0.iter().filter(move |((by, _), _)| *by == wanted);
        of_kind.map(|((_, name), tally)| (name.as_str(), *tally))
    }

    /// Those with the most requests.
    fn top(&self, by: CountedBy) -> Vec<(&str, Tally)> {
        let mut all: Vec<_> = self.by(by).collect();
        all.sort_by(|(a, of_a), (b, of_b)| of_b.total.cmp(&of_a.total).then(a.cmp(b)));
        all.truncate(limits::LIMIT_TOP);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_700_000_030_000);

    #[test]
    fn a_span_is_of_whole_minutes_and_bounded() {
        let minute = minute_of(NOW);
        let read = |from, to| span(from, to, NOW).map_err(|problem| problem.detail().to_owned());
        assert_eq!(read(None, None), Ok((minute_of(NOW.before(limits::LIMIT_SPAN)), minute.after(MINUTE))));
        assert_eq!(read(Some(NOW), None), Ok((minute, minute.after(MINUTE))), "what is asked at once");
        assert_eq!(
            read(Some(NOW), Some(minute.after(MINUTE))),
            Ok((minute, minute.after(MINUTE))),
            "exclusive"
        );
        let week = NOW.before(limits::LIMIT_MINUTES_KEPT);
        assert!(read(Some(week), Some(NOW)).is_ok());
        assert!(read(Some(week.before(MILLISECOND)), Some(NOW)).is_err_and(|e| e.contains("7 days")));
        assert!(read(Some(NOW), Some(NOW)).is_err_and(|e| e.contains("before `to`")));
    }
}
