//! Properties under random operations ([`properties`]), the gates' behaviour step by step ([`gates`]), what is parked ([`parking`]), who gets the reserve ([`reserve`]), caps that
//! are lowered ([`lowered`]), what virtual time does with one slot ([`virtual_time`]), and time shares and
//! waits in a simulated dispatcher ([`simulation`]), which also draws the plots of `docs/FAIRNESS.md` ([`plots`]).

mod capacity;
mod gates;
mod lowered;
mod parking;
mod plots;
mod properties;
mod reserve;
mod simulation;
mod simulator;
mod svg;
mod virtual_time;

use std::time::Duration;

use fairhook_common::delivery::Lane;
use fairhook_common::ids::{EndpointId, TenantId, from_base32};

use super::*;

fn tenant(n: usize) -> TenantId {
    TenantId::from_uuid(from_base32(&format!("{n:026}")).unwrap())
}

fn endpoint(tenant: usize, n: usize) -> EndpointId {
    EndpointId::from_uuid(from_base32(&format!("{:026}", tenant * 1_000 + n)).unwrap())
}

fn ms(millis: u64) -> Moment {
    Moment::from_micros(millis * 1_000)
}

fn waiting<T>(t: usize, e: usize, item: T) -> Waiting<T> {
    Waiting { tenant: tenant(t), lane: Lane::First, endpoint: endpoint(t, e), released: false, item }
}

/// The next step; what starts is loaded at once.
fn next_loaded<T>(scheduler: &mut Scheduler<T>, now: Moment) -> Option<Step<T>> {
    let step = scheduler.next(now)?;
    if let Step::Start { slot, .. } = &step {
        assert!(scheduler.may_go_on(now, slot), "no rate is in its way");
    }
    Some(step)
}

fn attempted(class: Class) -> SlotEnd {
    SlotEnd::Attempted { class, new_connection: false }
}

/// A scheduler whose endpoints are known from their first delivery.
fn offer_known<T>(scheduler: &mut Scheduler<T>, now: Moment, waiting: Waiting<T>) {
    let endpoint = waiting.endpoint;
    assert!(scheduler.offer(now, waiting).is_ok());
    let timeout = Duration::from_secs(15);
    scheduler.endpoint_known(now, endpoint, EndpointFacts { rate_per_minute: None, timeout });
}
