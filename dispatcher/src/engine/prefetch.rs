//! How many messages are fetched ahead for a tenant: pure.

use fairhook_common::limits;

use crate::schedule::Moment;

/// The prefetch of one tenant: its share and a small look-ahead while it needs them, little while it does not. Another prefetch
/// is a new subscription, so that thousands of tenants with a trickle each must do with the little.
#[derive(Debug, Clone, Copy)]
pub struct Prefetch {
    last_message: Option<Moment>,
    busy: bool,
}

impl Prefetch {
    /// An idle tenant's.
    pub fn idle() -> Self {
        Self { last_message: None, busy: false }
    }

    /// A message came, and with it so many deliveries of the tenant are here. Returns whether [`Self::size`] has changed.
    pub fn message(&mut self, here: u32, now: Moment) -> bool {
        self.last_message = Some(now);
        // Sooner than the little is used up: the queue hands out nothing more then.
        let begins = !self.busy && here >= limits::PREFETCH_IDLE / 2;
        self.busy |= begins;
        begins
    }

    /// Time has passed. Returns whether [`Self::size`] has changed.
    pub fn tick(&mut self, now: Moment) -> bool {
        let quiet = |last| now.since(last) >= limits::PREFETCH_IDLE_AFTER;
        let ends = self.busy && self.last_message.is_none_or(quiet);
        if ends {
            self.busy = false;
        }
        ends
    }

    /// Unacked messages at most, for a tenant that may have `share` deliveries in flight here.
    pub fn size(&self, share: u32) -> u32 {
        let full = share.saturating_add(limits::PREFETCH_AHEAD).max(1);
        if self.busy { full } else { full.min(limits::PREFETCH_IDLE) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_tenant_is_fetched_ahead_for_while_it_has_more_than_a_trickle() {
        let start = Moment::from_micros(0);
        let mut prefetch = Prefetch::idle();
        assert_eq!(prefetch.size(50), limits::PREFETCH_IDLE);
        assert!(!prefetch.tick(start));
        assert!(!prefetch.message(1, start), "a trickle");
        assert_eq!(prefetch.size(50), limits::PREFETCH_IDLE);
        assert!(prefetch.message(limits::PREFETCH_IDLE - 1, start));
        assert!(!prefetch.message(limits::PREFETCH_IDLE, start));
        assert_eq!(prefetch.size(50), 50 + limits::PREFETCH_AHEAD);
        let almost = start.after(limits::PREFETCH_IDLE_AFTER - Duration::from_secs(1));
        assert!(!prefetch.tick(almost));
        assert!(prefetch.tick(start.after(limits::PREFETCH_IDLE_AFTER)));
        assert_eq!(prefetch.size(50), limits::PREFETCH_IDLE);
    }

    #[test]
    fn a_prefetch_is_never_none_at_all() {
        let mut prefetch = Prefetch::idle();
        assert!(prefetch.size(0) >= 1);
        prefetch.message(limits::PREFETCH_IDLE, Moment::from_micros(0));
        assert_eq!(prefetch.size(u32::MAX), u32::MAX);
    }
}
