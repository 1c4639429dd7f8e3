//! Event ids: UUIDv7, strictly ascending in the order in which the one writer makes them.

use uuid::Uuid;

use crate::time::Timestamp;

/// The bits of a UUIDv7 behind its time: 12 beside the version and 62 beside the variant.
const LOW_BITS: u32 = 74;

/// Makes ids, each greater than all before it, even if the clock steps back.
#[derive(Debug)]
pub(super) struct EventIds {
    ms: u64,
    low: u128,
}

impl EventIds {
    /// Ids greater than `greatest`.
    pub(super) fn behind(greatest: Uuid) -> Self {
        let bits = greatest.as_u128();
        let low = (bits >> 64 & 0xfff) << 62 | bits & ((1 << 62) - 1);
        Self { ms: (bits >> 80) as u64, low }
    }

    /// The next one. `random` makes ids hard to guess and distinct from those of other stores.
    pub(super) fn next(&mut self, now: Timestamp, random: u128) -> Uuid {
        let ms = now.0.clamp(0, (1 << 48) - 1) as u64;
        if ms > self.ms {
            self.ms = ms;
            // The top bit stays free, so that the ids of one millisecond have room to count up.
            self.low = random & ((1 << (LOW_BITS - 1)) - 1);
        } else {
            self.low += 1 + (random & 0xffff_ffff);
            if self.low >> LOW_BITS != 0 {
                self.ms += 1;
                self.low &= (1 << LOW_BITS) - 1;
            }
        }
        let (high, low) = (self.low >> 62, self.low & ((1 << 62) - 1));
        Uuid::from_u128(u128::from(self.ms) << 80 | 7 << 76 | high << 64 | 2 << 62 | low)
    }
}

/// When an id was made, which is its event's `created_at`.
pub(super) fn made_at(id: Uuid) -> Timestamp {
    Timestamp((id.as_u128() >> 80) as i64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ids_ascend_whatever_the_clock_does(
            greatest: u64, steps in proptest::collection::vec((0i64..1 << 44, any::<u128>()), 1..50),
        ) {
            let mut ids = EventIds::behind(Uuid::nil());
            let mut last = ids.next(Timestamp((greatest >> 20) as i64), u128::MAX);
            ids = EventIds::behind(last);
            for (now, random) in steps {
                let id = ids.next(Timestamp(now), random);
                prop_assert!(id > last, "{id} after {last}");
                prop_assert_eq!(id.get_version_num(), 7);
                prop_assert_eq!(id.get_variant(), uuid::Variant::RFC4122);
                last = id;
            }
        }
    }

    #[test]
    fn an_id_says_when_it_was_made() {
        let mut ids = EventIds::behind(Uuid::nil());
        assert_eq!(made_at(ids.next(Timestamp(1_649_367_553_123), 7)), Timestamp(1_649_367_553_123));
        let full = EventIds { ms: 5, low: (1 << LOW_BITS) - 1 };
        let mut ids = EventIds::behind(EventIds { ..full }.next(Timestamp(5), 0));
        assert_eq!(made_at(ids.next(Timestamp(5), 0)), Timestamp(6), "a full millisecond runs into the next");
    }
}
