//! Whose requests are counted together is nobody's to read.

use serde_json::json;

use crate::harness::{Answer, Engine, Options};

/// Whoever calls.
const ADDRESS: &str = "203.0.113.77";
/// By what an operator counts.
const NAME: &str = "somebody@example.com";
/// How keys are written where limits are kept: each part behind its length.
const KEYS: [&str; 5] = ["6:tenant", "2:ip", "6:source", "5:named", "6:hashed"];

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_limits_are_in_no_answer_no_log_and_no_metric() {
    let limits = "api_requests=2 / 1 h,anonymous=9 / 1 h,auth_failures=2 / 1 h,source_ingest=2 / 1 h,\
        public_form=2 / 1 h,events_per_day=2 / 1 h";
    let args = ["--trusted-proxies", "127.0.0.0/8", "--limits", limits, "--log", "fairhook=trace"];
    let engine = Engine::start_with(Options::args(&args)).await;
    let from = [("x-forwarded-for", ADDRESS)];
    let mut seen: Vec<String> = Vec::new();
    let mut note = |answer: &Answer| seen.push(format!("{:?} {}", answer.headers, answer.body));
    let mut reached = Vec::new();
    let mut refused = |answer: &Answer| {
        let policy = (answer.status == 429).then(|| answer.body["violated-policies"][0].clone());
        reached.extend(policy.as_ref().and_then(|policy| policy.as_str()).map(str::to_owned));
        answer.status == 429
    };

    engine.api.tenant("acme").await;
    engine.api.tenant("other").await;
    let tier = json!({"limit": 2, "window": "1 h"});
    engine.api.put("/quotas/other/overrides/tier", tier).await.expect(201);
    let source = json!({"verification": {"scheme": "none"}, "event_type": {"fixed": "a.b"}});
    let source = engine.api.post("/tenants/acme/sources", source).await.expect(201);
    let door = source["url"].as_str().expect("shown once").to_owned();
    let mut keys = Vec::new();
    for tenant in ["acme", "other"] {
        let made = engine.api.post(&format!("/tenants/{tenant}/keys"), json!({})).await.expect(201);
        keys.push(engine.api.with_key(made["api_key"].as_str().expect("shown once")));
    }
    let stranger = engine.api.with_key("fh_nobody");
    for (caller, path) in [
        (&keys[0], "/dead-letters/replay"),
        (&keys[1], "/dead-letters/replay"),
        (&stranger, "/dead-letters/replay"),
        (&keys[1], "/events"),
    ] {
        loop {
            let answer = caller.post_with_headers(path, &from, r#"{"type": "a", "payload": 1}"#).await;
            note(&answer);
            if refused(&answer) {
                break;
            }
        }
    }
    loop {
        let answer = engine.api.post_at_the_root(&door, &from, "{}").await;
        note(&answer);
        if refused(&answer) {
            break;
        }
    }
    loop {
        let answer = engine.api.post("/limits/public_form/check", json!({"key": NAME})).await;
        note(&answer);
        if answer.body["allowed"] == false {
            break;
        }
    }
    assert_eq!(reached, ["api_requests", "tier", "auth_failures", "events_per_day", "source_ingest"]);

    // The log's last line is behind all others.
    engine.api.tenant("the-last-of-them").await;
    engine.prints("the-last-of-them").await;
    seen.extend(engine.printed());
    let metrics = reqwest::get(format!("http://{}/metrics", engine.metrics)).await.expect("answers");
    seen.push(metrics.text().await.expect("text"));
    for said in &seen {
        let told = [ADDRESS, NAME].iter().chain(&KEYS).find(|key| said.contains(**key));
        assert_eq!(told, None, "{said}");
    }
}
