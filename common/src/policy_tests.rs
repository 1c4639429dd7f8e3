use super::*;

#[test]
fn windows_are_read_as_people_write_them() {
    for (text, ms, shown) in [
        ("10 s", 10_000, "10 s"),
        ("10s", 10_000, "10 s"),
        (" 1m ", 60_000, "1 min"),
        ("15 min", 900_000, "15 min"),
        ("60 s", 60_000, "1 min"),
        ("1500 ms", 1_500, "1500 ms"),
        ("1 h", 3_600_000, "1 h"),
        ("24h", 86_400_000, "1 d"),
    ] {
        let window: WindowLength = text.parse().expect(text);
        assert_eq!((window.length(), window.to_string().as_str()), (Duration::from_millis(ms), shown));
        assert_eq!(shown.parse(), Ok(window));
    }
}

#[test]
fn other_windows_are_refused_with_a_reason() {
    for text in ["", "s", "10", "-1 s", "+1 s", "1.5 s", "10 seconds", "1e3 s", "10  s s", "٣ s"] {
        assert_eq!(text.parse::<WindowLength>(), Err(BadWindow::Unreadable), "{text}");
    }
    for text in ["0 s", "0 h", "999 ms", "25 h", "2 d", "99999999999999999999 s", "18446744073709551615 d"] {
        assert_eq!(text.parse::<WindowLength>(), Err(BadWindow::OutOfRange), "{text}");
    }
}

#[test]
fn a_rate_is_a_number_and_a_window() {
    let rate: PolicyRate = "50/10 s".parse().expect("a rate");
    assert_eq!((rate.limit, rate.to_string().as_str()), (50, "50 / 10 s"));
    for text in ["50", "0 / 10 s", "-1 / 10 s", "4294967296 / 10 s", "/ 10 s"] {
        assert_eq!(text.parse::<PolicyRate>(), Err(BadRate::Unreadable), "{text}");
    }
    assert_eq!("1 / 0 s".parse::<PolicyRate>(), Err(BadWindow::OutOfRange.into()));
}

#[test]
fn names_are_read_back() {
    for policy in Policy::ALL {
        assert_eq!(Policy::from_name(policy.name()), Some(*policy));
        assert_eq!(serde_json::to_value(policy).expect("JSON"), policy.name());
    }
    assert_eq!(Policy::from_name("nothing"), None);
}

#[test]
fn a_tenants_own_rates_are_read_back() {
    let mut rates = OwnRates::default();
    assert_eq!((rates.is_empty(), serde_json::to_string(&rates).expect("JSON")), (true, "{}".to_owned()));
    rates.set(Policy::Tier, Some("7 / 10 s".parse().expect("a rate")));
    let text = serde_json::to_string(&rates).expect("JSON");
    assert_eq!(text, r#"{"tier":{"limit":7,"window":"10 s"}}"#);
    assert_eq!(serde_json::from_str::<OwnRates>(&text).expect("reads back"), rates);
    assert!(!rates.is_empty() && serde_json::from_str::<OwnRates>(r#"{"nothing":{}}"#).is_err());
}

#[test]
fn rates_are_set_by_name_over_their_defaults() {
    let rates: PolicyRates =
        "anonymous = 3 / 1 s, public_form=off,events_per_day=9/1d".parse().expect("rates");
    let is = |policy, text: &str| rates.of(policy) == Configured::Rate(text.parse().expect("a rate"));
    assert!(is(Policy::Anonymous, "3 / 1 s") && is(Policy::EventsPerDay, "9 / 1 d"));
    assert!(is(Policy::AuthFailures, "10 / 15 min"), "the default");
    assert_eq!(rates.of(Policy::PublicForm), Configured::Off);
    assert_eq!(rates.of(Policy::Tier), Configured::Tenants);
    assert_eq!("tier=off".parse::<PolicyRates>().expect("rates").of(Policy::Tier), Configured::Off);
    assert!(Policy::ALL.iter().enumerate().all(|(n, policy)| *policy as usize == n));
    assert_eq!("".parse(), Ok(PolicyRates::default()));
    for bad in ["anonymous", "tier=1/1s", "events=1/1s", "nothing=1/1s", "anonymous=0/1s", "anonymous=1/0s"] {
        assert!(bad.parse::<PolicyRates>().is_err(), "{bad}");
    }
}
