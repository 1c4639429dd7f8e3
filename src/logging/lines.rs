//! Log lines on their way to whoever reads standard error. Nobody who logs waits for a reader that is slow or has stopped:
//! so many lines may wait, and what is beyond that is counted and told when there is room again.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use fairhook_common::limits;
use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

/// The target of the line that every attempt has: a receiver's failures alone could fill all the room.
const ATTEMPT: &str = "fairhook::attempt";

/// How often it is looked whether lines were left out, and whether everything has been said.
const LOOK: Duration = Duration::from_millis(200);

/// Where lines are handed in. Clones share it.
#[derive(Clone)]
pub struct Lines {
    sender: SyncSender<Vec<u8>>,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    /// Lines that wait.
    waiting: AtomicUsize,
    /// Lines that were left out, and of which nobody was told yet.
    left_out: AtomicU64,
}

/// Writes what waits, for [`limits::LOG_DRAIN`] at most, when it is dropped.
pub struct Written(Arc<Counts>);

impl Lines {
    /// Starts the thread that writes them to `out`, and tells how many were left out.
    pub fn start(
        out: impl Write + Send + 'static,
        tell: impl Fn(u64) + Send + 'static,
    ) -> io::Result<(Self, Written)> {
        let (sender, receiver) = sync_channel(limits::LOG_LINES_WAITING);
        let counts: Arc<Counts> = Arc::default();
        let written = counts.clone();
        thread::Builder::new().name("log".into()).spawn(move || write_all(&receiver, out, tell, &written))?;
        Ok((Self { sender, counts: counts.clone() }, Written(counts)))
    }

    /// Takes a line if fewer than `most` wait.
    fn offer(&self, line: &[u8], most: usize) {
        let waiting = self.counts.waiting.fetch_add(1, Ordering::AcqRel);
        if waiting >= most || self.sender.try_send(line.to_vec()).is_err() {
            self.counts.waiting.fetch_sub(1, Ordering::AcqRel);
            self.counts.left_out.fetch_add(1, Ordering::AcqRel);
        }
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        let mut rest = limits::LOG_DRAIN;
        while self.0.waiting.load(Ordering::Acquire) > 0 && !rest.is_zero() {
            let pause = Duration::from_millis(5).min(rest);
            thread::sleep(pause);
            rest -= pause;
        }
    }
}

/// One line: it is written in one call.
pub struct Line<'a> {
    lines: &'a Lines,
    /// It is taken if fewer wait; `None`: it does not wait.
    most: Option<usize>,
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { lines: self, most: Some(limits::LOG_LINES_WAITING) }
    }

    /// The lines of attempts leave room for all others. An error does not wait: the process may end with it.
    fn make_writer_for(&'a self, about: &Metadata<'_>) -> Line<'a> {
        match (about.target(), *about.level()) {
            (_, Level::ERROR) => Line { lines: self, most: None },
            (ATTEMPT, _) => Line { lines: self, most: Some(limits::LOG_LINES_WAITING / 2) },
            _ => self.make_writer(),
        }
    }
}

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match self.most {
            Some(most) => self.lines.offer(line, most),
            None => io::stderr().write_all(line)?,
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write_all(receiver: &Receiver<Vec<u8>>, mut out: impl Write, tell: impl Fn(u64), counts: &Counts) {
    loop {
        match receiver.recv_timeout(LOOK) {
            Ok(line) => {
                // Nobody is left to be told.
                let _ = out.write_all(&line);
                counts.waiting.fetch_sub(1, Ordering::AcqRel);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        if counts.waiting.load(Ordering::Acquire) < limits::LOG_LINES_WAITING / 4 {
            let lines = counts.left_out.swap(0, Ordering::AcqRel);
            if lines > 0 {
                tell(lines);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};

    use super::*;

    /// A reader of standard error that waits for a word before its first line.
    struct Gated {
        word: Option<Receiver<()>>,
        read: Sender<Vec<u8>>,
    }

    impl Write for Gated {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            if let Some(word) = self.word.take() {
                word.recv().expect("it comes");
            }
            self.read.send(line.to_vec()).expect("somebody listens");
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn nobody_waits_for_a_reader_that_has_stopped_and_what_is_left_out_is_told() {
        let ((go, word), (read, lines_read)) = (channel(), channel());
        let (told, telling) = channel();
        let out = Gated { word: Some(word), read };
        let (lines, written) =
            Lines::start(out, move |lines| told.send(lines).expect("somebody listens")).expect("a thread");
        let half = limits::LOG_LINES_WAITING / 2;
        let mut attempts = Line { lines: &lines, most: Some(half) };
        for _ in 0..half + 7 {
            attempts.write_all(b"attempt\n").expect("it never fails");
        }
        let mut others = lines.make_writer();
        for _ in 0..limits::LOG_LINES_WAITING {
            others.write_all(b"other\n").expect("it never fails");
        }
        go.send(()).expect("it waits");
        drop(written);
        let read: Vec<_> = lines_read.try_iter().collect();
        let count = |line: &[u8]| read.iter().filter(|read| read.as_slice() == line).count();
        assert_eq!((count(b"attempt\n"), count(b"other\n")), (half, half));
        let told: u64 =
            telling.recv_timeout(LOOK * 50).expect("it is told") + telling.try_iter().sum::<u64>();
        assert_eq!(told, 7 + half as u64);
        others.write_all(b"later\n").expect("it never fails");
        assert_eq!(lines_read.recv_timeout(LOOK * 50).expect("it is written"), b"later\n");
    }
}
