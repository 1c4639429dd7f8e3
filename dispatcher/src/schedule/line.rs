//! What waits at one endpoint, by lane, in the order of arrival.

use std::collections::VecDeque;

use fairhook_common::delivery::Lane;

use super::Waiting;

/// The lines at one endpoint. Every delivery has a number; numbers rise with arrival, over all endpoints.
#[derive(Debug)]
pub(super) struct Line<T> {
    lanes: [VecDeque<(u64, Waiting<T>)>; Lane::ALL.len()],
}

impl<T> Line<T> {
    pub fn new() -> Self {
        Self { lanes: Default::default() }
    }

    pub fn push(&mut self, number: u64, waiting: Waiting<T>) {
        self.lanes[waiting.lane as usize].push_back((number, waiting));
    }

    /// The number of the oldest in a lane.
    pub fn head(&self, lane: usize) -> Option<u64> {
        self.lanes[lane].front().map(|(number, _)| *number)
    }

    /// What arrived first in each lane.
    pub fn heads(&self) -> impl Iterator<Item = &T> {
        self.lanes.iter().filter_map(|lane| lane.front().map(|(_, waiting)| &waiting.item))
    }

    pub fn pop(&mut self, lane: usize) -> Option<Waiting<T>> {
        self.lanes[lane].pop_front().map(|(_, waiting)| waiting)
    }

    /// Takes out the one that arrived last.
    pub fn pop_newest(&mut self) -> Option<Waiting<T>> {
        let newest = |lane: &VecDeque<(u64, Waiting<T>)>| lane.back().map(|(number, _)| *number);
        let lane = self.lanes.iter_mut().max_by_key(|lane| newest(lane))?;
        lane.pop_back().map(|(_, waiting)| waiting)
    }

    /// Takes out, from the front of each lane, what is overdue.
    pub fn take_overdue(&mut self, overdue: &impl Fn(&T) -> bool) -> Vec<Waiting<T>> {
        let mut taken = Vec::new();
        for lane in &mut self.lanes {
            while lane.front().is_some_and(|(_, waiting)| overdue(&waiting.item)) {
                taken.extend(lane.pop_front().map(|(_, waiting)| waiting));
            }
        }
        taken
    }

    pub fn len(&self) -> u32 {
        self.lanes.iter().map(|lane| lane.len() as u32).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.lanes.iter().all(VecDeque::is_empty)
    }

    pub fn drain(&mut self) -> impl Iterator<Item = Waiting<T>> {
        self.lanes.iter_mut().flat_map(|lane| lane.drain(..).map(|(_, waiting)| waiting))
    }
}
