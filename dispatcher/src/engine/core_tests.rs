use fairhook_common::ids::{DeliveryId, EventId};
use fairhook_common::metrics::Families;
use fairhook_common::store::RosterTenant;
use fairhook_common::tenant::Dispatch;

use super::*;

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
    Core::new(slots, Arc::default(), metrics, ms(0))
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
            core.claimed(&wants, &got, now);
        }
    }
    core.scheduler.waiting(tenant).total()
}

#[test]
fn no_more_is_claimed_while_what_was_claimed_waits_to_be_parked() {
    let (tenant, endpoint, mut core) = (TenantId::generate(), EndpointId::generate(), core(100));
    core.roster(&roster(tenant, 4, false));
    // More than the endpoint has places for, so that the rest, and whatever comes then, has to be parked; at its cap the
    // tenant gets no slot for that.
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
    core.roster(&roster(tenant, 1_000_000_000, false));
    let waits = claim_all(&mut core, tenant, endpoint);
    assert!((100..=200).contains(&waits), "{waits}");
}

#[test]
fn what_is_due_of_a_tenant_that_is_gone_is_forgotten() {
    let (tenant, mut core) = (TenantId::generate(), core(100));
    core.roster(&roster(tenant, 10, true));
    assert!(core.due.asking(ms(1)));
    let due = vec![(tenant, Lane::First)];
    core.learned(DueWork { due, ..DueWork::default() }, None, ms(1));
    assert_eq!(core.due.claims_at(), None, "nobody would ever claim it");
}
