//! The channels that a consumer's subscriptions are spread over: an error ends all of a channel's consumers, so that each has
//! a few of them only; and a channel answers one question at a time, so that there are several from the start.

use std::collections::HashMap;
use std::sync::Arc;

use lapin::options::{BasicConsumeOptions, BasicQosOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, Connection};
use tokio::sync::{Mutex, OnceCell};

use crate::limits;

/// A channel to consume on. It is opened with its first consumer.
#[derive(Default)]
pub struct Lane {
    channel: OnceCell<Arc<Channel>>,
    /// What a new consumer of this channel gets, as far as it is known; whoever makes one holds it.
    prefetch: Mutex<Option<u16>>,
}

impl Lane {
    /// Makes a consumer.
    pub async fn consume(
        &self,
        connection: &Connection,
        queue: ShortString,
        tag: ShortString,
        prefetch: u16,
        arguments: FieldTable,
    ) -> lapin::Result<(Arc<Channel>, lapin::Consumer)> {
        let open = || async { connection.create_channel().await.map(Arc::new) };
        let channel = Arc::clone(self.channel.get_or_try_init(open).await?);
        let mut known = self.prefetch.lock().await;
        if *known != Some(prefetch) {
            // Not global: the next consumers of this channel get it, each for itself.
            *known = None;
            channel.basic_qos(prefetch, BasicQosOptions { global: false }).await?;
            *known = Some(prefetch);
        }
        let options = BasicConsumeOptions::default();
        let consumer = channel.basic_consume(queue, tag, options, arguments).await?;
        Ok((channel, consumer))
    }

    fn lives(&self) -> bool {
        self.channel.get().is_none_or(|channel| channel.status().connected())
    }
}

/// All of a consumer's lanes.
#[derive(Default)]
pub struct Lanes {
    lanes: HashMap<u64, Place>,
    numbers: u64,
}

#[derive(Default)]
struct Place {
    lane: Arc<Lane>,
    consumers: usize,
    /// For one that has ended a channel before.
    alone: bool,
}

impl Lanes {
    /// A lane with room for one more consumer, which is counted: the wanted one if it lives, or the one with the fewest but not
    /// the `shunned` one. `alone`: one that nobody else has.
    pub fn choose(&mut self, wanted: Option<u64>, shunned: Option<u64>, alone: bool) -> (u64, Arc<Lane>) {
        self.lanes.retain(|_, place| place.lane.lives());
        let known = if alone { None } else { wanted.filter(|wanted| self.lanes.contains_key(wanted)) };
        let number = match known.or_else(|| if alone { None } else { self.emptiest(shunned) }) {
            Some(number) => number,
            None if alone => self.open(true),
            None => (0..limits::AMQP_LANES_AT_ONCE).map(|_| self.open(false)).fold(0, u64::max),
        };
        let place = self.lanes.get_mut(&number).expect("it is there or was opened just now");
        place.consumers += 1;
        (number, Arc::clone(&place.lane))
    }

    /// One consumer fewer.
    pub fn leave(&mut self, number: u64) {
        if let Some(place) = self.lanes.get_mut(&number) {
            place.consumers = place.consumers.saturating_sub(1);
        }
        // A few are kept for who comes next. One that is not open any more closes with the last message that came over it.
        let few = self.lanes.len() <= limits::AMQP_LANES_AT_ONCE;
        self.lanes.retain(|_, place| place.consumers > 0 || (few && !place.alone));
    }

    /// Its consumer does no harm: others may come.
    pub fn trust(&mut self, number: u64) {
        if let Some(place) = self.lanes.get_mut(&number) {
            place.alone = false;
        }
    }

    /// It does not answer: its channel is closed, and whoever was on it has to go elsewhere.
    pub fn give_up(&mut self, number: u64) {
        let Some(Place { lane, .. }) = self.lanes.remove(&number) else { return };
        if let Some(channel) = lane.channel.get() {
            super::inbox::begin(channel.close(200, "no answer".into()));
        }
    }

    fn emptiest(&self, shunned: Option<u64>) -> Option<u64> {
        let has_room = |place: &Place| !place.alone && place.consumers < limits::AMQP_CONSUMERS_PER_CHANNEL;
        let roomy = self.lanes.iter().filter(|(number, place)| Some(**number) != shunned && has_room(place));
        roomy.min_by_key(|(number, place)| (place.consumers, **number)).map(|(number, _)| *number)
    }

    fn open(&mut self, alone: bool) -> u64 {
        self.numbers += 1;
        self.lanes.insert(self.numbers, Place { alone, ..Place::default() });
        self.numbers
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn consumers_are_spread_from_the_start_and_no_lane_has_too_many() {
        let mut lanes = Lanes::default();
        let first: HashSet<u64> =
            (0..limits::AMQP_LANES_AT_ONCE).map(|_| lanes.choose(None, None, false).0).collect();
        assert_eq!(first.len(), limits::AMQP_LANES_AT_ONCE);
        for _ in 0..2_000 {
            lanes.choose(None, None, false);
        }
        assert!(lanes.lanes.values().all(|place| place.consumers <= limits::AMQP_CONSUMERS_PER_CHANNEL));
        assert!(lanes.lanes.len() < 2 * (2_000 / limits::AMQP_CONSUMERS_PER_CHANNEL));
    }

    #[test]
    fn who_comes_again_stays_where_it_was_unless_that_was_given_up() {
        let mut lanes = Lanes::default();
        let (number, _) = lanes.choose(None, None, false);
        assert_eq!(lanes.choose(Some(number), None, false).0, number);
        lanes.give_up(number);
        assert_ne!(lanes.choose(Some(number), None, false).0, number);
    }

    #[test]
    fn who_shuns_a_lane_gets_another_though_it_has_the_fewest() {
        let mut lanes = Lanes::default();
        let (number, _) = lanes.choose(None, None, false);
        lanes.leave(number);
        for _ in 0..3 * limits::AMQP_LANES_AT_ONCE {
            assert_ne!(lanes.choose(None, Some(number), false).0, number);
        }
    }

    #[test]
    fn who_has_ended_a_channel_gets_one_alone_which_goes_with_it() {
        let mut lanes = Lanes::default();
        let (shared, _) = lanes.choose(None, None, false);
        let (alone, _) = lanes.choose(Some(shared), None, true);
        assert_ne!(alone, shared);
        let others: HashSet<u64> = (0..50).map(|_| lanes.choose(None, None, false).0).collect();
        assert!(!others.contains(&alone));
        lanes.leave(alone);
        assert!(!lanes.lanes.contains_key(&alone));
        let (trusted, _) = lanes.choose(None, None, true);
        lanes.trust(trusted);
        assert_eq!(lanes.choose(None, None, false).0, trusted, "it has the fewest");
    }
}
