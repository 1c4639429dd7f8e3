use std::collections::HashSet;
use std::sync::Arc;

use fairhook_common::ids::{EndpointId, EventId};
use proptest::prelude::*;
use uuid::Uuid;

use super::*;

const BOUNDS: Bounds = Bounds { waiting: 30, waiting_per_tenant: 12, unconfirmed_per_tenant: 5 };

fn message(tenant: u8, number: u16) -> (QueueAddress, Message) {
    let id = Uuid::from_u128(u128::from(tenant));
    let address =
        QueueAddress { tenant: TenantId::from_uuid(id), name: Arc::from(format!("queue-{tenant}")) };
    let delivery = DeliveryId { event: EventId::from_uuid(id), ordinal: number };
    (address, Message { delivery, endpoint: EndpointId::from_uuid(id), generation: 0 })
}

fn flood(tenant: u8, numbers: std::ops::Range<u16>) -> Vec<(QueueAddress, Message)> {
    numbers.map(|number| message(tenant, number)).collect()
}

fn numbers(chunk: &Chunk) -> Vec<(u128, u16)> {
    chunk.messages.iter().map(|(a, m)| (a.tenant.uuid().as_u128(), m.delivery.ordinal)).collect()
}

#[test]
fn tenants_take_turns_and_a_flood_does_not_fill_the_window() {
    let mut lineup = Lineup::new(BOUNDS);
    assert_eq!(lineup.offer(OutboxId(1), flood(1, 0..12)), 0);
    let first = lineup.take(100);
    assert_eq!(first.messages.len(), BOUNDS.unconfirmed_per_tenant);
    // Another tenant publishes at once although nothing of the flood is confirmed.
    lineup.offer(OutboxId(2), flood(2, 0..2));
    let second = lineup.take(100);
    assert_eq!(numbers(&second), [(2, 0), (2, 1)]);
    lineup.finish(first, &[Published::Confirmed; 5]);
    lineup.offer(OutboxId(3), flood(3, 0..3));
    assert_eq!(numbers(&lineup.take(5)), [(1, 5), (3, 0), (1, 6), (3, 1), (1, 7)]);
}

#[test]
fn a_row_is_settled_when_each_of_its_messages_has_its_answer() {
    let mut lineup = Lineup::new(BOUNDS);
    let both = [flood(1, 0..2), flood(2, 0..1)].concat();
    lineup.offer(OutboxId(7), both);
    let (one, two) = (lineup.take(2), lineup.take(2));
    lineup.finish(two, &[Published::Refused]);
    assert!(!lineup.has_settled());
    lineup.finish(one, &[Published::Confirmed, Published::Confirmed]);
    assert!(lineup.is_urgent());
    let settled = lineup.take_settled(10);
    assert_eq!(settled, [Settled { outbox: OutboxId(7), unpublished: vec![message(1, 1).1.delivery] }]);
    assert!(!lineup.is_urgent() && !lineup.has_settled());
    assert!(lineup.lines.is_empty() && lineup.rows.is_empty());
}

#[test]
fn what_finds_no_room_is_settled_as_unpublished() {
    let mut lineup = Lineup::new(BOUNDS);
    assert_eq!(lineup.offer(OutboxId(1), flood(1, 0..20)), 8);
    assert_eq!(lineup.offer(OutboxId(2), flood(1, 20..23)), 3);
    let settled = lineup.take_settled(10);
    assert_eq!(settled.len(), 1);
    assert_eq!(settled[0].outbox, OutboxId(2));
    assert_eq!(settled[0].unpublished.len(), 3);
    assert_eq!(lineup.waiting(), BOUNDS.waiting_per_tenant);
    // A row that stands for nothing is settled at once.
    lineup.offer(OutboxId(3), Vec::new());
    assert_eq!(lineup.take_settled(10), [Settled { outbox: OutboxId(3), unpublished: Vec::new() }]);
}

