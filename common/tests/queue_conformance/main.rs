//! What every queue must do, whatever it is made of. A backend is named at the end of this file and nowhere else.
//!
//! Each test has tenants of its own; where a backend is a server, also a place of its own, which is gone with the test.

mod rabbitmq;
mod suite;

use std::sync::Arc;

use fairhook_common::queue::Queue;
use fairhook_common::queue::memory::MemoryQueue;
use fairhook_common::queue::rabbit::QueueType;

/// Runs every test of the suite against the queue that `$open` gives.
macro_rules! conforms {
    ($backend:ident, $open:expr, [$($test:ident),+ $(,)?]) => {
        mod $backend {
            use super::*;

            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    let (queue, _home) = $open;
                    suite::$test(queue).await;
                }
            )+
        }
    };
}

/// The suite, for one backend.
macro_rules! backend {
    ($backend:ident, $open:expr) => {
        conforms!(
            $backend,
            $open,
            [
                it_answers_a_ping,
                messages_arrive_whole_and_in_order,
                what_was_published_together_arrives_whole_and_in_order_within_the_prefetch,
                nothing_of_what_was_published_together_is_lost_with_its_consumer,
                what_was_published_before_the_subscription_arrives,
                each_tenant_has_a_queue_of_its_own,
                no_more_than_the_prefetch_is_handed_out,
                a_larger_prefetch_hands_out_more_at_once,
                a_smaller_prefetch_takes_effect_as_messages_are_acked,
                a_dropped_receipt_brings_its_message_back_before_the_others,
                a_dropped_consumer_gives_back_what_it_held,
                an_ack_after_the_consumer_is_gone_does_no_harm,
                an_acked_message_never_comes_again,
                nothing_is_handed_out_after_an_unsubscribe,
                what_was_handed_out_may_be_acked_after_an_unsubscribe,
                a_consumer_may_subscribe_again,
                consumers_that_leave_while_messages_come_stall_nobody,
                consumers_share_a_queue_in_turn,
                a_full_consumer_leaves_messages_to_the_others,
                a_cancelled_next_loses_nothing,
                a_waiting_next_is_woken,
                a_deleted_queue_is_empty_and_deleting_it_again_is_fine,
                every_message_is_acked_once_among_many_consumers,
                the_depth_is_what_nobody_was_handed,
                a_mark_is_remembered_and_no_other,
                an_unrouted_consumer_waits_while_every_message_has_its_queue,
            ]
        );
    };
}

fn memory_queue() -> (Arc<dyn Queue>, ()) {
    (Arc::new(MemoryQueue::new()), ())
}

backend!(memory, memory_queue());
backend!(rabbitmq_classic, rabbitmq::open(QueueType::Classic).await);
backend!(rabbitmq_quorum, rabbitmq::open(QueueType::Quorum).await);
