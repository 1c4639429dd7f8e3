//! Metrics of tenants: the busiest by name, all others together, so that there are as many at any number of tenants. Only
//! the dispatcher that watches shows them.

use std::collections::BTreeSet;

use fairhook_common::activity::Figures;
use fairhook_common::condition::ConditionKind;
use fairhook_common::metrics::Families;
use prometheus::GaugeVec;

/// The name of all others: no slug has an underscore.
const OTHERS: &str = "_other";

type Read = fn(&Figures) -> f64;

/// Names, what they are, and what is read.
const FIGURES: [(&str, &str, Read); 14] = [
    ("events_per_second", "Events admitted.", |f| f.events_per_s),
    ("throttled_per_second", "Events refused over a quota.", |f| f.throttled_per_s),
    ("deliveries_per_second", "Deliveries that ended well.", |f| f.deliveries_per_s),
    ("attempts_per_second", "Attempts that ended.", |f| f.attempts_per_s),
    ("error_ratio", "The part of the attempts that failed.", |f| f.error_rate),
    ("dead_per_second", "Deliveries that died.", |f| f.dead_per_s),
    ("in_flight", "Deliveries in flight.", |f| f.in_flight as f64),
    ("waiting", "Unfinished deliveries that are not in flight.", |f| f.waiting as f64),
    ("oldest_age_seconds", "How long the longest of what is due has waited.", |f| f.oldest_age_s),
    ("slot_seconds_per_second", "Slot time used: the slots held on average.", |f| f.slot_seconds_per_s),
    ("fair_share_ratio", "The part of the slot time in use that the weight entitles to.", |f| f.fair_share),
    (
        "dispatch_delay_seconds",
        "From an event's admission to its first attempt; while others hold a tenant back, at least the age of what waits.",
        |f| f.dispatch_delay_ms.unwrap_or(0.0) / 1_000.0,
    ),
    ("dead_letters", "Dead letters.", |f| f.dead_letters as f64),
    ("circuits_open", "Endpoints whose circuit is not closed.", |f| f.circuits_open as f64),
];

/// All of them.
pub struct TenantGauges {
    figures: Vec<(GaugeVec, Read)>,
    in_condition: GaugeVec,
    named: BTreeSet<String>,
}

impl TenantGauges {
    /// Registers them. There is nothing to see before the first look.
    pub fn new(families: &Families) -> Self {
        let figure = |(name, help, read): (&str, &str, Read)| {
            let help = format!("{help} Of the tenants with the most slot time; `{OTHERS}`: of all others.");
            (families.figures(&format!("fairhook_tenant_{name}"), &help, &["tenant"]), read)
        };
        Self {
            figures: FIGURES.map(figure).into(),
            in_condition: families.figures(
                "fairhook_tenants_in_condition",
                "Tenants that are in this condition.",
                &["condition"],
            ),
            named: BTreeSet::new(),
        }
    }

    /// Shows these tenants and nobody else.
    pub fn show(
        &mut self,
        named: &[(String, Figures)],
        others: &Figures,
        in_condition: &[usize; ConditionKind::ALL.len()],
    ) {
        for (kind, tenants) in ConditionKind::ALL.iter().zip(in_condition) {
            self.in_condition.with_label_values(&[kind.name()]).set(*tenants as f64);
        }
        let shown = named.iter().map(|(slug, figures)| (slug.as_str(), figures)).chain([(OTHERS, others)]);
        for (slug, figures) in shown.clone() {
            for (gauge, read) in &self.figures {
                gauge.with_label_values(&[slug]).set(read(figures));
            }
        }
        let now: BTreeSet<String> = shown.map(|(slug, _)| slug.to_owned()).collect();
        self.forget(self.named.difference(&now).cloned().collect());
        self.named = now;
    }

    /// Shows nothing.
    pub fn clear(&mut self) {
        let gone = std::mem::take(&mut self.named);
        self.forget(gone);
        self.in_condition.reset();
    }

    fn forget(&self, gone: BTreeSet<String>) {
        for slug in gone {
            for (gauge, _) in &self.figures {
                // It is there: it was shown.
                let _ = gauge.remove_label_values(&[&slug]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use prometheus::Registry;

    use super::*;

    /// What a family says, by the value of its label.
    fn shown(registry: &Registry, name: &str) -> Vec<(String, f64)> {
        let families = registry.gather();
        let family = families.iter().find(|family| family.name() == name);
        let metrics = family.map(|family| family.get_metric().to_vec()).unwrap_or_default();
        let read =
            |m: &prometheus::proto::Metric| (m.get_label()[0].value().to_owned(), m.get_gauge().get_value());
        metrics.iter().map(read).collect()
    }

    #[test]
    fn there_is_one_of_each_per_named_tenant_and_none_of_those_before() {
        let registry = Registry::new();
        let mut gauges = TenantGauges::new(&Families::new(registry.clone()));
        let shown = || shown(&registry, "fairhook_tenant_in_flight");
        let holding = |in_flight| Figures { in_flight, ..Figures::default() };
        let named = [("a".to_owned(), holding(3)), ("b".to_owned(), holding(2))];
        gauges.show(&named, &holding(9), &[1, 0, 0, 0]);
        assert_eq!(shown(), [("_other".into(), 9.0), ("a".into(), 3.0), ("b".into(), 2.0)]);
        gauges.show(&named[1..], &holding(12), &[0; 4]);
        assert_eq!(shown(), [("_other".into(), 12.0), ("b".into(), 2.0)]);
        gauges.clear();
        assert!(shown().is_empty(), "somebody else shows them");
    }

    #[test]
    fn each_condition_has_a_number_of_its_own() {
        let registry = Registry::new();
        let mut gauges = TenantGauges::new(&Families::new(registry.clone()));
        let shown = || shown(&registry, "fairhook_tenants_in_condition");
        gauges.show(&[], &Figures::default(), &[4, 3, 2, 1]);
        let numbers = [
            ("dlq.warning".to_owned(), 2.0),
            ("endpoint.disabled".to_owned(), 1.0),
            ("quota.warning".to_owned(), 3.0),
            ("tenant.noisy".to_owned(), 4.0),
        ];
        assert_eq!(shown(), numbers);
        gauges.show(&[], &Figures::default(), &[0, 0, 5, 0]);
        assert_eq!(
            shown(),
            numbers.map(|(name, _)| if name == "dlq.warning" { (name, 5.0) } else { (name, 0.0) })
        );
        gauges.clear();
        assert!(shown().is_empty(), "somebody else shows them");
    }
}
