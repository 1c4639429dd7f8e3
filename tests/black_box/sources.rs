//! From a provider's webhook to a tenant's endpoint.

use serde_json::{Value, json};
use standardwebhooks::Webhook;

use crate::harness::{Engine, LONG, Options, Receiver};

/// The vector that GitHub publishes is of a text; this is of a JSON text with the same secret, made with
/// `openssl dgst -sha256 -hmac "It's a Secret to Everybody"`.
const BODY: &str = "{ \"zen\" : \"Hello, World!\",\n \"n\": 1.50, \"\\u00e9\": \"é\" }\n";
const SIGNATURE: &str = "sha256=a391915bef33b2e92ee391bedcc1ac783d04facfddc712ac119588f5819c2d85";

#[tokio::test(flavor = "multi_thread")]
async fn what_a_provider_sends_arrives_at_an_endpoint_byte_for_byte_and_once() {
    let engine = Engine::start_with(Options::args(&["--log", "debug"])).await;
    let receiver = Receiver::good().await;
    engine.api.tenant("acme").await;
    let endpoint = engine.api.endpoint("acme", &receiver.url(), json!({"event_types": ["github.*"]})).await;
    let source = json!({
        "verification": {"scheme": "github", "secret": "It's a Secret to Everybody"},
        "event_type": {"header": "X-GitHub-Event", "prefix": "github."},
    });
    let source = engine.api.post("/tenants/acme/sources", source).await.expect(201);
    let url = source["url"].as_str().expect("shown once");
    let push = async |signature: &str| {
        let headers = [
            ("content-type", "application/json"),
            ("x-github-event", "ping"),
            ("x-github-delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958"),
            ("x-hub-signature-256", signature),
        ];
        engine.api.post_at_the_root(url, &headers, BODY).await
    };
    let forged = push("sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17").await;
    assert_eq!(forged.problem(401), "signature_invalid");
    let taken: Value = push(SIGNATURE).await.expect(202);
    let again = push(SIGNATURE).await;
    assert_eq!(again.headers["idempotency-replayed"], "true");
    receiver.wait_for(1, LONG).await;

    // Another event behind it: what would be delivered twice would arrive before it.
    let last = json!({"type": "github.last", "payload": 1});
    engine.api.post("/tenants/acme/events", last).await.expect(202);
    receiver.wait_for(2, LONG).await;
    let arrivals = receiver.arrivals();
    let types: Vec<_> = arrivals.iter().map(|arrival| arrival.header("webhook-event-type")).collect();
    assert_eq!(types, ["github.ping", "github.last"]);
    assert_eq!(arrivals[0].body, BODY.as_bytes());
    assert_eq!(arrivals[0].header("webhook-id"), taken["id"]);
    let webhook = Webhook::new(endpoint["secret"].as_str().expect("shown once")).expect("a secret");
    webhook.verify(&arrivals[0].body, &arrivals[0].headers).expect("signed by us for the endpoint");
    let metrics = reqwest::get(format!("http://{}/metrics", engine.metrics)).await.expect("answers");
    let metrics = metrics.text().await.expect("text");
    let paused = format!("/tenants/acme/sources/{}", source["id"].as_str().expect("an id"));
    engine.api.patch(&paused, json!({"status": "paused"})).await.expect(200);
    engine.prints("status=\"paused\" set=\"status\"").await;
    let told = engine.prints("a source refused a request").await;
    for word in ["tenant.slug=\"acme\"", "client.address=127.0.0.1", "reason=\"mismatch\""] {
        assert!(told.contains(word), "{word} is not in {told}");
    }
    let refused = r#"fairhook_source_refused_total{reason="mismatch",scheme="github"} 1"#;
    assert!(metrics.contains(refused), "{metrics}");
    let log = engine.printed().join("\n");
    assert!(log.contains("a source refused a request") && log.contains("a source was made"), "{log}");
    for secret in ["Secret to Everybody", source["token"].as_str().expect("shown once")] {
        assert!(!log.contains(secret), "a secret is in the log");
    }
}
