//! A kind of bad neighbour, as data: how it is set up, what its receivers do, and what it does itself. [`super::kinds`] has
//! them all; [`super::neighbours`] plays them.

/// A way for some tenants to be a burden.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    /// Its name on the command line and in the table.
    pub name: &'static str,
    /// What happens, in a few words.
    pub about: &'static str,
    /// How many are bad.
    pub crowd: Crowd,
    /// Who is measured.
    pub felt_by: FeltBy,
    /// What each bad tenant is allowed.
    pub allowance: Allowance,
    /// How many endpoints each bad tenant has, every one for all that it does here.
    pub endpoints: usize,
    /// Where these are.
    pub host: Host,
    /// Their `timeout_ms`.
    pub timeout_ms: u32,
    /// What is there before the load begins.
    pub before: &'static [Step],
    /// What goes on beside the load.
    pub beside: &'static [Act],
}

/// How many bad tenants there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crowd {
    /// As many as the command line says.
    Told,
    /// So many that together they may hold four times the slots.
    Coalition,
}

/// Who is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeltBy {
    /// The good tenants; the bad ones are others.
    Others,
    /// The tenants that are bad themselves: what they do to their other endpoint, or to their live events.
    Itself,
}

/// What a tenant is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// `max_events_per_sec`; the burst is ten times that.
    pub events_per_s: u32,
    /// `max_concurrent_deliveries`.
    pub concurrent: u32,
    /// `max_backlog`.
    pub backlog: u32,
    /// `max_endpoints`.
    pub endpoints: u32,
}

/// What somebody has who pays nothing.
pub const STARTER: Allowance =
    Allowance { events_per_s: 100, concurrent: 50, backlog: 100_000, endpoints: 50 };
/// For what is piled up before the load: no quota is what is measured there.
pub const GENEROUS: Allowance = Allowance { events_per_s: 1_000_000, backlog: 10_000_000, ..STARTER };

/// Where the endpoints of a bad tenant are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Host {
    /// A receiver of their own that does this.
    Own(Conduct),
    /// The same, but `https`.
    Tls(Conduct),
    /// A path that never answers, at the very host and port of the good tenants' receivers.
    Shared,
    /// A port at which nobody listens.
    Refusing,
    /// A name whose name server never answers.
    SilentName,
    /// A name that does not exist.
    NoSuchName,
}

/// What a receiver does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conduct {
    /// Answers at once with this status and these further header lines.
    Answer(&'static str, &'static str),
    /// Never answers.
    Hang,
    /// Answers 200 and a body of which a byte comes each second.
    Drip,
    /// Answers 200 and a body that never ends, as fast as it is read.
    EndlessBody,
    /// Answers 200 and headers that never end, as fast as they are read.
    EndlessHead,
}

/// What happens before the load, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The bad tenant's deliveries are held.
    Pause,
    /// So many events are posted, in batches; a hundredth of it with `--quick`.
    Fill(usize),
    /// What waits does not shrink any more: it was delivered, or put aside because its endpoint has no room.
    Settle,
}

/// What goes on beside the load until it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Each bad tenant posts so many events a second, each of so many bytes, whatever the answers are.
    Post {
        /// Events a second.
        per_second: u32,
        /// A payload's bytes.
        bytes: usize,
    },
    /// What was held may go.
    Resume,
    /// Everything that was delivered before the load is replayed, again and again.
    Replay,
    /// So many clients of each bad tenant read lists, each as fast as it is answered.
    Scan(usize),
    /// So many clients of each bad tenant change its configuration, each as fast as it is answered.
    Churn(usize),
    /// No tenant does anything, but another program takes so many hundredths of a processor.
    Stranger(u32),
}

impl Kind {
    /// Whether one FIFO queue over one worker pool can be given the same load: it knows events and URLs, and no API.
    pub fn fits_fifo(&self) -> bool {
        let named = matches!(self.host, Host::SilentName | Host::NoSuchName);
        let posts = self.beside.iter().all(|act| matches!(act, Act::Post { .. } | Act::Resume));
        self.felt_by == FeltBy::Others && !named && posts
    }
}
