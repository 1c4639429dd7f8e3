//! All kinds of bad neighbours, one file per group.

mod api;
mod company;
mod load;
mod receivers;

use super::kind::{Act, Conduct, Crowd, FeltBy, Host, Kind, STARTER};

/// Nobody: what is measured then is the noise of the machine (the A/A control).
pub const CONTROL: Kind = Kind {
    name: "nobody",
    about: "the control: alone ÷ alone",
    crowd: Crowd::Told,
    felt_by: FeltBy::Others,
    allowance: STARTER,
    endpoints: 1,
    host: Host::Own(Conduct::Answer("200 OK", "")),
    timeout_ms: 15_000,
    before: &[],
    beside: &[],
};

/// A program that has nothing to do with the engine: what is felt of it is what this machine lets through.
pub const STRANGER: Kind = Kind {
    name: "stranger",
    about: "no tenant, but another program that takes 0.4 of a processor: to compare with",
    beside: &[Act::Stranger(40)],
    ..CONTROL
};

/// All of bad tenants, in the order of the table.
pub fn all() -> impl Iterator<Item = &'static Kind> {
    [receivers::KINDS, load::KINDS, api::KINDS, company::KINDS].into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_differ_and_every_kind_does_something() {
        let names: HashSet<_> = all().map(|kind| kind.name).collect();
        assert_eq!(names.len(), all().count());
        for kind in all() {
            assert!(!kind.beside.is_empty() || !kind.before.is_empty(), "{}", kind.name);
            assert!(kind.endpoints as u64 <= u64::from(kind.allowance.endpoints), "{}", kind.name);
            assert!(kind.before.is_empty() || kind.allowance.events_per_s > STARTER.events_per_s);
            let resumes = kind.beside.contains(&Act::Resume);
            assert_eq!(resumes, kind.before.contains(&super::super::kind::Step::Pause), "{}", kind.name);
        }
        assert!(CONTROL.beside.is_empty() && CONTROL.before.is_empty());
    }
}
