//! What is told to the store of what only this dispatcher knows: deliveries in flight, circuits. Only what changed.

use std::collections::BTreeMap;

use fairhook_common::endpoint::Circuit;
use fairhook_common::ids::{EndpointId, TenantId};
use fairhook_common::limits;
use fairhook_common::store::Report;

use crate::schedule::Moment;

/// What was told, and what is to be told next.
#[derive(Debug, Default)]
pub struct Reporting {
    /// What was told last; `None`: nothing since the start, so that a predecessor's numbers still stand.
    told: Option<(Moment, Vec<(TenantId, u32)>)>,
    circuits: BTreeMap<EndpointId, Circuit>,
    under_way: bool,
}

impl Reporting {
    /// Circuits have changed.
    pub fn circuits(&mut self, changed: impl IntoIterator<Item = (EndpointId, Circuit)>) {
        self.circuits.extend(changed);
    }

    /// The next report, if there is news and none is under way.
    pub fn begin(&mut self, now: Moment, mut in_flight: Vec<(TenantId, u32)>) -> Option<Report> {
        in_flight.sort_unstable();
        let is_told = self.told.as_ref().is_some_and(|(at, told)| {
            // What is not repeated is forgotten by the store in the end.
            let lasts = told.is_empty() || now.since(*at) < limits::REPORT_TTL / 3;
            lasts && *told == in_flight
        });
        if self.under_way || (is_told && self.circuits.is_empty()) {
            return None;
        }
        self.under_way = true;
        self.told = Some((now, in_flight.clone()));
        Some(Report { in_flight, circuits: std::mem::take(&mut self.circuits).into_iter().collect() })
    }

    /// The report arrived, or, given back, did not; what it said of circuits that have not changed again is told again.
    pub fn end(&mut self, lost: Option<Report>) {
        self.under_way = false;
        if let Some(lost) = lost {
            self.told = None;
            for (endpoint, circuit) in lost.circuits {
                self.circuits.entry(endpoint).or_insert(circuit);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_news_is_told_one_report_at_a_time_and_what_was_lost_is_told_again() {
        let mut reporting = Reporting::default();
        let now = Moment::default();
        let (tenant, endpoint) = (TenantId::generate(), EndpointId::generate());
        assert!(reporting.begin(now, vec![]).is_some(), "a predecessor's numbers are replaced");
        assert!(reporting.begin(now, vec![(tenant, 1)]).is_none(), "one is under way");
        reporting.end(None);
        assert!(reporting.begin(now, vec![]).is_none(), "no news");

        reporting.circuits([(endpoint, Circuit::Open)]);
        let lost = reporting.begin(now, vec![(tenant, 1)]).expect("news");
        assert_eq!(lost.circuits, [(endpoint, Circuit::Open)]);
        reporting.circuits([(endpoint, Circuit::HalfOpen)]);
        reporting.end(Some(lost));
        let again = reporting.begin(now, vec![(tenant, 1)]).expect("it did not arrive");
        assert_eq!(again.circuits, [(endpoint, Circuit::HalfOpen)], "the newer one");
        assert_eq!(again.in_flight, [(tenant, 1)]);
        reporting.end(None);
        assert!(reporting.begin(now, vec![(tenant, 1)]).is_none(), "no news");
        let later = now.after(limits::REPORT_TTL / 3);
        assert!(reporting.begin(later, vec![(tenant, 1)]).is_some(), "before the store forgets it");
    }
}
