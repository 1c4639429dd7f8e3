//! Random walks over the verbs. After each step every delivery has only gone where the picture lets it go, its numbers
//! never fell, and at the end everything is accounted for.

use std::collections::HashMap;
use std::time::Duration;

use fairhook_common::delivery::{DeliveryState, DiscardReason, Lane, Outcome, Verdict};
use fairhook_common::endpoint::StatusReason;
use fairhook_common::event::NewEvent;
use fairhook_common::ids::{DeliveryId, EndpointId, TenantId};
use fairhook_common::store::{
    Admission, Claim, ClaimFrom, DeliveryView, Load, OutboxId, Recorded, Recovery, Settled, Sweep,
};
use fairhook_common::tenant::{Dispatch, DlqOverflow};
use fairhook_common::time::Timestamp;
use proptest::prelude::*;

use super::harness::{DISABLE_AFTER, Sent, World, at, event_at, keyed};

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_every_delivery_is_accounted_for(
        policy in 0usize..3, steps in proptest::collection::vec((0u8..20, any::<u32>()), 1..70),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let mut walk = Walk::new(policy).await;
            for (step, choice) in steps {
                walk = walk.step(step, choice as usize).await;
            }
            walk.world.assert_balanced().await;
        });
    }
}

struct Walk {
    world: World,
    tenant: TenantId,
    endpoints: Vec<EndpointId>,
    /// Every message and claim there ever was: the newest are the likeliest to be used.
    sent: Vec<Sent>,
    /// What was recorded, to be recorded again.
    outcomes: Vec<Outcome>,
    outbox: Vec<(OutboxId, Vec<DeliveryId>)>,
    seconds: u64,
    before: HashMap<DeliveryId, DeliveryView>,
}

impl Walk {
    async fn new(policy: usize) -> Self {
        let policies = [DlqOverflow::DropOldest, DlqOverflow::RejectNew, DlqOverflow::PauseEndpoint];
        let world = World::new().await;
        let tenant = world.tenant_with_dlq(2, policies[policy]).await;
        let endpoints = vec![world.endpoint(tenant).await, world.endpoint(tenant).await];
        Self {
            world,
            tenant,
            endpoints,
            sent: vec![],
            outcomes: vec![],
            outbox: vec![],
            seconds: 0,
            before: HashMap::new(),
        }
    }

    async fn step(mut self, step: u8, choice: usize) -> Self {
        self.seconds += [0, 1, 30, 400][choice % 4];
        let (now, any) = (self.now(), choice / 4);
        match step {
            0..=3 => self.admit(any).await,
            4..=8 => self.attempt(any).await,
            9 | 10 => self.claim(any).await,
            11 => self.switch_endpoint(any).await,
            12 => self.switch_tenant(any).await,
            13 => drop(self.world.store.release_held(1 + any as u32 % 5, now).await.expect("released")),
            14 => self.settle(any).await,
            15 => self.recover(any).await,
            16 => self.cancel_or_replay(any).await,
            17 => self.sweep(any).await,
            18 => self.again(any).await,
            _ => self.world = self.world.reopen().await,
        }
        self.look().await;
        self
    }

    fn now(&self) -> Timestamp {
        at(self.seconds)
    }

    fn pick(&self, any: usize) -> Option<Sent> {
        let last = self.sent.len().checked_sub(1)?;
        Some(self.sent[last - (any % self.sent.len()).min(any / 7 % self.sent.len())])
    }

    async fn admit(&mut self, any: usize) {
        let now = self.now();
        let new = |n: usize| {
            let plain = event_at(self.tenant, "order.paid", now);
            let event = match (any + n) % 5 {
                0 => NewEvent { deliver_at: Some(now.after(Duration::from_secs(20))), ..plain },
                1 => NewEvent { only_endpoint: Some(self.endpoints[0]), ..plain },
                2 => NewEvent {
                    idempotency: keyed(self.tenant, &format!("{}", any % 3), 1).idempotency,
                    ..plain
                },
                _ => plain,
            };
            NewEvent { expires_at: now.after(Duration::from_secs(900)), ..event }
        };
        let admitted =
            self.world.store.admit((0..1 + any % 4).map(new).collect(), now).await.expect("admitted");
        let mut published = vec![];
        for result in admitted.results {
            let Admission::Accepted(event) = result else { continue };
            for made in event.deliveries.iter().filter(|made| made.state == DeliveryState::Queued) {
                let id = DeliveryId { event: event.id, ordinal: made.ordinal };
                self.sent.push(Sent { id, tenant: self.tenant, endpoint: made.endpoint, generation: 0 });
                published.push(id);
            }
        }
        self.outbox.extend(admitted.outbox.map(|id| (id, published)));
    }

    /// Loads a message or a claim, perhaps an old one, and records what a dispatcher would; or what comes in late.
    async fn attempt(&mut self, any: usize) {
        let (Some(sent), now) = (self.pick(any), self.now()) else { return };
        let load = self.world.load(&sent, now).await;
        let retry = Verdict::Retry { due_at: now.after(Duration::from_secs([1, 100, 1_000][any % 3])) };
        let mut outcome = match (load, any % 8) {
            (Load::Hold, _) => sent.verdict(Verdict::Hold, now),
            (Load::Discard(reason), _) => sent.verdict(Verdict::Discard(reason), now),
            (_, 0..=1) => sent.delivered(now),
            (_, 2..=3) => sent.dead(now),
            (Load::Attempt(_), 4) => sent.verdict(Verdict::Park, now),
            (_, 5) => sent.verdict(Verdict::Hold, now),
            _ => sent.attempted(retry, now),
        };
        outcome.disable = (any.is_multiple_of(31)).then_some(StatusReason::Gone);
        self.record(outcome).await;
    }

