//! `load`.

use std::time::Duration;

use fairhook_common::delivery::{DeliveryState, DiscardReason, Outcome, Verdict};
use fairhook_common::endpoint::{EndpointStatus, StatusReason};
use fairhook_common::ids::DeliveryId;
use fairhook_common::signature::SigningSecret;
use fairhook_common::store::Load;
use fairhook_common::tenant::Dispatch;

use super::harness::{LIFE, START, Sent, World, at};

#[tokio::test]
async fn an_attempt_gets_all_it_needs() {
    let world = World::new().await;
    let tenant = world.tenant("acme").await;
    let endpoint = world.endpoint(tenant).await;
    let secret = SigningSecret::generate();
    let before = world.find_endpoint(tenant, endpoint).await;
    let rotated = world.store.rotate_secret(tenant, endpoint, secret.clone(), LIFE, at(1)).await.unwrap();
    let sent = world.deliveries(tenant, 1).await[0];
    let Load::Attempt(loaded) = world.load(&sent, at(2)).await else { panic!("no attempt") };
    assert_eq!((loaded.delivery, loaded.tenant, loaded.endpoint.id), (sent.id, tenant, endpoint));
    assert_eq!((&*loaded.event_type, &loaded.payload[..]), ("order.paid", &b"{\"id\": 7 }"[..]));
    assert_eq!((loaded.created_at, loaded.expires_at), (START, START.after(LIFE)));
    assert_eq!((loaded.attempts, loaded.schedule_position), (0, 0));
    assert_eq!(loaded.endpoint.url, rotated.settings.url);
    assert_eq!(loaded.endpoint.timeout, Duration::from_secs(15));
    assert_eq!(loaded.endpoint.retry, rotated.settings.retry);
    let secrets = &loaded.endpoint.secrets;
    assert_eq!(secrets.current, secret);
    assert_eq!(secrets.previous.as_ref().map(|p| &p.0), Some(&before.secrets.current));

    // After a failure it says how far things are.
    world.record_one(sent.retry(at(10), at(3))).await;
    let again = world.claim_due(tenant, at(10)).await[0];
    let Load::Attempt(loaded) = world.load(&again, at(10)).await else { panic!("no attempt") };
    assert_eq!((loaded.attempts, loaded.schedule_position), (1, 1));
}

#[tokio::test]
async fn answers_come_in_the_order_of_the_tickets_and_unknown_ones_are_stale() {
    let world = World::new().await;
    let tenant = world.tenant("acme").await;
    world.endpoint(tenant).await;
    let sent = world.deliveries(tenant, 300).await;
    let mut tickets: Vec<_> = sent.iter().rev().map(Sent::ticket).collect();
    tickets[7].generation = 1;
    tickets[8].delivery.ordinal = 9;
    tickets[9] = tickets[10];
    let answers = world.store.load(&tickets, at(1)).await.unwrap();
    for (n, (ticket, answer)) in tickets.iter().zip(&answers).enumerate() {
        match answer {
            Load::Attempt(loaded) => assert_eq!(loaded.delivery, ticket.delivery),
            Load::Stale => assert!(n == 7 || n == 8, "{n}"),
            other => panic!("{other:?}"),
        }
    }
    assert!(world.store.load(&[], at(1)).await.unwrap().is_empty());
}

#[tokio::test]
async fn what_is_no_longer_queued_at_that_generation_is_stale() {
    let world = World::new().await;
    let tenant = world.tenant("acme").await;
    world.endpoint(tenant).await;
    let sent = world.deliveries(tenant, 4).await;
    assert_eq!(world.store.cancel(tenant, sent[0].id, at(1)).await.unwrap(), Some(DeliveryState::Discarded));
    world
        .record(vec![
            sent[1].delivered(at(1)),
            sent[2].verdict(Verdict::Park, at(1)),
            sent[3].retry(at(9), at(1)),
        ])
        .await;
    for sent in &sent {
        assert!(matches!(world.load(sent, at(2)).await, Load::Stale));
    }
    let claimed = world.claim_due(tenant, at(9)).await[0];
    assert!(matches!(world.load(&claimed, at(9)).await, Load::Attempt(_)));
    assert!(matches!(world.load(&sent[3], at(9)).await, Load::Stale), "the old message of what was claimed");
}

