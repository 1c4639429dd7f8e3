//! What an earlier process left behind, in words.

use fairhook_common::tenant::DeliveryCounts;

/// What a start found.
#[derive(Debug, Clone, Copy)]
pub struct Found {
    /// How all deliveries stand.
    pub counts: DeliveryCounts,
    /// The process before did not end in order.
    pub unclean: bool,
}

impl Found {
    /// The line that is printed, if there is anything to say.
    pub fn sentence(&self) -> Option<String> {
        let counts = &self.counts;
        if !self.unclean || counts.accepted == 0 {
            let waiting = thousands(counts.waiting());
            return (counts.waiting() > 0)
                .then(|| format!("{waiting} deliveries wait from before; going on with them"));
        }
        let ended = [(counts.dead, "dead"), (counts.discarded, "discarded")];
        let ended = ended.iter().filter(|(count, _)| *count > 0);
        let ended: String = ended.map(|(count, state)| format!(" + {} {state}", thousands(*count))).collect();
        let end = if counts.waiting() > 0 { "delivering them now" } else { "nothing was left to do" };
        Some(format!(
            "recovered: {} accepted = {} delivered{ended} + {} waiting; {end}",
            thousands(counts.accepted),
            thousands(counts.delivered),
            thousands(counts.waiting())
        ))
    }
}

/// A count as people read it: `1,213`.
pub fn thousands(count: u64) -> String {
    let digits = count.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().filter_map(|g| str::from_utf8(g).ok()).collect();
    groups.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_is_said_in_one_line() {
        let counts = DeliveryCounts {
            accepted: 2_000,
            delivered: 1_213,
            backlog: 780,
            retrying: 7,
            ..Default::default()
        };
        let say = |counts, unclean| Found { counts, unclean }.sentence();
        assert_eq!(
            say(counts, true).as_deref(),
            Some("recovered: 2,000 accepted = 1,213 delivered + 787 waiting; delivering them now")
        );
        let ended = DeliveryCounts { accepted: 5, delivered: 2, dead: 1, discarded: 2, ..Default::default() };
        assert_eq!(
            say(ended, true).as_deref(),
            Some(
                "recovered: 5 accepted = 2 delivered + 1 dead + 2 discarded + 0 waiting; nothing was left to do"
            )
        );
        assert_eq!(
            say(counts, false).as_deref(),
            Some("787 deliveries wait from before; going on with them")
        );
        assert_eq!(say(ended, false), None);
        assert_eq!(say(DeliveryCounts::default(), true), None);
    }

    #[test]
    fn counts_are_grouped() {
        for (count, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(thousands(count), text);
        }
    }
}
