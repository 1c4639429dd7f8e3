use super::*;

#[test]
fn a_token_survives_its_text_and_is_shown_to_nobody() {
    let token = SourceToken::generate();
    assert_eq!(token.reveal().parse(), Ok(token.clone()));
    assert_ne!(SourceToken::generate().hash(), token.hash());
    let secret = SourceSecret::new("höchst geheim".into());
    let shown = format!("{token:?} {secret:?}");
    assert!(!shown.contains(&token.reveal()[4..]) && !shown.contains("geheim"), "{shown}");
    for bad in ["", "fhs_", "fhs_x", &token.reveal()[..55], &format!("{}x", token.reveal())] {
        assert!(bad.parse::<SourceToken>().is_err(), "{bad}");
    }
}

#[test]
fn names_are_those_in_json() {
    let rule = HmacRule {
        header: "x".into(),
        algorithm: HmacAlgorithm::Sha512,
        encoding: HmacEncoding::Base64,
        prefix: None,
    };
    let all = [
        Verification::StandardWebhooks { tolerance_s: 300 },
        Verification::Github,
        Verification::Stripe { tolerance_s: 1 },
        Verification::Hmac(rule),
        Verification::None,
    ];
    assert_eq!(all.each_ref().map(|verification| verification.scheme().name()), Scheme::NAMES);
    for verification in &all {
        let json = serde_json::to_value(verification).expect("JSON");
        assert_eq!(json["scheme"], verification.scheme().name());
        assert_eq!(Scheme::from_name(verification.scheme().name()), Some(verification.scheme()));
        assert_eq!(serde_json::from_value::<Verification>(json).expect("reads"), *verification);
    }
    for rule in [
        TypeRule::Fixed { fixed: "a".into() },
        TypeRule::Found { place: Place::pointer("/a"), prefix: Some("b.".into()) },
        TypeRule::Found { place: Place::header("x"), prefix: None },
    ] {
        let json = serde_json::to_string(&rule).expect("JSON");
        assert_eq!(serde_json::from_str::<TypeRule>(&json).expect("reads"), rule, "{json}");
    }
}

#[test]
fn the_secret_before_counts_for_its_grace() {
    let secret = |text: &str| SourceSecret::new(text.into());
    let secrets = SourceSecrets { current: secret("a"), previous: None };
    let rotated = secrets.clone().rotated(secret("b"), Duration::from_millis(10), Timestamp(0));
    assert_eq!(rotated.in_force(Timestamp(9)).collect::<Vec<_>>(), [&secret("b"), &secret("a")]);
    assert_eq!(rotated.in_force(Timestamp(10)).collect::<Vec<_>>(), [&secret("b")]);
    let same = rotated.clone().rotated(secret("b"), Duration::ZERO, Timestamp(1));
    assert_eq!(same, rotated, "the same again changes nothing");
    let at_once = secrets.rotated(secret("b"), Duration::ZERO, Timestamp(0));
    assert_eq!(at_once.in_force(Timestamp(0)).collect::<Vec<_>>(), [&secret("b")]);
}

#[test]
fn a_prefix_makes_types() {
    for good in ["github.", "a", "a-b."] {
        assert!(TypeRule::is_prefix(good), "{good}");
    }
    for bad in [".", "a..", "a b", "ä.", &"x".repeat(200)] {
        assert!(!TypeRule::is_prefix(bad), "{bad}");
    }
}