#[tokio::test]
async fn paused_is_held_and_unwanted_is_discarded_by_the_row_of_now() {
    let world = World::new().await;
    let tenant = world.tenant("acme").await;
    let endpoint = world.endpoint(tenant).await;
    let sent = world.deliveries(tenant, 1).await[0];
    assert!(matches!(world.load(&sent, at(1)).await, Load::Attempt(_)));
    for status in [EndpointStatus::Paused, EndpointStatus::Disabled] {
        world.set_status(tenant, endpoint, status, None).await;
        assert!(matches!(world.load(&sent, at(1)).await, Load::Hold));
    }
    world.resume(tenant, endpoint).await;
    world.dispatch(tenant, Dispatch::Paused).await;
    assert!(matches!(world.load(&sent, at(1)).await, Load::Hold));
    world.dispatch(tenant, Dispatch::Open).await;
    assert!(matches!(world.load(&sent, START.after(LIFE)).await, Load::Discard(DiscardReason::Expired)));
    assert!(matches!(world.load(&sent, at(1)).await, Load::Attempt(_)));
    world.store.delete_endpoint(tenant, endpoint, at(1)).await.unwrap();
    assert!(matches!(world.load(&sent, at(1)).await, Load::Discard(DiscardReason::EndpointDeleted)));
    world.store.delete_tenant(tenant, at(1)).await.unwrap();
    assert!(matches!(world.load(&sent, at(1)).await, Load::Discard(DiscardReason::TenantDeleted)));
    let unknown = Sent { id: DeliveryId { ordinal: 7, ..sent.id }, ..sent };
    assert!(matches!(world.load(&unknown, at(1)).await, Load::Stale));
}

/// `World::load` compares. An endpoint is at hand once it was loaded, so that something is loaded after each change.
#[tokio::test]
async fn what_is_at_hand_is_what_would_be_loaded_whatever_happened_meanwhile() {
    let world = World::new().await;
    let tenant = world.tenant("acme").await;
    let endpoint = world.endpoint(tenant).await;
    let admitted = async || {
        let known = world.deliveries(tenant, 1).await[0];
        assert!(matches!(world.load(&known, at(1)).await, Load::Attempt(_)));
        world.deliveries(tenant, 1).await[0]
    };
    let sent = admitted().await;
    assert!(matches!(world.load(&sent, at(1)).await, Load::Attempt(_)));
    assert!(matches!(world.load(&sent, at(1)).await, Load::Attempt(_)), "again");

    let sent = admitted().await;
    world.store.rotate_secret(tenant, endpoint, SigningSecret::generate(), LIFE, at(1)).await.unwrap();
    assert!(matches!(world.load(&sent, at(1)).await, Load::Attempt(_)));
    let sent = admitted().await;
    world.pause(tenant, endpoint).await;
    assert!(matches!(world.load(&sent, at(1)).await, Load::Hold));
    world.resume(tenant, endpoint).await;
    let sent = admitted().await;
    world.dispatch(tenant, Dispatch::Paused).await;
    assert!(matches!(world.load(&sent, at(1)).await, Load::Hold));
    world.dispatch(tenant, Dispatch::Open).await;
    let sent = admitted().await;
    assert!(matches!(world.load(&sent, START.after(LIFE)).await, Load::Discard(DiscardReason::Expired)));
    let sent = admitted().await;
    world.store.cancel(tenant, sent.id, at(1)).await.unwrap();
    assert!(matches!(world.load(&sent, at(1)).await, Load::Stale));
    let sent = admitted().await;
    assert_eq!(world.store.make_due(&[sent.id], at(1)).await.unwrap(), 1);
    assert!(matches!(world.load(&sent, at(1)).await, Load::Stale));
    for ended in [Sent::delivered, Sent::dead] {
        let sent = admitted().await;
        world.record_one(ended(&sent, at(1))).await;
        assert!(matches!(world.load(&sent, at(1)).await, Load::Stale));
    }
    let sent = admitted().await;
    world.record_one(Outcome { disable: Some(StatusReason::Gone), ..sent.dead(at(1)) }).await;
    let stopped = world.deliveries(tenant, 1).await[0];
    assert!(matches!(world.load(&stopped, at(1)).await, Load::Stale), "held from the start");
    world.resume(tenant, endpoint).await;
    let sent = admitted().await;
    world.store.delete_endpoint(tenant, endpoint, at(1)).await.unwrap();
    assert!(matches!(world.load(&sent, at(1)).await, Load::Discard(DiscardReason::EndpointDeleted)));
}
