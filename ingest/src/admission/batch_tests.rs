use proptest::prelude::*;
use uuid::Uuid;

use super::*;

const BOUNDS: Bounds = Bounds {
    waiting_bytes: 10_000,
    waiting_bytes_per_tenant: 4_000,
    waiting_bytes_free: 100,
    batch_deliveries: 20,
    batch_bytes: 1_000,
};

fn tenant(n: u8) -> TenantId {
    TenantId::from_uuid(Uuid::from_u128(u128::from(n)))
}

#[derive(Debug, Clone, PartialEq)]
struct Item {
    tenant: u8,
    number: usize,
    bytes: usize,
    deliveries: usize,
}

fn list_of(items: &[Item]) -> WaitingList<Item> {
    let mut list = WaitingList::new(BOUNDS);
    for item in items {
        // What finds no room is not part of the test.
        let _ = list.offer(tenant(item.tenant), item.bytes, item.clone());
    }
    list
}

fn fill(list: &mut WaitingList<Item>) -> Vec<Item> {
    list.fill(|_, item| Some(item.deliveries))
}

/// Numbered items, some of which do not fit into a batch by themselves.
fn items(tenants: u8) -> impl Strategy<Value = Vec<Item>> {
    let one = (0..tenants, 1usize..1_300, 1usize..25);
    prop::collection::vec(one, 0..60).prop_map(|list| {
        let numbered = list.into_iter().enumerate();
        numbered
            .map(|(number, (tenant, bytes, deliveries))| Item { tenant, number, bytes, deliveries })
            .collect()
    })
}

#[test]
fn a_flood_over_many_tenants_does_not_shut_a_quiet_one_out() {
    let mut list = WaitingList::new(BOUNDS);
    let item = |tenant, bytes| Item { tenant, number: 0, bytes, deliveries: 1 };
    for flooding in 0..5 {
        let _ = list.offer(tenant(flooding), 2_000, item(flooding, 2_000));
    }
    assert_eq!(list.offer(tenant(0), 1, item(0, 1)), Err(NoRoom::All));
    assert_eq!(list.offer(tenant(9), 100, item(9, 100)), Ok(()));
    assert_eq!(list.offer(tenant(9), 1, item(9, 1)), Err(NoRoom::All), "what is free is little");
}

