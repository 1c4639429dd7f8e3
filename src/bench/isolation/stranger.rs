//! A program that has nothing to do with the engine and wants a part of a processor. What is felt of it is what a machine of two
//! cores lets through: no engine can keep it away.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{io, thread};

/// How long it works at a time.
const BURST: Duration = Duration::from_micros(500);
/// How far behind what it wants it may fall: it does not make up for a minute in which it had no processor.
const BEHIND: u32 = 20;

/// The program, a thread of ordinary priority. It ends when this is dropped.
pub struct Stranger(Arc<AtomicBool>);

impl Stranger {
    /// Starts it; of each second it wants `percent` hundredths of a processor.
    pub fn start(percent: u32) -> io::Result<Self> {
        let ended = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&ended);
        thread::Builder::new().name("stranger".into()).spawn(move || work(percent, &told))?;
        Ok(Self(ended))
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn work(percent: u32, ended: &AtomicBool) {
    let (rounds, pace) = (rounds_in(BURST), BURST * 100 / percent.max(1));
    let mut due = Instant::now();
    while !ended.load(Ordering::Relaxed) {
        spin(rounds);
        let now = Instant::now();
        due = (due + pace).max(now.checked_sub(pace * BEHIND).unwrap_or(now));
        thread::sleep(due.saturating_duration_since(now));
    }
}

/// How much work that is: a number of rounds, for the time on the clock is others' too. The most of a few tries, in case somebody
/// else had the processor.
fn rounds_in(time: Duration) -> u64 {
    const ROUNDS: u64 = 10_000;
    let tries = (0..20).map(|_| {
        let began = Instant::now();
        spin(ROUNDS);
        began.elapsed().as_nanos().max(1)
    });
    let least = tries.min().unwrap_or(1);
    (u128::from(ROUNDS) * time.as_nanos() / least).try_into().unwrap_or(ROUNDS)
}

fn spin(rounds: u64) {
    for round in 0..black_box(rounds) {
        black_box(round);
    }
}
