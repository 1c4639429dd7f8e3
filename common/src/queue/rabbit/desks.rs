//! What a consumer has of each tenant: what waits to be taken, and how much is taken and not acked. Pure.
//!
//! The broker keeps a prefetch per subscription, and a changed prefetch is a new subscription, which knows nothing of what
//! is unacked from the one before. So the prefetch is kept here too.

use std::collections::{HashMap, VecDeque};

use crate::ids::TenantId;

/// The desks of all tenants. `T` is a message that waits.
pub struct Desks<T> {
    desks: HashMap<TenantId, Desk<T>>,
    /// Whoever may have something to take, in turn.
    turn: VecDeque<TenantId>,
    lives: u64,
}

struct Desk<T> {
    /// 0: not subscribed.
    prefetch: usize,
    /// Taken and not settled.
    held: usize,
    waiting: VecDeque<T>,
    in_turn: bool,
    /// Tickets of an earlier life count no more.
    life: u64,
}

/// What was taken, until it is settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    tenant: TenantId,
    life: u64,
}

impl<T> Default for Desks<T> {
    fn default() -> Self {
        Self { desks: HashMap::new(), turn: VecDeque::new(), lives: 0 }
    }
}

impl<T> Desks<T> {
    /// From now on at most `prefetch` are held.
    pub fn open(&mut self, tenant: TenantId, prefetch: usize) {
        self.lives += 1;
        let life = self.lives;
        let desk = self.desks.entry(tenant).or_insert_with(|| Desk {
            prefetch,
            held: 0,
            waiting: VecDeque::new(),
            in_turn: false,
            life,
        });
        desk.prefetch = prefetch;
        self.offer(tenant);
    }

    /// Gives what waits and finds no room, oldest first, but keeps together what belongs together: `begins` says with what something
    /// new begins.
    pub fn trim(&mut self, tenant: TenantId, begins: impl Fn(&T) -> bool) -> VecDeque<T> {
        let Some(desk) = self.desks.get_mut(&tenant) else { return VecDeque::new() };
        let mut room = desk.prefetch.saturating_sub(desk.held).min(desk.waiting.len());
        while desk.waiting.get(room).is_some_and(|next| !begins(next)) {
            room += 1;
        }
        desk.waiting.split_off(room)
    }

    /// Nothing more is taken. Gives what waited, oldest first.
    pub fn close(&mut self, tenant: TenantId) -> VecDeque<T> {
        let Some(desk) = self.desks.get_mut(&tenant) else { return VecDeque::new() };
        desk.prefetch = 0;
        let waiting = std::mem::take(&mut desk.waiting);
        self.tidy(tenant);
        waiting
    }

    /// The channel is gone, and with it whatever came over it.
    pub fn forget(&mut self, tenant: TenantId) {
        self.lives += 1;
        if let Some(desk) = self.desks.get_mut(&tenant) {
            desk.life = self.lives;
            desk.held = 0;
            desk.waiting.clear();
        }
        self.tidy(tenant);
    }

    /// Messages have come. Returns whether anybody is subscribed; if not, none was kept.
    pub fn accept(&mut self, tenant: TenantId, messages: impl IntoIterator<Item = T>) -> bool {
        match self.desks.get_mut(&tenant) {
            Some(desk) if desk.prefetch > 0 => desk.waiting.extend(messages),
            _ => return false,
        }
        self.offer(tenant);
        true
    }

    /// The next message of the tenant whose turn it is.
    pub fn take(&mut self) -> Option<(Ticket, T)> {
        while let Some(tenant) = self.turn.pop_front() {
            let Some(desk) = self.desks.get_mut(&tenant) else { continue };
            desk.in_turn = false;
            if desk.held >= desk.prefetch {
                continue;
            }
            if let Some(message) = desk.waiting.pop_front() {
                desk.held += 1;
                let ticket = Ticket { tenant, life: desk.life };
                self.offer(tenant);
                return Some((ticket, message));
            }
        }
        None
    }

