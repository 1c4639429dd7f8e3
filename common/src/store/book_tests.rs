use super::*;

const LEASE: Duration = Duration::from_secs(8);
const DISPATCHER: Roles = Roles { ingest: false, dispatcher: true };
const INGEST: Roles = Roles { ingest: true, dispatcher: false };

fn at(seconds: u64) -> Timestamp {
    Timestamp(1_700_000_000_000).after(Duration::from_secs(seconds))
}

fn beat(node: NodeId) -> Heartbeat {
    Heartbeat {
        node,
        name: "a".into(),
        roles: DISPATCHER,
        lease: LEASE,
        applied: 0,
        behind: Vec::new(),
        admitted: false,
        leaving: false,
        may_bury: false,
    }
}

fn standing(membership: &Membership) -> Vec<(NodeId, Standing)> {
    membership.members.iter().map(|member| (member.node, member.state)).collect()
}

#[test]
fn the_version_rises_with_the_dispatchers_only() {
    let (mut book, a, b) = (Book::default(), NodeId::generate(), NodeId::generate());
    assert_eq!(book.beat(&beat(a), at(0)).version, 1);
    assert_eq!(book.beat(&beat(a), at(1)).version, 1, "a renewal changes nothing");
    assert_eq!(book.beat(&beat(b), at(1)).version, 2);
    let ingest = Heartbeat { roles: INGEST, ..beat(NodeId::generate()) };
    assert_eq!(book.beat(&ingest, at(1)).version, 2);
    assert_eq!(book.beat(&Heartbeat { leaving: true, ..beat(b) }, at(2)).version, 3);
    assert_eq!(book.beat(&Heartbeat { leaving: true, ..beat(b) }, at(3)).version, 3);
    assert_eq!(book.beat(&beat(b), at(3)).version, 3, "who leaves goes on leaving");
    assert_eq!(standing(&book.membership(at(3)))[1], (b, Standing::Leaving));
    book.leave(b);
    book.leave(b);
    book.leave(ingest.node);
    assert_eq!(book.version, 4);
    assert_eq!(standing(&book.membership(at(3))), [(a, Standing::Live)]);
}

#[test]
fn only_who_may_buries_and_only_whose_lease_has_ended() {
    let (mut book, a, b) = (Book::default(), NodeId::generate(), NodeId::generate());
    book.beat(&beat(a), at(0));
    book.beat(&beat(b), at(0));
    let undertaker = Heartbeat { may_bury: true, ..beat(a) };
    assert_eq!(book.beat(&undertaker, at(8)).version, 2, "until its last moment it lives");
    let silent = book.beat(&beat(a), at(12));
    assert_eq!((silent.version, silent.members[1].state), (2, Standing::Live));
    let buried = book.beat(&undertaker, at(12));
    assert_eq!((buried.version, buried.members[1].state), (3, Standing::Dead));
    assert_eq!(buried.members[1].ended_for, Duration::from_secs(4));
    assert_eq!(buried.members[0].ended_for, Duration::ZERO);
    assert_eq!(book.beat(&undertaker, at(13)).version, 3, "once");
    let end = 8 + limits::NODE_QUARANTINE.as_secs();
    assert_eq!(book.beat(&undertaker, at(end - 1)).members.len(), 2);
    let forgotten = book.beat(&undertaker, at(end));
    assert_eq!((forgotten.version, standing(&forgotten)), (3, vec![(a, Standing::Live)]));
}

#[test]
fn who_comes_back_joins_anew() {
    let (mut book, a, b) = (Book::default(), NodeId::generate(), NodeId::generate());
    book.beat(&beat(a), at(0));
    let sure = Heartbeat { admitted: true, applied: 2, ..beat(b) };
    let first = book.beat(&sure, at(0));
    assert_eq!((first.members[1].joined, first.members[1].admitted), (2, true));
    book.beat(&Heartbeat { may_bury: true, ..beat(a) }, at(12));
    let back = book.beat(&sure, at(13));
    let member = &back.members[1];
    assert_eq!((back.version, member.joined, member.state), (4, 4, Standing::Live));
    assert!(!member.admitted, "what it says is of its first life");
    assert_eq!(book.beat(&Heartbeat { applied: 4, ..sure }, at(14)).members[1].joined, 4);
}

#[test]
fn what_a_node_is_behind_with_is_told_as_it_said_last() {
    let (mut book, a, tenant) = (Book::default(), NodeId::generate(), TenantId::generate());
    let behind = Heartbeat { applied: 1, behind: vec![tenant], ..beat(a) };
    assert_eq!(book.beat(&behind, at(0)).members[0].behind, [tenant]);
    assert!(book.beat(&beat(a), at(1)).members[0].behind.is_empty());
}

#[test]
fn a_lease_that_ended_unnoticed_is_renewed() {
    let (mut book, a) = (Book::default(), NodeId::generate());
    let beat = Heartbeat { may_bury: true, ..beat(a) };
    book.beat(&beat, at(0));
    let late = book.beat(&beat, at(100));
    assert_eq!((late.version, late.members[0].joined, late.members[0].state), (1, 1, Standing::Live));
}

#[test]
fn a_named_lease_has_one_holder_until_it_ends_or_goes() {
    let (mut book, a, b) = (Book::default(), NodeId::generate(), NodeId::generate());
    assert!(book.take_lease("x", a, LEASE, at(0)));
    assert!(!book.take_lease("x", b, LEASE, at(7)));
    assert!(book.take_lease("y", b, LEASE, at(7)));
    assert!(book.take_lease("x", a, LEASE, at(7)), "kept");
    assert!(!book.take_lease("x", b, LEASE, at(14)));
    assert!(book.take_lease("x", b, LEASE, at(15)), "ended");
    assert!(!book.take_lease("x", a, LEASE, at(15)));
    book.leave(b);
    assert!(book.take_lease("x", a, LEASE, at(15)), "given up");
    assert_eq!(book.leases.len(), 1);
}
