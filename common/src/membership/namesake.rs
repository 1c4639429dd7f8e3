//! Another process of the same name: pure.

use tokio::time::Instant;

use super::Node;
use crate::limits;
use crate::store::{Member, Membership, Standing};

/// Whether there is one, and since when.
#[derive(Debug, Default)]
pub struct Namesake {
    since: Option<Instant>,
    is_told: bool,
}

impl Namesake {
    /// The store said at `now` who is there. Whether that is to be told: once, of one that lives for longer than a
    /// predecessor that was killed, and not buried yet, can be taken for alive.
    pub fn appeared(&mut self, me: &Node, membership: &Membership, now: Instant) -> bool {
        let is_one = |member: &&Member| {
            member.node != me.id && member.name == me.name && member.state == Standing::Live
        };
        if membership.members.iter().find(is_one).is_none() {
            *self = Self::default();
            return false;
        }
        let since = *self.since.get_or_insert(now);
        let lives = now.duration_since(since) > 3 * limits::NODE_LEASE;
        lives && !std::mem::replace(&mut self.is_told, true)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::store::book::Book;
    use crate::store::{Heartbeat, Roles};
    use crate::time::Timestamp;

    #[test]
    fn one_that_goes_on_living_is_told_once_and_a_dead_predecessor_never() {
        let roles = Roles { ingest: true, dispatcher: false };
        let (me, other) = (Node::new("a", roles), Node::new("a", roles));
        let (mut book, mut namesake, start) = (Book::default(), Namesake::default(), Instant::now());
        let beat = |node: &Node| Heartbeat {
            node: node.id,
            name: node.name.clone(),
            roles,
            lease: limits::NODE_LEASE,
            applied: 0,
            behind: Vec::new(),
            admitted: false,
            leaving: false,
            may_bury: true,
        };
        let mut told = |second: u64, other: Option<&Node>| {
            let at = Timestamp(0).after(Duration::from_secs(second));
            if let Some(other) = other {
                book.beat(&beat(other), at);
            }
            namesake.appeared(&me, &book.beat(&beat(&me), at), start + Duration::from_secs(second))
        };
        assert!(!told(0, Some(&Node::new("a", roles))), "a predecessor");
        assert!((1..60).all(|second| !told(second, None)));
        let told: Vec<u64> = (60..120).filter(|second| told(*second, Some(&other))).collect();
        assert_eq!(told.len(), 1, "{told:?}");
        assert_ne!(me.reports_as, other.reports_as);
        assert_eq!(Node::only("a", roles).reports_as, Node::only("a", roles).reports_as);
    }
}
