//! Which dispatchers serve a tenant, and with which part of its concurrency: pure.
//!
//! By rendezvous hashing: each node has a score for each tenant, and the best few serve it. So all who know the same nodes
//! agree without talking, and a node that comes or goes moves only what it serves. What every node reckons must be the same
//! in every version of this program that runs beside another.

use std::cmp::Reverse;

use fairhook_common::ids::{NodeId, TenantId};
use fairhook_common::limits;

/// The nodes that serve `tenant`, the best first, each with its share of `cap`. The shares add up to `cap`, and each is at
/// least 1. A further node never makes another's share larger.
pub fn assign(
    tenant: TenantId,
    cap: u32,
    nodes: impl IntoIterator<Item = NodeId>,
) -> impl Iterator<Item = (NodeId, u32)> {
    let mut scored: Vec<_> = nodes.into_iter().map(|node| Reverse((score(tenant, node), node))).collect();
    scored.sort_unstable();
    scored.dedup();
    scored.truncate(limits::DISPATCHERS_PER_TENANT.min(usize::try_from(cap).unwrap_or(usize::MAX)));
    let parts = u32::try_from(scored.len()).expect("there are a few at most");
    let share = move |rank: u32| cap / parts + u32::from(rank < cap % parts);
    (0..).zip(scored).map(move |(rank, Reverse((_, node)))| (node, share(rank)))
}

fn score(tenant: TenantId, node: NodeId) -> u64 {
    let (tenant, node) = (tenant.uuid().as_u128(), node.uuid().as_u128());
    let words = [(tenant >> 64) as u64, tenant as u64, (node >> 64) as u64, node as u64];
    words.into_iter().fold(0, |mixed, word| mix(mixed ^ word))
}

/// Every bit of `word` changes half of the result's (the finish of SplitMix64).
fn mix(word: u64) -> u64 {
    let mut mixed = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn node(n: u128) -> NodeId {
        NodeId::from_uuid(Uuid::from_u128(n))
    }

    fn shares(tenant: TenantId, cap: u32, nodes: &[NodeId]) -> BTreeMap<NodeId, u32> {
        assign(tenant, cap, nodes.iter().copied()).collect()
    }

    proptest! {
        #[test]
        fn the_cap_is_shared_exactly_and_everybody_agrees(
            tenant: u128,
            nodes in prop::collection::vec(any::<u128>(), 1..12),
            cap in 0..200_u32,
        ) {
            let tenant = TenantId::from_uuid(Uuid::from_u128(tenant));
            let mut nodes: Vec<_> = nodes.into_iter().map(node).collect();
            let shared = shares(tenant, cap, &nodes);
            prop_assert_eq!(shared.values().sum::<u32>(), cap);
            prop_assert!(shared.values().all(|share| *share >= 1));
            prop_assert!(shared.len() <= limits::DISPATCHERS_PER_TENANT);
            nodes.reverse();
            prop_assert_eq!(&shares(tenant, cap, &nodes), &shared);
            nodes.push(nodes[0]);
            prop_assert_eq!(&shares(tenant, cap, &nodes), &shared, "one that is told twice");
        }

        #[test]
        fn a_further_node_never_makes_a_share_larger(
            tenant: u128,
            nodes in prop::collection::vec(any::<u128>(), 1..12),
            cap in 0..200_u32,
        ) {
            let tenant = TenantId::from_uuid(Uuid::from_u128(tenant));
            let nodes: Vec<_> = nodes.into_iter().map(node).collect();
            let (after, before) = (shares(tenant, cap, &nodes), shares(tenant, cap, &nodes[1..]));
            for (node, share) in before.iter().filter(|(node, _)| **node != nodes[0]) {
                prop_assert!(after.get(node).copied().unwrap_or(0) <= *share);
            }
        }

        #[test]
        fn few_tenants_move_when_a_node_comes_and_each_node_gets_its_part(seed: u64, count in 4..9_u64) {
            let nodes: Vec<_> = (0..count).map(|n| node(u128::from(mix(seed ^ n)))).collect();
            let tenants = 2_000_u32;
            let (mut moved, mut first) = (0, BTreeMap::<_, u32>::new());
            for n in 0..tenants {
                let tenant = TenantId::from_uuid(Uuid::from_u128(u128::from(n)));
                let after = shares(tenant, 30, &nodes);
                let before = shares(tenant, 30, &nodes[1..]);
                moved += u32::from(before.keys().any(|node| !after.contains_key(node)));
                let best = assign(tenant, 30, nodes.iter().copied()).next().expect("somebody serves it");
                *first.entry(best.0).or_default() += 1;
            }
            // It gets three in `count`; each of these is taken from one that served it.
            let expected = f64::from(tenants) * 3.0 / count as f64;
            prop_assert!(f64::from(moved) < expected * 1.2, "{moved} of {tenants} moved");
            let fair = f64::from(tenants) / count as f64;
            prop_assert!(first.values().all(|n| (0.6..1.6).contains(&(f64::from(*n) / fair))), "{first:?}");
        }
    }

    /// Processes of two versions must agree.
    #[test]
    fn the_scores_stay_as_they_are() {
        let tenant = TenantId::from_uuid(Uuid::from_u128(7));
        assert_eq!([1, 2, 3].map(|n| score(tenant, node(n)) >> 48), [33_797, 55_871, 10_192]);
    }
}
