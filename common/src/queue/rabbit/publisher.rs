//! Publishing with confirms, over a few channels; a tenant's messages always go through the same one, in order. Those of one
//! call travel together, a few in each message of the broker's: a message costs it, and us, far more than what is in it.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::join_all;
use lapin::Connection;
use lapin::types::ShortString;
use moka::sync::Cache;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::control::Control;
use super::dial::Address;
use super::line::{self, Job};
use super::link::{Link, Session};
use super::metrics::Metrics;
use super::{body, topology};
use crate::ids::TenantId;
use crate::limits;
use crate::queue::{Message, Published, QueueAddress, QueueDown};

/// Publishes, or refuses at once while there is no broker or it takes nothing.
pub struct Publisher {
    link: Link<Publishing>,
    control: Arc<Control>,
    metrics: Arc<Metrics>,
}

impl Publisher {
    /// Dials in the background until `stop`.
    pub fn start(
        address: Address,
        control: Arc<Control>,
        metrics: Arc<Metrics>,
        stop: CancellationToken,
    ) -> Self {
        let link = Link::start(address, metrics.clone(), metrics.clone(), stop);
        Self { link, control, metrics }
    }

    /// Waits for the first connection, not for long.
    pub async fn ready(&self) {
        // Without one it refuses, and dials on.
        let _ = self.link.wait(limits::AMQP_START_WAIT).await;
    }

    /// Whether there is a connection to publish on.
    pub fn ping(&self) -> Result<(), QueueDown> {
        let up = self.link.current().is_some_and(|publishing| publishing.connection.status().connected());
        up.then_some(()).ok_or_else(|| QueueDown("there is no connection to publish on".into()))
    }

    /// As [`crate::queue::Queue::publish`].
    pub async fn publish(&self, messages: &[(QueueAddress, Message)]) -> Vec<Published> {
        let deadline = Instant::now() + limits::AMQP_PUBLISH_DEADLINE;
        let mut published = vec![Published::Refused; messages.len()];
        let Some(publishing) = self.usable(messages.len()) else { return published };
        let unknown = self.declare(&publishing, messages, deadline).await;
        let mut lines: HashMap<usize, Vec<Bundle>> = HashMap::new();
        let mut undeclared = 0;
        for bundle in bundles(messages) {
            if unknown.contains(&bundle.tenant) {
                undeclared += bundle.places.len();
            } else {
                lines.entry(line_of(bundle.tenant)).or_default().push(bundle);
            }
        }
        self.metrics.refuse("undeclared", undeclared);
        let through = lines.into_iter().map(|(line, bundles)| {
            let line = &publishing.lines[line];
            async move { confirmed(line, messages, bundles, deadline).await }
        });
        for place in join_all(through).await.into_iter().flatten() {
            published[place] = Published::Confirmed;
        }
        let confirmed = published.iter().filter(|one| **one == Published::Confirmed).count();
        self.metrics.refuse("unconfirmed", messages.len() - undeclared - confirmed);
        published
    }

    /// The tenant's queue is gone: the next publish makes it again.
    pub fn forget(&self, tenant: TenantId) {
        if let Some(publishing) = self.link.current() {
            publishing.known.invalidate(&tenant);
        }
    }

    /// Puts bytes that nobody can read aside; whether the broker has them.
    pub async fn set_aside(&self, body: Vec<u8>) -> bool {
        let Some(publishing) = self.usable(1) else { return false };
        let (sender, confirmed) = oneshot::channel();
        // The exchange without a name routes by the queue's name.
        let job = Job { exchange: "", key: topology::POISON.into(), body, confirmed: sender };
        let deadline = Instant::now() + limits::AMQP_PUBLISH_DEADLINE;
        let sent = async { publishing.lines[0].send(job).await.is_ok() && confirmed.await.is_ok() };
        timeout_at(deadline, sent).await.unwrap_or(false)
    }

    fn usable(&self, messages: usize) -> Option<Arc<Publishing>> {
        let usable = match self.link.current() {
            Some(publishing) if !publishing.connection.status().connected() => Err("away"),
            Some(publishing) if publishing.connection.status().blocked() => Err("blocked"),
            Some(publishing) => Ok(publishing),
            None => Err("away"),
        };
        usable.map_err(|reason| self.metrics.refuse(reason, messages)).ok()
    }

