//! Bodies that arrive and do not end.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use fairhook_common::limits;
use serde_json::json;
use tokio::task::JoinSet;

use crate::rig::{Rig, Stalled};

#[tokio::test]
async fn unfinished_uploads_of_one_tenant_are_bounded_and_nobody_elses_business() {
    const BEYOND: usize = 3;
    let rig = Arc::new(Rig::start().await);
    let (_, greedy) = rig.tenant("greedy").await;
    let (_, quiet) = rig.tenant("quiet").await;
    let fit = limits::UPLOAD_BYTES_PER_TENANT / limits::REQUEST_BODY_BYTES;
    let mut uploads = JoinSet::new();
    for _ in 0..fit + BEYOND {
        let (rig, key) = (Arc::clone(&rig), format!("Bearer {greedy}"));
        let part = Bytes::from(vec![b' '; limits::REQUEST_BODY_BYTES]);
        let body = Body::new(Stalled(Some(part), None));
        uploads.spawn(async move { rig.send("POST /v1/events", &[("authorization", &key)], body).await });
    }
    for _ in 0..BEYOND {
        let refused = uploads.join_next().await.expect("one is answered").expect("no panic");
        assert_eq!(refused.problem(), (503, "unavailable"));
        assert_eq!(refused.header("retry-after"), "1");
    }
    let event = json!({ "type": "a.b", "payload": "x".repeat(100_000) });
    rig.call(&quiet, "POST /v1/events", event.clone()).await.is(202);
    assert_eq!(rig.call(&greedy, "POST /v1/events", event.clone()).await.problem(), (503, "unavailable"));
    uploads.shutdown().await;
    rig.call(&greedy, "POST /v1/events", event).await.is(202);
}
