use fairhook_common::delivery::AttemptRecord;
use fairhook_common::ids::{DeliveryId, EventId};
use fairhook_common::metrics::Families;
use fairhook_common::queue::{Message, Receipt};
use fairhook_common::store::book::Book;
use fairhook_common::store::{Heartbeat, Roles, RosterTenant};
use fairhook_common::tenant::Dispatch;

use super::*;

const WALL: Timestamp = Timestamp(1_700_000_000_000);

fn ms(n: u64) -> Moment {
    Moment::from_micros(n * 1000)
}

fn roster(id: TenantId, max_concurrent: u32, deleted: bool) -> Roster {
    let tenant = RosterTenant {
        id,
        slug: "acme".into(),
        queue: "fairhook.tenant.acme".into(),
        weight: 1,
        max_concurrent,
        dispatch: Dispatch::Open,
        deleted,
    };
    Roster { version: 1, tenants: vec![tenant] }
}

fn core(slots: usize) -> Core {
    let metrics = Arc::new(Metrics::new(&Families::new(prometheus::Registry::new())));
    let node = NodeId::generate();
    let mut core = Core::new(node, slots, Arc::default(), Arc::default(), metrics, ms(0));
    core.heard(&Book::default().beat(&beat(node), WALL), ms(0), WALL);
    core
}

fn beat(node: NodeId) -> Heartbeat {
    Heartbeat {
        node,
        name: "test".into(),
        roles: Roles { ingest: false, dispatcher: true },
        lease: limits::NODE_LEASE,
        applied: 0,
        behind: Vec::new(),
        admitted: false,
        leaving: false,
        may_bury: false,
    }
}

fn claimed(tenant: TenantId, endpoint: EndpointId, lane: Lane) -> Claimed {
    let delivery = DeliveryId { event: EventId::generate(), ordinal: 0 };
    Claimed { delivery, tenant, endpoint, lane, generation: 1 }
}

/// Claims of a store that always has more; returns how much waits at the end.
fn claim_all(core: &mut Core, tenant: TenantId, endpoint: EndpointId) -> u32 {
    let found = DueWork { due: vec![(tenant, Lane::Retry)], ..DueWork::default() };
    assert!(core.due.asking(ms(1)));
    core.learned(found, None, ms(1));
    for n in 1..50 {
        let now = ms(20 * n);
        let wants = core.claims(now);
        let got: Vec<_> = wants
            .iter()
            .flat_map(|want| (0..want.limit).map(|_| claimed(tenant, endpoint, Lane::Retry)))
            .collect();
        if !wants.is_empty() {
            core.claimed(&wants, &got, now, WALL);
        }
    }
    core.scheduler.waiting(tenant).total()
}

#[test]
fn no_more_is_claimed_while_what_was_claimed_waits_to_be_parked() {
    let (tenant, endpoint, mut core) = (TenantId::generate(), EndpointId::generate(), core(100));
    core.roster(&roster(tenant, 4, false), ms(0), WALL);
    // More than the endpoint has places for, so that the rest, and whatever comes then, has to be parked.
    for _ in 0..100 {
        let one = claimed(tenant, endpoint, Lane::First);
        let item =
            Held { ticket: Ticket { delivery: one.delivery, generation: 0 }, since: ms(0), receipt: None };
        core.offer(Waiting { tenant, lane: Lane::First, endpoint, released: false, item }, ms(0));
    }
    assert!(core.scheduler.waiting(tenant).parking > 8);
    assert_eq!(claim_all(&mut core, tenant, endpoint), 100, "no room for retries");
}

#[test]
fn what_is_claimed_ahead_is_bounded_by_the_slots_whatever_the_quota() {
    let (tenant, endpoint, mut core) = (TenantId::generate(), EndpointId::generate(), core(100));
    core.roster(&roster(tenant, 1_000_000_000, false), ms(0), WALL);
    let waits = claim_all(&mut core, tenant, endpoint);
    assert!((100..=200).contains(&waits), "{waits}");
}

struct Ignored;

#[async_trait::async_trait]
impl Receipt for Ignored {
    async fn ack(self: Box<Self>) {}
}

