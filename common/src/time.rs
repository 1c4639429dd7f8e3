//! Points in time as the store keeps them: milliseconds since the Unix epoch, UTC.

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Serialize, Serializer};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use utoipa::openapi::schema::{KnownFormat, Schema, SchemaFormat};
use utoipa::openapi::{ObjectBuilder, RefOr, Type};
use utoipa::{PartialSchema, ToSchema};

/// How far the store's clock is ahead of this machine's, in milliseconds.
static STORE_AHEAD: AtomicI64 = AtomicI64::new(0);

/// Milliseconds since the Unix epoch. Shown and read as RFC 3339 in UTC.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The latest time that RFC 3339 can spell (9999-12-31T23:59:59.999Z).
    pub const MAX: Self = Self(253_402_300_799_999);

    /// The time by the store's clock, which all processes over it share, as far as this one knows it.
    pub fn now() -> Self {
        Self(Self::local().0.saturating_add(STORE_AHEAD.load(Ordering::Relaxed)))
    }

    /// This machine's own wall clock: the one place that reads it. For what must not follow the store's clock.
    #[allow(clippy::disallowed_methods)]
    pub fn local() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(since.as_millis() as i64)
    }

    /// From now on [`Timestamp::now`] is so many milliseconds ahead of this machine's clock (behind it, if negative).
    pub fn follow_store(ahead_ms: i64) {
        STORE_AHEAD.store(ahead_ms, Ordering::Relaxed);
    }

    /// Whole seconds since the Unix epoch.
    pub fn unix_seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// `span` later.
    pub fn after(self, span: Duration) -> Self {
        let later = self.0.saturating_add(i64::try_from(span.as_millis()).unwrap_or(i64::MAX));
        Self(later.min(Self::MAX.0))
    }

    /// `span` earlier.
    pub fn before(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
    }

    /// How long after `earlier` this is; zero if it is not after it.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0).max(0) as u64)
    }

    /// Reads RFC 3339 with any offset; finer than a millisecond is cut off.
    pub fn parse(text: &str) -> Option<Self> {
        let at = OffsetDateTime::parse(text, &Rfc3339).ok()?;
        Some(Self((at.unix_timestamp_nanos().div_euclid(1_000_000)) as i64))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000_000)
            .unwrap_or(OffsetDateTime::UNIX_EPOCH);
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
            at.year(),
            u8::from(at.month()),
            at.day(),
            at.hour(),
            at.minute(),
            at.second(),
            at.millisecond()
        )
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl PartialSchema for Timestamp {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
            .description(Some("RFC 3339; shown in UTC with milliseconds, taken with any offset."))
            .examples(["2026-01-31T12:00:00.000Z"])
            .into()
    }
}

impl ToSchema for Timestamp {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_back_as_they_are_shown() {
        let at = Timestamp(1_649_367_553_123);
        assert_eq!(at.to_string(), "2022-04-07T21:39:13.123Z");
        assert_eq!(Timestamp::parse(&at.to_string()), Some(at));
        assert_eq!(Timestamp::parse("2022-04-07T23:39:13.1239+02:00"), Some(at));
        assert_eq!(Timestamp::parse("yesterday"), None);
        assert_eq!(Timestamp::MAX.to_string(), "9999-12-31T23:59:59.999Z");
    }
}