    /// Makes the queues that this connection has not seen yet; gives the tenants whose queue cannot be made.
    async fn declare(
        &self,
        publishing: &Publishing,
        messages: &[(QueueAddress, Message)],
        deadline: Instant,
    ) -> HashSet<TenantId> {
        let unseen: HashMap<TenantId, &QueueAddress> = messages
            .iter()
            .map(|(address, _)| (address.tenant, address))
            .filter(|(tenant, _)| !publishing.known.contains_key(tenant))
            .collect();
        let making = unseen.into_iter().map(|(tenant, address)| async move {
            match timeout_at(deadline, self.control.make(address)).await {
                Ok(Ok(_)) => {
                    publishing.known.insert(tenant, ());
                    None
                }
                Ok(Err(down)) => {
                    tracing::debug!(tenant.id = %tenant, error.detail = %down, "the tenant's queue cannot be declared now");
                    Some(tenant)
                }
                Err(_late) => Some(tenant),
            }
        });
        join_all(making).await.into_iter().flatten().collect()
    }
}

/// What travels in one message: the places of some deliveries of a tenant.
struct Bundle {
    tenant: TenantId,
    places: Vec<usize>,
}

/// Puts together what is of the same tenant, in its order.
fn bundles(messages: &[(QueueAddress, Message)]) -> Vec<Bundle> {
    let mut bundles: Vec<Bundle> = Vec::new();
    let mut open: HashMap<TenantId, usize> = HashMap::new();
    for (place, (address, _)) in messages.iter().enumerate() {
        let tenant = address.tenant;
        match open.get(&tenant).map(|at| &mut bundles[*at]) {
            Some(bundle) if bundle.places.len() < limits::AMQP_BUNDLE => bundle.places.push(place),
            _ => {
                open.insert(tenant, bundles.len());
                bundles.push(Bundle { tenant, places: vec![place] });
            }
        }
    }
    bundles
}

/// The places of what was confirmed in time.
async fn confirmed(
    line: &mpsc::Sender<Job>,
    messages: &[(QueueAddress, Message)],
    bundles: Vec<Bundle>,
    deadline: Instant,
) -> Vec<usize> {
    let mut sent = Vec::with_capacity(bundles.len());
    for Bundle { tenant, places } in bundles {
        let (sender, confirmed) = oneshot::channel();
        let (exchange, key) = (topology::DELIVERIES, ShortString::from(tenant.to_string()));
        let body = body::encode(tenant, places.iter().map(|place| &messages[*place].1));
        let job = Job { exchange, key, body, confirmed: sender };
        match timeout_at(deadline, line.send(job)).await {
            Ok(Ok(())) => sent.push((places, confirmed)),
            // The rest would be as late, or has no line either.
            _ => break,
        }
    }
    let mut done = Vec::new();
    for (places, confirmed) in sent {
        if let Ok(Ok(())) = timeout_at(deadline, confirmed).await {
            done.extend(places);
        }
    }
    done
}

fn line_of(tenant: TenantId) -> usize {
    let mut hasher = DefaultHasher::new();
    tenant.hash(&mut hasher);
    (hasher.finish() % limits::AMQP_PUBLISH_LINES as u64) as usize
}

/// Publishing over one connection. Its lines end when it is dropped.
struct Publishing {
    connection: Arc<Connection>,
    lines: Vec<mpsc::Sender<Job>>,
    /// Whose queue exists, as far as this connection has seen.
    known: Cache<TenantId, ()>,
    metrics: Arc<Metrics>,
}

#[async_trait]
impl Session for Publishing {
    const PURPOSE: &'static str = "publish";
    type Parts = Arc<Metrics>;

    async fn begin(connection: Arc<Connection>, metrics: Arc<Metrics>) -> lapin::Result<Self> {
        let line = |_| {
            let (sender, jobs) = mpsc::channel(limits::AMQP_WINDOW);
            tokio::spawn(line::run(connection.clone(), jobs, metrics.clone()));
            sender
        };
        let lines = (0..limits::AMQP_PUBLISH_LINES).map(line).collect();
        Ok(Self { connection, lines, known: Cache::new(limits::AMQP_KNOWN_QUEUES), metrics })
    }

    fn look(&self) {
        self.metrics.blocked.set(i64::from(self.connection.status().blocked()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{DeliveryId, EndpointId, EventId};

    #[test]
    fn what_is_of_one_tenant_travels_together_and_in_order() {
        let of = |name: &str| QueueAddress { tenant: TenantId::generate(), name: name.into() };
        let (one, other) = (of("one"), of("other"));
        let delivery = DeliveryId { event: EventId::generate(), ordinal: 0 };
        let message = Message { delivery, endpoint: EndpointId::generate(), generation: 0 };
        let mut messages = vec![(one.clone(), message), (other.clone(), message)];
        messages.extend(vec![(one.clone(), message); limits::AMQP_BUNDLE]);
        let made: Vec<_> = bundles(&messages).into_iter().map(|made| (made.tenant, made.places)).collect();
        let first = [0].into_iter().chain(2..limits::AMQP_BUNDLE + 1).collect();
        let rest = vec![limits::AMQP_BUNDLE + 1];
        assert_eq!(made, [(one.tenant, first), (other.tenant, vec![1]), (one.tenant, rest)]);
    }
}