#[test]
fn what_a_message_waited_before_it_was_handed_out_counts_as_held() {
    let (tenant, endpoint, mut core) = (TenantId::generate(), EndpointId::generate(), core(100));
    core.roster(&roster(tenant, 10, false), ms(0), WALL);
    let (handed_out, early) = (ms(500_000), Duration::from_secs(1));
    for waited in [limits::MESSAGE_HOLD - early, Duration::ZERO] {
        let delivery = DeliveryId { event: EventId::generate(), ordinal: 0 };
        let message = Message { delivery, endpoint, generation: 0 };
        core.received(Received { tenant, message, waited, receipt: Box::new(Ignored) }, handed_out);
    }
    core.park_overdue(handed_out.after(early), WALL);
    assert_eq!(core.outbound.len(), 0);
    core.park_overdue(handed_out.after(early * 2), WALL);
    assert_eq!(core.outbound.len(), 1, "the one whose queue has been without it for so long");
}

#[test]
fn what_may_start_beyond_a_load_starts_as_soon_as_that_is_taken() {
    let (tenant, mut core) = (TenantId::generate(), core(2_000));
    core.roster(&roster(tenant, 2_000, false), ms(0), WALL);
    let offered = limits::LOAD_BATCH + 10;
    for _ in 0..offered {
        let one = claimed(tenant, EndpointId::generate(), Lane::First);
        let item =
            Held { ticket: Ticket { delivery: one.delivery, generation: 0 }, since: ms(0), receipt: None };
        let waiting = Waiting { tenant, lane: Lane::First, endpoint: one.endpoint, released: false, item };
        core.offer(waiting, ms(0));
    }
    assert!(core.due.asking(ms(1)), "nothing is to be asked for a while");
    core.start(ms(1), WALL);
    assert_eq!(core.to_load.take_new().len(), limits::LOAD_BATCH);
    assert_eq!(core.wakeup(ms(1)), Some(ms(1)), "nothing else would wake it");
    core.start(ms(1), WALL);
    assert_eq!(core.to_load.take_new().len(), offered - limits::LOAD_BATCH);
    assert_ne!(core.wakeup(ms(1)), Some(ms(1)));
}

/// A delivery that was claimed at the beginning.
fn held() -> Held {
    let delivery = DeliveryId { event: EventId::generate(), ordinal: 0 };
    Held { ticket: Ticket { delivery, generation: 0 }, since: ms(0), receipt: None }
}

#[test]
fn so_many_are_parked_until_they_are_recorded_and_what_may_start_does_meanwhile() {
    let (tenant, endpoint, mut core) = (TenantId::generate(), EndpointId::generate(), core(100));
    core.roster(&roster(tenant, 4, false), ms(0), WALL);
    let offer = |core: &mut Core, endpoint| {
        core.offer(Waiting { tenant, lane: Lane::First, endpoint, released: false, item: held() }, ms(0));
    };
    (0..limits::UNRECORDED_PARKED + 100).for_each(|_| offer(&mut core, endpoint));
    let parks = core.scheduler.waiting(tenant).parking as usize;
    assert!(parks > limits::UNRECORDED_PARKED, "{parks}");
    core.start(ms(1), WALL);
    assert_eq!(core.outbound.len(), limits::UNRECORDED_PARKED);
    core.gauge();
    assert_eq!(core.metrics.parking.get() as usize, parks - limits::UNRECORDED_PARKED);
    offer(&mut core, EndpointId::generate());
    core.start(ms(1), WALL);
    assert_eq!((core.outbound.len(), core.scheduler.in_flight(tenant)), (limits::UNRECORDED_PARKED, 2));
    assert!(core.outbound.begin(ms(1)).is_some(), "they are recorded");
    core.outbound.end();
    core.start(ms(1), WALL);
    assert_eq!(core.scheduler.waiting(tenant).parking, 0);
}

