//! How long things take.

use std::time::Duration;

/// Between two looks at something that is waited for.
pub const LOOK: Duration = Duration::from_millis(20);
/// How long what was posted may take to arrive once the load has ended; what has not by then is lost.
pub const DRAIN: Duration = Duration::from_secs(60);
/// Longer than any load.
pub const FOR_EVER: Duration = Duration::from_secs(24 * 3600);
/// How long a bad tenant's events may take to be delivered, or put aside, before the load.
pub const SETTLE: Duration = Duration::from_secs(180);
/// What waits has settled when it has not shrunk for so long: longer than the engine takes to tell of it.
pub const SETTLED: Duration = Duration::from_secs(3);