#[test]
fn what_is_done_while_nothing_is_settled_is_left_to_the_outbox_beyond_a_bound() {
    let mut lineup = Lineup::new(BOUNDS);
    assert_eq!(lineup.offer(OutboxId(1), flood(1, 0..12)), 0, "the tenant's places are taken");
    for row in 2..5 {
        lineup.offer(OutboxId(row), flood(1, 100..115));
    }
    // Two rows of 15 are as much as may wait; the third is left, whole, and counted once.
    assert_eq!((lineup.take_left(), lineup.take_left()), (1, 0));
    // What stands for nothing unpublished still finds room.
    lineup.offer(OutboxId(5), Vec::new());
    let settled: Vec<_> = lineup.take_settled(10).iter().map(|settled| settled.outbox).collect();
    assert_eq!(settled, [OutboxId(2), OutboxId(3), OutboxId(5)]);
    // Once they are taken there is room again.
    lineup.offer(OutboxId(6), flood(1, 100..115));
    assert_eq!((lineup.take_left(), lineup.take_settled(10).len()), (0, 1));
}

proptest! {
    /// Whatever the queue answers, in whatever order: each row is either settled, once, or left to the outbox and
    /// counted; of a settled row each delivery is either confirmed or unpublished, once; and nothing stays in memory.
    #[test]
    fn every_delivery_is_accounted_for_once(
        rows in prop::collection::vec(prop::collection::vec(0u8..5, 0..15), 1..12),
        steps in prop::collection::vec((1usize..10, any::<bool>(), any::<bool>()), 1..20),
    ) {
        let mut lineup = Lineup::new(BOUNDS);
        let (mut confirmed, mut in_flight, mut settled) = (Vec::new(), VecDeque::new(), Vec::new());
        let mut steps = steps.into_iter().cycle();
        let mut rows_of: HashMap<DeliveryId, OutboxId> = HashMap::new();
        let mut number = 0;
        let row_count = rows.len();
        let mut rows = rows.into_iter().enumerate();
        loop {
            if let Some((n, tenants)) = rows.next() {
                let messages: Vec<_> = tenants.iter().map(|&t| { number += 1; message(t, number) }).collect();
                let row = OutboxId(n as i64);
                rows_of.extend(messages.iter().map(|(_, m)| (m.delivery, row)));
                lineup.offer(row, messages);
            }
            prop_assert!(lineup.waiting() <= BOUNDS.waiting);
            let (size, finish_now, oldest) = steps.next().expect("endless");
            let chunk = lineup.take(size);
            let stuck = chunk.messages.is_empty();
            if !stuck {
                in_flight.push_back(chunk);
            }
            for line in lineup.lines.values() {
                prop_assert!(line.waiting.len() <= BOUNDS.waiting_per_tenant);
                prop_assert!(line.unconfirmed <= BOUNDS.unconfirmed_per_tenant);
            }
            if !in_flight.is_empty() && (finish_now || stuck || in_flight.len() > 3) {
                let chunk: Option<Chunk> = if oldest { in_flight.pop_front() } else { in_flight.pop_back() };
                let chunk = chunk.expect("there is one");
                let answer = |i: usize| if (i + size).is_multiple_of(3) { Published::Refused } else { Published::Confirmed };
                let answers: Vec<_> = (0..chunk.messages.len()).map(answer).collect();
                let taken = chunk.messages.iter().zip(&answers);
                confirmed.extend(taken.filter(|(_, a)| **a == Published::Confirmed).map(|((_, m), _)| m.delivery));
                lineup.finish(chunk, &answers);
            }
            settled.extend(std::iter::from_fn(|| Some(lineup.take_settled(3)).filter(|s| !s.is_empty())).flatten());
            let idle = in_flight.is_empty();
            if rows.len() == 0 && lineup.waiting() == 0 && idle {
                break;
            }
        }
        let done: HashSet<_> = settled.iter().map(|s: &Settled| s.outbox).collect();
        prop_assert_eq!(done.len(), settled.len(), "a row is settled twice");
        prop_assert_eq!(settled.len() + lineup.take_left() as usize, row_count);
        confirmed.retain(|delivery| done.contains(&rows_of[delivery]));
        rows_of.retain(|_, row| done.contains(row));
        let mut seen: Vec<_> = settled.into_iter().flat_map(|s| s.unpublished).chain(confirmed).collect();
        let mut expected: Vec<_> = rows_of.into_keys().collect();
        seen.sort_unstable();
        expected.sort_unstable();
        prop_assert_eq!(seen, expected);
        prop_assert!(lineup.lines.is_empty() && lineup.rows.is_empty() && lineup.turns.is_empty());
        prop_assert!(lineup.settled.is_empty() && lineup.settled_unpublished == 0);
    }
}