    async fn record(&mut self, outcome: Outcome) {
        let recorded =
            self.world.store.record(vec![outcome.clone()], DISABLE_AFTER).await.expect("recorded")[0];
        if let (Recorded::Applied { state, .. }, Some(view)) = (recorded, self.before.get(&outcome.delivery))
        {
            let found =
                self.world.store.find_delivery(self.tenant, view.id).await.expect("reads").expect("is there");
            assert_eq!(found.state, state, "what was answered is what stands: {outcome:?}");
        }
        self.outcomes.push(outcome);
    }

    async fn again(&mut self, any: usize) {
        if !self.outcomes.is_empty() {
            let outcome = self.outcomes[any % self.outcomes.len()].clone();
            let attempts = |view: DeliveryView| view.attempts.len();
            let sent =
                Sent { id: outcome.delivery, tenant: self.tenant, endpoint: outcome.endpoint, generation: 0 };
            let before = attempts(self.world.view(&sent).await);
            let repeats = outcome.attempt.is_some();
            self.record(outcome).await;
            assert!(
                !repeats || attempts(self.world.view(&sent).await) == before,
                "an attempt was recorded twice"
            );
        }
    }

    async fn claim(&mut self, any: usize) {
        let from = match any % 5 {
            lane @ 0..=2 => ClaimFrom::Due(Lane::ALL[lane]),
            _ => {
                let endpoint = self.endpoints[any % self.endpoints.len()];
                let mut lanes = Lane::ALL;
                lanes.rotate_left(any / 5 % 3);
                ClaimFrom::Parked { endpoint, lanes }
            }
        };
        let want = Claim { tenant: self.tenant, from, limit: 3 };
        let claimed = self.world.claim(&[want], self.now()).await;
        for claimed in &claimed {
            assert!(!self.sent.contains(claimed), "a generation was handed out twice: {claimed:?}");
        }
        self.sent.extend(claimed);
    }

    async fn switch_endpoint(&mut self, any: usize) {
        let n = any % self.endpoints.len();
        let endpoint = self.endpoints[n];
        match any % 5 {
            0 => {
                self.world.store.delete_endpoint(self.tenant, endpoint, self.now()).await.expect("deleted");
                self.endpoints[n] = self.world.endpoint(self.tenant).await;
            }
            1 | 2 => self.world.pause(self.tenant, endpoint).await,
            _ => self.world.resume(self.tenant, endpoint).await,
        }
    }

    async fn switch_tenant(&mut self, any: usize) {
        let dispatch = if any.is_multiple_of(3) { Dispatch::Paused } else { Dispatch::Open };
        self.world.dispatch(self.tenant, dispatch).await;
    }

    async fn settle(&mut self, any: usize) {
        if self.outbox.is_empty() {
            return;
        }
        let (outbox, mut unpublished) = self.outbox[any % self.outbox.len()].clone();
        unpublished.truncate(any % 3);
        let settled = Settled { outbox, unpublished };
        self.world.store.settle_outbox(&[settled], self.now()).await.expect("settled");
    }

    async fn recover(&mut self, any: usize) {
        let (tenant, before) = (self.tenant, self.now());
        let what = match any % 3 {
            0 => Recovery::Everything,
            1 => Recovery::Outbox { before },
            _ => Recovery::Lost { tenant, before },
        };
        self.world.store.recover(what, self.now()).await.expect("recovered");
    }

    async fn cancel_or_replay(&mut self, any: usize) {
        let Some(id) =
            self.before.keys().copied().min_by_key(|id| id.event.uuid().as_u128() % (1 + any as u128))
        else {
            return;
        };
        match any % 3 {
            0 => drop(self.world.store.cancel(self.tenant, id, self.now()).await.expect("cancelled")),
            _ => drop(self.world.store.replay(self.tenant, id, self.now()).await.expect("replayed")),
        }
    }

    async fn sweep(&mut self, any: usize) {
        let what = if any.is_multiple_of(2) { Sweep::Expired } else { Sweep::DeletedEndpoints };
        self.world.store.sweep(what, 1_000, self.now()).await.expect("swept");
    }

    /// Compares every delivery with what it was before the step.
    async fn look(&mut self) {
        let after: HashMap<_, _> = self.world.all(self.tenant).await.into_iter().map(|d| (d.id, d)).collect();
        for (id, before) in &self.before {
            let after = &after[id];
            assert!(may_go(before, after), "{id}: {before:?} → {after:?}");
            assert!(
                after.generation >= before.generation && after.attempt_count >= before.attempt_count,
                "{id}"
            );
        }
        self.before = after;
    }
}

/// The picture, and what a verdict at the present generation may do to what already waits.
fn may_go(before: &DeliveryView, after: &DeliveryView) -> bool {
    use DeliveryState::{Dead, Delivered, Discarded, Queued, Scheduled};
    match (before.state, after.state) {
        (from, to) if from == to => true,
        (Delivered, _) => false,
        (Dead, to) => matches!(to, Scheduled | Discarded),
        (Discarded, to) => to == Scheduled && before.discarded_reason == Some(DiscardReason::DlqOverflow),
        // Only a claim queues, and a claim raises the generation.
        (_, Queued) => after.generation == before.generation + 1,
        _ => true,
    }
}
