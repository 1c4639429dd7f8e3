//! What receivers counted, as figures.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::black_box::Receiver;

/// When each request began, when it ended, and which event it was. All receivers of a tally must take each event once.
pub struct Tally {
    requests: Vec<(Instant, Option<Instant>, String)>,
}

impl Tally {
    /// What arrived so far at these.
    pub fn of<'a>(receivers: impl IntoIterator<Item = &'a Receiver>) -> Self {
        let arrivals = receivers.into_iter().enumerate().flat_map(|(number, receiver)| {
            let id = move |name: &str| format!("{number} {name}");
            receiver
                .arrivals()
                .into_iter()
                .map(move |arrival| (arrival.at, arrival.ended, id(arrival.header("webhook-id"))))
        });
        Self { requests: arrivals.collect() }
    }

    /// Requests.
    pub fn len(&self) -> usize {
        self.requests.len()
    }

    /// Requests beyond each event's first.
    pub fn repeated(&self) -> usize {
        let mut times = HashMap::<&str, usize>::new();
        for (_, _, id) in &self.requests {
            *times.entry(id).or_default() += 1;
        }
        times.values().map(|times| times - 1).sum()
    }

    /// The most requests that were under way at one moment, from `since` on.
    pub fn most_at_once(&self, since: Instant) -> usize {
        let mut steps: Vec<(Instant, i32)> = Vec::new();
        for (began, ended, _) in &self.requests {
            if ended.is_none_or(|ended| ended > since) {
                steps.push(((*began).max(since), 1));
                steps.extend(ended.map(|ended| (ended, -1)));
            }
        }
        // An end and a beginning at the same moment were not at once.
        steps.sort();
        let (mut now, mut most) = (0, 0);
        for (_, step) in steps {
            now += step;
            most = most.max(now);
        }
        usize::try_from(most).expect("as many begin as end")
    }

    /// What somebody who dies at `moment` may have had in flight: under way at the receiver then, or answered so shortly
    /// before that the outcome need not have been recorded.
    pub fn in_flight_at(&self, moment: Instant, recording: Duration) -> usize {
        let open = |ended: &Option<Instant>| ended.is_none_or(|ended| ended + recording >= moment);
        self.requests.iter().filter(|(began, ended, _)| *began <= moment && open(ended)).count()
    }

    /// Requests that began from `since` on.
    pub fn since(&self, since: Instant) -> usize {
        self.requests.iter().filter(|(began, ..)| *began >= since).count()
    }
}

#[test]
fn requests_are_counted_as_they_overlapped() {
    let origin = Instant::now();
    let at = |ms: u64| origin + Duration::from_millis(ms);
    let request = |began, ended: Option<u64>, id: &str| (at(began), ended.map(at), id.to_owned());
    let requests = vec![
        request(0, Some(10), "a"),
        request(5, Some(20), "b"),
        request(10, None, "c"),
        request(30, Some(40), "a"),
    ];
    let tally = Tally { requests };
    assert_eq!((tally.len(), tally.repeated()), (4, 1));
    assert_eq!(tally.most_at_once(at(0)), 2, "a ends as c begins");
    assert_eq!(tally.most_at_once(at(45)), 1, "only c is left");
    assert_eq!(
        tally.in_flight_at(at(22), Duration::from_millis(5)),
        2,
        "c, and b which ended shortly before"
    );
    assert_eq!(tally.since(at(10)), 2);
}
