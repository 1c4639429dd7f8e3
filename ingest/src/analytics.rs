//! What limits do: every answer is counted by its route, by the policy that refused it and by its tenant, minute by minute. A
//! lock for a few additions; no caller waits for the store. What is answered after the drain has begun is not counted.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::http::StatusCode;
use axum::response::Response;
use fairhook_common::ids::TenantId;
use fairhook_common::limits;
use fairhook_common::shutdown::Shutdown;
use fairhook_common::store::{CountedBy, LimitCount, SharedStore, StoreError, Tally};
use fairhook_common::time::Timestamp;
use tokio::time::interval;

use crate::api::SOURCE_ROUTE;

const MINUTE_MS: i64 = 60_000;

/// An extension of a refusal over a limit: the name of what refused it. Whose request it is, refused or not, is told by an
/// extension of its own, a [`TenantId`].
#[derive(Debug, Clone, Copy)]
pub struct Violated(pub &'static str);

/// An extension of the answer to a batch, whatever its status: how many of its events were refused over which limit.
#[derive(Debug, Clone)]
pub struct RefusedEvents(BTreeMap<&'static str, u64>);

impl RefusedEvents {
    /// By the names of what refused each; `None`: nothing was refused.
    pub fn of(names: impl Iterator<Item = &'static str>) -> Option<Self> {
        let mut counts = BTreeMap::<_, u64>::new();
        for name in names {
            *counts.entry(name).or_default() += 1;
        }
        (!counts.is_empty()).then_some(Self(counts))
    }
}

/// What is counted of an answer.
#[derive(Debug)]
pub struct Seen<'a> {
    method: &'static str,
    route: &'a str,
    tenant: Option<TenantId>,
    /// The name of what refused it.
    blocked: Option<&'static str>,
    /// Of a batch, which counts under a policy as many times as events of it were refused.
    events: Option<&'a RefusedEvents>,
}

impl<'a> Seen<'a> {
    /// The answer to a request of this method to this route.
    pub fn of<B>(method: &'static str, route: &'a str, response: &'a Response<B>) -> Self {
        let extensions = response.extensions();
        let policy = || extensions.get::<Violated>().map_or("other", |violated| violated.0);
        let blocked = (response.status() == StatusCode::TOO_MANY_REQUESTS).then(policy);
        Self { method, route, tenant: extensions.get().copied(), blocked, events: extensions.get() }
    }
}

/// What this process has counted and not yet put into the store.
#[derive(Debug, Default)]
pub struct Recorder(Mutex<Book>);

#[derive(Debug, Default)]
struct Book {
    open: BTreeMap<Timestamp, Minute>,
    over: VecDeque<(Timestamp, Vec<LimitCount>)>,
}

/// What is counted in a minute. Routes and policies are few: they are ours.
#[derive(Debug, Default)]
struct Minute {
    routes: HashMap<String, HashMap<&'static str, Tally>>,
    policies: HashMap<&'static str, Tally>,
    tenants: HashMap<TenantId, Tally>,
}

impl Recorder {
    /// Counts an answer.
    pub fn count(&self, at: Timestamp, seen: &Seen<'_>) {
        self.book().open.entry(minute_of(at)).or_default().count(seen);
    }

    /// What is counted here of the minutes that begin in `from` (inclusive) to `to` and that the store does not have.
    pub fn pending(&self, from: Timestamp, to: Timestamp) -> Vec<LimitCount> {
        let book = self.book();
        let open = book.open.range(from..to).flat_map(|(_, minute)| minute.counts());
        let over = book.over.iter().filter(|(minute, _)| (from..to).contains(minute));
        open.chain(over.flat_map(|(_, counts)| counts.clone())).collect()
    }

    /// Puts what is over into the store, until the drain begins; then whatever there is.
    pub async fn keep(self: Arc<Self>, store: SharedStore, shutdown: Shutdown) {
        let mut ticks = interval(limits::LIMIT_MINUTES_SAVE);
        loop {
            let last = tokio::select! {
                _ = ticks.tick() => false,
                () = shutdown.draining() => true,
            };
            self.close(if last { Timestamp::MAX } else { Timestamp::now() });
            if let Err(error) = self.save(&store).await {
                // The store tells of its outage itself, once.
                tracing::debug!(error.detail = %error, "what limits did was not kept");
            }
            if last {
                return;
            }
        }
    }

    /// Ends the minutes that are over at `now`.
    fn close(&self, now: Timestamp) {
        let mut book = self.book();
        let open = book.open.split_off(&minute_of(now));
        for (minute, counted) in std::mem::replace(&mut book.open, open) {
            book.over.push_back((minute, counted.counts().collect()));
        }
        while book.over.len() > limits::LIMIT_MINUTES_WAITING {
            book.over.pop_front();
        }
    }

    /// Puts them into the store, in parts, oldest first, as far as it takes them.
    async fn save(&self, store: &SharedStore) -> Result<(), StoreError> {
        loop {
            let (minute, part) = {
                let mut book = self.book();
                let Some((minute, counts)) = book.over.front() else { return Ok(()) };
                let part: Vec<_> = counts.iter().take(limits::LIMIT_ROWS_SAVED).cloned().collect();
                let minute = *minute;
                if part.is_empty() {
                    book.over.pop_front();
                    continue;
                }
                (minute, part)
            };
            store.add_limit_counts(minute, &part).await?;
            // Only this task takes from the front.
            if let Some((_, counts)) = self.book().over.front_mut() {
                counts.drain(..part.len());
            }
        }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Minute {
    fn count(&mut self, seen: &Seen<'_>) {
        let blocked = seen.blocked.is_some();
        // What no route takes is one, whatever the method: each name is there once.
        let method = if is_ours(seen.route) { seen.method } else { "" };
        // Looked up before it is made, so that a name is copied once a minute.
        match self.routes.get_mut(seen.route) {
            Some(methods) => methods.entry(method).or_default().count(blocked),
            None => {
                let methods = self.routes.entry(seen.route.to_owned()).or_default();
                methods.entry(method).or_default().count(blocked);
            }
        }
        match (seen.events, seen.blocked) {
            (Some(RefusedEvents(counts)), _) => {
                for (policy, count) in counts {
                    let tally = self.policies.entry(*policy).or_default();
                    *tally = tally.plus(Tally { total: *count, blocked: *count });
                }
            }
            (None, Some(policy)) => self.policies.entry(policy).or_default().count(true),
            (None, None) => {}
        }
        if let Some(tenant) = seen.tenant
            && (self.tenants.len() < limits::LIMIT_TENANTS_COUNTED || self.tenants.contains_key(&tenant))
        {
            self.tenants.entry(tenant).or_default().count(blocked);
        }
    }

    /// All that is kept of it: of the tenants the busiest.
    fn counts(&self) -> impl Iterator<Item = LimitCount> {
        let routes = self.routes.iter().flat_map(|(route, methods)| {
            methods.iter().map(move |(method, tally)| (CountedBy::Route, name(method, route), *tally))
        });
        let policies =
            self.policies.iter().map(|(policy, tally)| (CountedBy::Policy, (*policy).to_owned(), *tally));
        let mut busiest: Vec<_> = self.tenants.iter().collect();
        if busiest.len() > limits::LIMIT_TENANTS_KEPT {
            busiest.select_nth_unstable_by_key(limits::LIMIT_TENANTS_KEPT, |(_, tally)| {
                std::cmp::Reverse(tally.total)
            });
            busiest.truncate(limits::LIMIT_TENANTS_KEPT);
        }
        let tenants =
            busiest.into_iter().map(|(tenant, tally)| (CountedBy::Tenant, tenant.to_string(), *tally));
        routes.chain(policies).chain(tenants).map(|(by, name, tally)| LimitCount { by, name, tally })
    }
}

/// `POST /v1/events`; sources are at the root, and what no route takes has no path that is ours.
fn name(method: &str, route: &str) -> String {
    if route == SOURCE_ROUTE {
        format!("{method} {route}")
    } else if is_ours(route) {
        format!("{method} /v1{route}")
    } else {
        route.to_owned()
    }
}

fn is_ours(route: &str) -> bool {
    route.starts_with('/')
}

/// The beginning of the minute in which `at` is.
pub(crate) fn minute_of(at: Timestamp) -> Timestamp {
    Timestamp(at.0.div_euclid(MINUTE_MS) * MINUTE_MS)
}

#[cfg(test)]
mod tests;