    /// A message is done with. Whether there is something to take now.
    pub fn settle(&mut self, ticket: Ticket) -> bool {
        match self.desks.get_mut(&ticket.tenant) {
            Some(desk) if desk.life == ticket.life => desk.held = desk.held.saturating_sub(1),
            _ => return false,
        }
        self.offer(ticket.tenant);
        self.tidy(ticket.tenant);
        !self.turn.is_empty()
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.desks.clear();
        self.turn.clear();
    }

    fn offer(&mut self, tenant: TenantId) {
        let Some(desk) = self.desks.get_mut(&tenant) else { return };
        if !desk.in_turn && !desk.waiting.is_empty() && desk.held < desk.prefetch {
            desk.in_turn = true;
            self.turn.push_back(tenant);
        }
    }

    fn tidy(&mut self, tenant: TenantId) {
        let done = |desk: &Desk<T>| desk.prefetch == 0 && desk.held == 0;
        if self.desks.get(&tenant).is_some_and(done) {
            self.desks.remove(&tenant);
            self.turn.retain(|other| *other != tenant);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(desks: &mut Desks<u32>) -> Vec<u32> {
        std::iter::from_fn(|| desks.take()).map(|(_, message)| message).collect()
    }

    fn desks(tenant: TenantId, prefetch: usize, waiting: std::ops::Range<u32>) -> Desks<u32> {
        let mut desks = Desks::default();
        desks.open(tenant, prefetch);
        for message in waiting {
            assert!(desks.accept(tenant, [message]));
        }
        desks
    }

    #[test]
    fn no_more_than_the_prefetch_is_held() {
        let tenant = TenantId::generate();
        let mut desks = desks(tenant, 2, 0..3);
        let (first, _) = desks.take().unwrap();
        assert_eq!(taken(&mut desks), [1]);
        assert!(desks.settle(first));
        assert_eq!(taken(&mut desks), [2]);
    }

    #[test]
    fn tenants_take_turns() {
        let (one, other) = (TenantId::generate(), TenantId::generate());
        let mut desks = desks(one, 9, 0..2);
        desks.open(other, 9);
        assert!(desks.accept(other, [10]));
        assert!(desks.accept(other, [11]));
        assert_eq!(taken(&mut desks), [0, 10, 1, 11]);
    }

    #[test]
    fn what_has_no_room_in_a_smaller_prefetch_can_be_given_back() {
        let tenant = TenantId::generate();
        let mut desks = desks(tenant, 4, 0..4);
        let (held, _) = desks.take().unwrap();
        desks.open(tenant, 2);
        assert_eq!(desks.trim(tenant, |_| true), [2, 3]);
        assert_eq!(taken(&mut desks), [1]);
        assert!(!desks.settle(held));
    }

    #[test]
    fn what_is_held_counts_after_a_new_subscription_too() {
        let tenant = TenantId::generate();
        let mut desks = desks(tenant, 2, 0..2);
        let (held, _) = desks.take().unwrap();
        assert_eq!(desks.close(tenant), [1]);
        assert!(!desks.accept(tenant, [1]));
        desks.open(tenant, 2);
        assert!(desks.accept(tenant, [1]));
        assert!(desks.accept(tenant, [2]));
        assert_eq!(taken(&mut desks), [1]);
        assert!(desks.settle(held));
        assert_eq!(taken(&mut desks), [2]);
    }

    #[test]
    fn nothing_counts_of_a_channel_that_is_gone() {
        let tenant = TenantId::generate();
        let mut desks = desks(tenant, 1, 0..2);
        let (held, _) = desks.take().unwrap();
        desks.forget(tenant);
        assert!(desks.accept(tenant, [5]));
        assert_eq!(taken(&mut desks), [5]);
        assert!(desks.accept(tenant, [6]));
        assert!(!desks.settle(held), "it makes no room");
        assert!(taken(&mut desks).is_empty());
    }

    #[test]
    fn nothing_stays_of_a_tenant_that_is_gone() {
        let tenant = TenantId::generate();
        let mut desks = desks(tenant, 2, 0..2);
        let (held, _) = desks.take().unwrap();
        desks.close(tenant);
        assert_eq!(desks.desks.len(), 1, "one is held");
        desks.settle(held);
        assert!(desks.desks.is_empty() && desks.turn.is_empty());
    }
}