#[test]
fn parking_waits_for_what_is_unrecorded_of_what_was_not_attempted_not_of_attempts() {
    let (tenant, endpoint) = (TenantId::generate(), EndpointId::generate());
    let parked = || held().without_attempt(tenant, endpoint, Verdict::Park, ms(0), WALL);
    let attempt = AttemptRecord {
        id: uuid::Uuid::now_v7(),
        started_at: WALL,
        duration_ms: 1,
        status_code: Some(200),
        error: None,
        response_snippet: bytes::Bytes::new(),
    };
    let attempted = || {
        let mut attempted = parked();
        attempted.outcome.attempt = Some(attempt.clone());
        attempted
    };
    let mut outbound = Outbound::default();
    (0..2 * limits::UNRECORDED_PARKED).for_each(|_| outbound.push(attempted()));
    (1..limits::UNRECORDED_PARKED).for_each(|_| outbound.push(parked()));
    assert!(outbound.has_room_for_parked());
    outbound.push(parked());
    assert!(!outbound.has_room_for_parked());
    let mut now = ms(1);
    while outbound.begin(now).is_some() {
        assert!(!outbound.has_room_for_parked(), "what was parked is last");
        outbound.end();
        now = now.after(limits::RECORD_GATHER);
    }
    assert!(outbound.has_room_for_parked(), "what is recorded makes room");
}

#[test]
fn what_is_due_of_a_tenant_that_is_gone_is_forgotten() {
    let (tenant, mut core) = (TenantId::generate(), core(100));
    core.roster(&roster(tenant, 10, true), ms(0), WALL);
    assert!(core.due.asking(ms(1)));
    let due = vec![(tenant, Lane::First)];
    core.learned(DueWork { due, ..DueWork::default() }, None, ms(1));
    assert_eq!(core.due.claims_at(), None, "nobody would ever claim it");
}

#[test]
fn a_share_shrinks_at_once_and_what_others_serve_is_given_back() {
    let (tenant, endpoint, mut core) = (TenantId::generate(), EndpointId::generate(), core(100));
    core.roster(&roster(tenant, 1, false), ms(0), WALL);
    assert_eq!(claim_all(&mut core, tenant, endpoint), 2);
    let mut book = Book::default();
    // Sooner or later one joins who ranks before us.
    while core.tenants.serves(tenant) {
        book.beat(&beat(NodeId::generate()), WALL);
        let me = core.permits.me();
        core.heard(&book.beat(&beat(me), WALL), ms(2_000), WALL);
    }
    assert_eq!(core.scheduler.waiting(tenant).total(), 0);
    assert_eq!(core.outbound.len(), 2, "claims are given back to the store");
    core.claimed(&[], &[claimed(tenant, endpoint, Lane::Retry)], ms(2_000), WALL);
    assert_eq!(core.outbound.len(), 3, "a claim that is answered later as well");
    assert_eq!(core.behind(), Some(Vec::new()));
}

#[test]
fn a_smaller_share_is_applied_when_no_more_than_it_is_in_flight_nor_can_be() {
    let (tenant, endpoint, mut core) = (TenantId::generate(), EndpointId::generate(), core(100));
    core.roster(&roster(tenant, 40, false), ms(0), WALL);
    claim_all(&mut core, tenant, endpoint);
    core.scheduler.endpoint_known(ms(1), endpoint, EndpointFacts::default());
    core.start(ms(1_000), WALL);
    let mut started = core.take_load(ms(1_000));
    assert_eq!(started.len(), 35, "all that one endpoint may take");
    // Another one joins; that we were here before it is known.
    let (mut book, me) = (Book::default(), core.permits.me());
    book.beat(&beat(me), WALL);
    book.beat(&beat(NodeId::generate()), WALL);
    core.heard(&book.beat(&beat(me), WALL), ms(2_000), WALL);
    while started.len() >= 20 {
        assert_eq!(
            core.behind(),
            Some(vec![tenant]),
            "{} are in flight, and one more may start",
            started.len()
        );
        let slot = started.pop().map(|started| started.slot).expect("it is under way");
        core.scheduler.finish(ms(2_000), slot, SlotEnd::NotAttempted);
    }
    assert_eq!(core.behind(), Some(Vec::new()));
}
