use super::*;

const QUICK: Duration = Duration::from_millis(1);

#[test]
fn slots_halve_while_late_and_grow_back_by_steps() {
    let mut capacity = Capacity::new(2_000);
    assert_eq!(capacity.observe(QUICK, QUICK), 2_000);
    let late = Duration::from_millis(80);
    assert_eq!(capacity.observe(late, QUICK), 2_000, "a hiccup");
    assert_eq!(capacity.observe(QUICK, QUICK), 2_000);
    assert_eq!(capacity.observe(late, QUICK), 2_000, "another one");
    assert_eq!(capacity.observe(late, QUICK), 1_000, "the loop is late");
    assert_eq!(capacity.observe(QUICK, Duration::from_secs(1)), 500, "recording is late");
    assert_eq!(capacity.observe(QUICK, QUICK), 562);
    let steps = (1..).take_while(|_| capacity.observe(QUICK, QUICK) < 2_000).count();
    assert!((20..30).contains(&steps), "{steps}");
    assert_eq!(capacity.observe(QUICK, QUICK), 2_000, "never more than all");
}

#[test]
fn there_is_a_floor_but_nothing_starts_while_outcomes_are_old() {
    let mut capacity = Capacity::new(2_000);
    let least = (0..50).map(|_| capacity.observe(Duration::from_secs(1), QUICK)).min();
    assert_eq!(least, Some(2_000 / limits::CAPACITY_FLOOR_PART));
    assert_eq!(capacity.observe(QUICK, limits::RECORD_LAG_MAX + QUICK), 0);
    assert!(capacity.observe(QUICK, QUICK) > 0);
    let mut one = Capacity::new(1);
    assert!((0..9).all(|_| one.observe(Duration::from_secs(1), QUICK) == 1));
}
