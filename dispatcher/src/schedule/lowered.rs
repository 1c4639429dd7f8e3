//! A cap that was lowered to what its tenant holds, or below: by its operator, or because another dispatcher has joined.
//!
//! What holds those slots may be an endpoint that has stopped answering, for as long as an attempt may take. If nothing
//! started before the tenant is below its new cap, its other endpoints would stand still until then. So they keep a part of
//! what the tenant had, as small as the one that [`super::gate::ceiling`] leaves to them: the endpoint that hangs gets none
//! of it, for it has more than its new ceiling.
//!
//! The tenant never holds more than its cap was before. And as what starts meanwhile is less than the new cap, it comes below
//! that as soon as the attempts have ended that were under way: then this is over. A cap of zero keeps nothing.

/// What is kept of a tenant's former cap until it holds less than the new one.
#[derive(Debug)]
pub(super) struct Lowered {
    /// The cap before.
    from: u32,
    /// The last slot that was taken before.
    last_slot: u64,
    /// Slots that were taken since and are held.
    taken: u32,
}

impl Lowered {
    pub fn new(from: u32, last_slot: u64) -> Self {
        Self { from, last_slot, taken: 0 }
    }

    /// The cap before.
    pub fn from(&self) -> u32 {
        self.from
    }

    /// Whether one more may be taken by a tenant that holds so many, under its new cap.
    pub fn has_slot(&self, in_flight: u32, cap: u32) -> bool {
        in_flight < self.from && self.taken < (cap / 8).max(1)
    }

    pub fn take_slot(&mut self) {
        self.taken += 1;
    }

    pub fn give_slot(&mut self, slot: u64) {
        self.taken -= u32::from(slot > self.last_slot);
    }
}
