//! When an endpoint has to be looked at again although nothing happens to it.

use std::collections::BTreeSet;

use fairhook_common::ids::{EndpointId, TenantId};

use super::Moment;

/// At most one alarm per endpoint, kept by the endpoint as well.
#[derive(Debug, Default)]
pub(super) struct Alarms(BTreeSet<(Moment, TenantId, EndpointId)>);

impl Alarms {
    pub fn change(
        &mut self,
        tenant: TenantId,
        endpoint: EndpointId,
        old: &mut Option<Moment>,
        new: Option<Moment>,
    ) {
        if *old != new {
            old.map(|at| self.0.remove(&(at, tenant, endpoint)));
            new.map(|at| self.0.insert((at, tenant, endpoint)));
            *old = new;
        }
    }

    pub fn first(&self) -> Option<Moment> {
        self.0.first().map(|(at, _, _)| *at)
    }

    /// Takes out an endpoint whose time has come. It is to be settled, which sets its next alarm.
    pub fn pop_due(&mut self, now: Moment) -> Option<(TenantId, EndpointId)> {
        self.first().filter(|at| *at <= now)?;
        self.0.pop_first().map(|(_, tenant, endpoint)| (tenant, endpoint))
    }
}
