//! What was accepted, and the proof that all of it is accounted for.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Api, LONG, Receiver, until_within};

/// The accepted events of one tenant.
pub struct Ledger {
    tenant: String,
    accepted: Mutex<HashMap<String, u64>>,
}

/// How a tenant's deliveries stand, by status.
pub type Standing = HashMap<String, usize>;

impl Ledger {
    /// Nothing accepted yet.
    pub fn new(tenant: &str) -> Self {
        Self { tenant: tenant.to_owned(), accepted: Mutex::default() }
    }

    /// Posts an event and notes it when it was accepted; returns its id then.
    pub async fn post(&self, api: &Api, payload: Value) -> Option<String> {
        let event = json!({"type": "order.paid", "payload": payload});
        // The engine may be killed in the middle of it: then nobody knows, and nothing was promised.
        let answer = api.try_post(&format!("/tenants/{}/events", self.tenant), event).await?;
        (answer.status == 202).then(|| self.note(&answer.body))
    }

    /// Notes an accepted event.
    pub fn note(&self, answer: &Value) -> String {
        let id = answer["id"].as_str().expect("an accepted event has an id").to_owned();
        let deliveries = answer["deliveries"].as_u64().expect("it says how many deliveries");
        self.accepted.lock().expect("no panic under it").insert(id.clone(), deliveries);
        id
    }

    /// The ids of what was accepted.
    pub fn ids(&self) -> HashSet<String> {
        self.accepted.lock().expect("no panic under it").keys().cloned().collect()
    }

    /// Waits until nothing of the tenant is under way any more.
    pub async fn settled(&self, api: &Api) {
        self.settled_within(LONG, api).await;
    }

    /// The same, for what takes longer by design.
    pub async fn settled_within(&self, deadline: Duration, api: &Api) {
        let path = format!("/tenants/{}/deliveries?status=queued,scheduled,held&limit=1", self.tenant);
        let settled = || async {
            let page = api.get(&path).await;
            // An engine whose store is away says so; it is no answer.
            (page.status == 200 && page.body["data"] == json!([])).then_some(())
        };
        until_within(deadline, "every delivery comes to its end", settled).await;
    }

    /// Proves that every accepted event has exactly the deliveries that were promised, each in a state that there is, and
    /// that whatever counts as delivered was taken by `receiver`. Returns how they stand.
    pub async fn account(&self, api: &Api, receiver: Option<&Receiver>) -> Standing {
        let deliveries = api.list(&format!("/tenants/{}/deliveries", self.tenant)).await;
        let taken = receiver.map(Receiver::taken);
        let (mut found, mut standing) = (HashMap::<String, u64>::new(), Standing::new());
        let mut seen = HashSet::new();
        for delivery in &deliveries {
            let text = |name: &str| delivery[name].as_str().unwrap_or_default().to_owned();
            assert!(seen.insert(text("id")), "{} is listed twice", text("id"));
            let (event, status) = (text("event_id"), text("status"));
            let states = ["queued", "scheduled", "held", "delivered", "dead", "discarded"];
            assert!(states.contains(&status.as_str()), "{delivery}");
            if let (true, Some(taken)) = (status == "delivered", &taken) {
                assert!(taken.contains(&event), "{event} counts as delivered and was taken by nobody");
            }
            *standing.entry(status).or_default() += 1;
            if delivery["replay_of"].is_null() {
                *found.entry(event).or_default() += 1;
            }
        }
        for (event, promised) in self.accepted.lock().expect("no panic under it").iter() {
            let kept = found.get(event).copied().unwrap_or_default();
            assert_eq!(kept, *promised, "{event} was accepted with {promised} deliveries and has {kept}");
        }
        standing
    }
}