proptest! {
    #[test]
    fn no_bound_is_exceeded(items in items(5)) {
        let mut list = WaitingList::new(BOUNDS);
        let mut waiting = [0usize; 5];
        for item in &items {
            let of_tenant = &mut waiting[usize::from(item.tenant)];
            let over_tenant = *of_tenant + item.bytes > BOUNDS.waiting_bytes_per_tenant;
            let over_all = *of_tenant + item.bytes > BOUNDS.waiting_bytes_free
                && list.bytes() + item.bytes > BOUNDS.waiting_bytes;
            let expected = match (over_tenant, over_all) {
                (true, _) => Err(NoRoom::Tenant),
                (false, true) => Err(NoRoom::All),
                (false, false) => Ok(()),
            };
            prop_assert_eq!(list.offer(tenant(item.tenant), item.bytes, item.clone()), expected);
            if expected.is_ok() {
                *of_tenant += item.bytes;
            }
            prop_assert_eq!(list.bytes(), waiting.iter().sum::<usize>());
        }
        while !list.is_empty() {
            let batch = fill(&mut list);
            prop_assert!(!batch.is_empty());
            let deliveries: usize = batch.iter().map(|i| i.deliveries).sum();
            let bytes: usize = batch.iter().map(|i| i.bytes).sum();
            let within = deliveries <= BOUNDS.batch_deliveries && bytes <= BOUNDS.batch_bytes;
            prop_assert!(within || batch.len() == 1, "{deliveries} deliveries, {bytes} bytes");
        }
        prop_assert_eq!(list.bytes(), 0);
    }

    #[test]
    fn nothing_is_lost_and_each_tenant_keeps_its_order(before in items(4), between in items(4)) {
        let mut list = WaitingList::new(BOUNDS);
        let (mut expected, mut taken) = (Vec::new(), Vec::new());
        for item in before {
            if list.offer(tenant(item.tenant), item.bytes, item.clone()).is_ok() {
                expected.push(item);
            }
        }
        // The list is offered more while it is emptied.
        let mut more = between.into_iter();
        loop {
            taken.extend(fill(&mut list));
            for item in more.by_ref().take(3) {
                let item = Item { number: item.number + 1_000, ..item };
                if list.offer(tenant(item.tenant), item.bytes, item.clone()).is_ok() {
                    expected.push(item);
                }
            }
            if list.is_empty() {
                break;
            }
        }
        for n in 0..4 {
            let of = |list: &[Item]| list.iter().filter(|i| i.tenant == n).map(|i| i.number).collect::<Vec<_>>();
            prop_assert_eq!(of(&taken), of(&expected), "tenant {}", n);
        }
        prop_assert_eq!(taken.len(), expected.len());
    }

    /// However much others have waiting, and however large: between the arrival of a tenant's first item and its turn,
    /// each other tenant gets one item in at most. So it is in the k-th batch, where k is the number of tenants.
    #[test]
    fn a_tenant_that_arrives_waits_for_one_item_of_each_other_at_most(
        flood in items(6), already in 0usize..8, bytes in 1usize..1_300, deliveries in 1usize..25,
    ) {
        let mut list = list_of(&flood);
        for _ in 0..already {
            fill(&mut list);
        }
        let late = Item { tenant: 9, number: 0, bytes, deliveries };
        if list.offer(tenant(9), bytes, late.clone()).is_ok() {
            let others = list.lines.len() - 1;
            let mut ahead: HashMap<u8, usize> = HashMap::new();
            for batches in 1.. {
                let batch = fill(&mut list);
                prop_assert!(!batch.is_empty());
                let turn = batch.iter().position(|i| *i == late);
                for item in &batch[..turn.unwrap_or(batch.len())] {
                    *ahead.entry(item.tenant).or_default() += 1;
                }
                if turn.is_some() {
                    prop_assert!(batches <= others + 1, "batch {batches} with {others} others");
                    break;
                }
            }
            prop_assert!(ahead.values().all(|&items| items <= 1), "{ahead:?}");
        }
    }

    /// While two tenants both wait, what they were served differs by one item of each at most.
    #[test]
    fn tenants_that_wait_are_served_alike_by_cost(
        small in (1usize..100, 1usize..5), large in (1usize..1_000, 1usize..20),
    ) {
        let mut list = WaitingList::new(Bounds { waiting_bytes: 1 << 20, waiting_bytes_per_tenant: 1 << 20, ..BOUNDS });
        for (n, (bytes, deliveries)) in [(0u8, small), (1, large)] {
            for number in 0..200 {
                let item = Item { tenant: n, number, bytes, deliveries };
                list.offer(tenant(n), bytes, item).expect("there is room");
            }
        }
        let cost = |(bytes, deliveries): (usize, usize)| list_of(&[]).cost(deliveries, bytes);
        let costs = [cost(small), cost(large)];
        let (mut served, mut left) = ([0u64; 2], [200; 2]);
        'both_wait: loop {
            for item in fill(&mut list) {
                let n = usize::from(item.tenant);
                served[n] += costs[n];
                left[n] -= 1;
                if left[n] == 0 {
                    break 'both_wait;
                }
                prop_assert!(served[0].abs_diff(served[1]) <= costs[0] + costs[1], "{:?} of {:?}", served, costs);
            }
        }
    }
}

#[test]
fn equal_items_of_many_tenants_take_turns() {
    let mut list = WaitingList::new(BOUNDS);
    for number in 0..3 {
        for n in 0..3u8 {
            let item = Item { tenant: n, number, bytes: 10, deliveries: 1 };
            list.offer(tenant(n), 10, item).expect("there is room");
        }
    }
    let order: Vec<_> = fill(&mut list).iter().map(|i| (i.number, i.tenant)).collect();
    assert_eq!(order, [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (2, 0), (2, 1), (2, 2)]);
}

#[test]
fn what_nobody_wants_any_more_is_dropped_and_gives_its_room_back() {
    let mut list = WaitingList::new(BOUNDS);
    for number in 0..4 {
        list.offer(tenant(0), 1_000, Item { tenant: 0, number, bytes: 1_000, deliveries: 1 }).expect("room");
    }
    assert_eq!(
        list.offer(tenant(0), 1, Item { tenant: 0, number: 9, bytes: 1, deliveries: 1 }),
        Err(NoRoom::Tenant)
    );
    let batch = list.fill(|_, item| (item.number == 2).then_some(1));
    assert_eq!(batch.iter().map(|i| i.number).collect::<Vec<_>>(), [2]);
    assert!(list.is_empty());
    assert_eq!(list.bytes(), 0);
}
