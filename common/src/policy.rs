//! Policies: what may be asked of the API, how often, by whom. Their names, and rates as texts.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::described::described_as_text;
use crate::time::Timestamp;

/// The shortest window of a rate that somebody sets.
pub const WINDOW_MIN: Duration = Duration::from_secs(1);
/// The longest.
pub const WINDOW_MAX: Duration = Duration::from_secs(24 * 3600);

/// What is limited. The names are part of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// Events of a tenant, as its quota says.
    Events,
    /// Events of a tenant per day; off unless it is configured.
    EventsPerDay,
    /// Bytes of requests that send events, of a tenant per minute; off unless it is configured.
    BytesPerMinute,
    /// All other calls of a tenant from one address, as its plan says.
    Tier,
    /// All other calls of a tenant.
    ApiRequests,
    /// Requests of an address without a valid key.
    Anonymous,
    /// Invalid keys of an address.
    AuthFailures,
    /// What comes in at one source.
    SourceIngest,
    /// For an operator's own forms, of an address.
    PublicForm,
}

impl Policy {
    /// Every one.
    pub const ALL: &'static [Self] = &[
        Self::Events,
        Self::EventsPerDay,
        Self::BytesPerMinute,
        Self::Tier,
        Self::ApiRequests,
        Self::Anonymous,
        Self::AuthFailures,
        Self::SourceIngest,
        Self::PublicForm,
    ];

    /// Those of which a tenant may have another rate for good. Of its events per second, its quota says it.
    pub const OWN: &'static [Self] =
        &[Self::EventsPerDay, Self::BytesPerMinute, Self::Tier, Self::ApiRequests];

    /// The name in paths, headers, settings and the store.
    pub fn name(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::EventsPerDay => "events_per_day",
            Self::BytesPerMinute => "bytes_per_minute",
            Self::Tier => "tier",
            Self::ApiRequests => "api_requests",
            Self::Anonymous => "anonymous",
            Self::AuthFailures => "auth_failures",
            Self::SourceIngest => "source_ingest",
            Self::PublicForm => "public_form",
        }
    }

    /// Reads a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|policy| policy.name() == name)
    }

    /// Whether it is a tenant's, so that a tenant may have another rate for a while.
    pub fn is_a_tenants(self) -> bool {
        self == Self::Events || Self::OWN.contains(&self)
    }
}

/// Something of each policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PerPolicy<T>([T; Policy::ALL.len()]);

impl<T: Copy> PerPolicy<T> {
    /// What `of` says of each.
    pub fn from_fn(of: impl Fn(Policy) -> T) -> Self {
        Self(std::array::from_fn(|n| of(Policy::ALL[n])))
    }

    /// That of one.
    pub fn of(&self, policy: Policy) -> T {
        self.0[policy as usize]
    }

    /// Sets that of one.
    pub fn set(&mut self, policy: Policy, value: T) {
        self.0[policy as usize] = value;
    }
}

/// Rates that a tenant has for good in place of those of its plan and of the settings. As JSON an object of those that there are.
pub type OwnRates = PerPolicy<Option<PolicyRate>>;

impl OwnRates {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }
}

impl Serialize for OwnRates {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(Policy::ALL.iter().filter_map(|policy| Some((policy, self.of(*policy)?))))
    }
}

impl<'de> Deserialize<'de> for OwnRates {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let rates = BTreeMap::<Policy, PolicyRate>::deserialize(deserializer)?;
        Ok(Self::from_fn(|policy| rates.get(&policy).copied()))
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A length of time as people write it: `10 s`, `500ms`, `15 min`, `1h`, `1 d`. Between [`WINDOW_MIN`] and [`WINDOW_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct WindowLength(Duration);

/// Why a text is no length of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadWindow {
    /// Not a whole number and a unit.
    #[error("a window is a whole number and one of ms, s, m, min, h, d, like \"10 s\"")]
    Unreadable,
    /// Too short or too long.
    #[error("a window is between 1 s and 24 h")]
    OutOfRange,
}

impl WindowLength {
    /// `length`, if it is within bounds and of whole milliseconds.
    pub fn new(length: Duration) -> Result<Self, BadWindow> {
        let whole = length.subsec_nanos().is_multiple_of(1_000_000);
        if whole && (WINDOW_MIN..=WINDOW_MAX).contains(&length) {
            Ok(Self(length))
        } else {
            Err(BadWindow::OutOfRange)
        }
    }

    /// It.
    pub fn length(self) -> Duration {
        self.0
    }

    /// The same in milliseconds, as the store keeps it.
    pub(crate) fn milliseconds(self) -> i64 {
        i64::try_from(self.0.as_millis()).expect("at most WINDOW_MAX")
    }
}

impl FromStr for WindowLength {
    type Err = BadWindow;

    fn from_str(text: &str) -> Result<Self, BadWindow> {
        let text = text.trim();
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let unit_ms: u64 = match unit.trim_start() {
            "ms" => 1,
            "s" => 1_000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(BadWindow::Unreadable),
        };
        if number.is_empty() {
            return Err(BadWindow::Unreadable);
        }
        // Digits that do not fit are a number that is too large.
        let number: u64 = number.parse().map_err(|_| BadWindow::OutOfRange)?;
        Self::new(Duration::from_millis(number.checked_mul(unit_ms).ok_or(BadWindow::OutOfRange)?))
    }
}

impl fmt::Display for WindowLength {
    /// In the largest unit that leaves a whole number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.as_millis();
        let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s"), (1, "ms")];
        let (unit, name) = units.into_iter().find(|(unit, _)| ms.is_multiple_of(*unit)).unwrap_or((1, "ms"));
        write!(f, "{} {name}", ms / unit)
    }
}

impl From<WindowLength> for String {
    fn from(window: WindowLength) -> Self {
        window.to_string()
    }
}

impl TryFrom<String> for WindowLength {
    type Error = BadWindow;

    fn try_from(text: String) -> Result<Self, BadWindow> {
        text.parse()
    }
}

described_as_text!(
    WindowLength,
    "A length of time between 1 s and 24 h: a whole number and one of `ms`, `s`, `m`, `min`, `h`, `d`.",
    "^[0-9]{1,8} ?(ms|s|m|min|h|d)$",
    "10 s"
);

/// So many in a window: `50 / 10 s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PolicyRate {
    /// How many.
    pub limit: u32,
    /// In which time.
    pub window: WindowLength,
}

/// Why a text is no rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadRate {
    /// Not a number, a stroke and a window.
    #[error("a rate is a number above zero, `/`, and a window, like \"50 / 10 s\"")]
    Unreadable,
    /// Its window is none.
    #[error(transparent)]
    Window(#[from] BadWindow),
}

impl FromStr for PolicyRate {
    type Err = BadRate;

    fn from_str(text: &str) -> Result<Self, BadRate> {
        let (limit, window) = text.split_once('/').ok_or(BadRate::Unreadable)?;
        let limit = limit.trim().parse().ok().filter(|limit| *limit > 0).ok_or(BadRate::Unreadable)?;
        Ok(Self { limit, window: window.parse()? })
    }
}

impl fmt::Display for PolicyRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} / {}", self.limit, self.window)
    }
}

/// A rate that a tenant has for a while in place of the one that a policy of its own has otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Override {
    /// Of what.
    pub policy: Policy,
    /// The rate.
    pub rate: PolicyRate,
    /// When it was set.
    pub created_at: Timestamp,
    /// From when on it counts no more.
    pub ends_at: Timestamp,
}

/// Where the rate of a policy comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Configured {
    /// It limits nobody.
    Off,
    /// The tenant's quota or plan.
    Tenants,
    /// The same for all.
    Rate(PolicyRate),
}

/// What is configured of each policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PolicyRates(PerPolicy<Configured>);

/// Why a text is no list of rates.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRates {
    /// Not a name, `=`, and a rate.
    #[error("`{0}` is not a policy's name, `=`, and a rate or `off`")]
    Unreadable(String),
    /// No policy that is set here.
    #[error(
        "`{0}` is no policy that is set here: {all}; `tier` may only be `off`, for plans say the rest",
        all = "api_requests, anonymous, auth_failures, source_ingest, public_form, events_per_day, bytes_per_minute"
    )]
    Unknown(String),
    /// Its rate is none.
    #[error("`{0}`: {1}")]
    Rate(String, BadRate),
}

impl Default for PolicyRates {
    fn default() -> Self {
        let rate = |limit, seconds| {
            Configured::Rate(PolicyRate { limit, window: WindowLength(Duration::from_secs(seconds)) })
        };
        let of = |policy| match policy {
            Policy::Events | Policy::Tier => Configured::Tenants,
            Policy::EventsPerDay | Policy::BytesPerMinute => Configured::Off,
            Policy::ApiRequests => rate(1_000, 60),
            Policy::Anonymous => rate(10, 10),
            Policy::AuthFailures => rate(10, 15 * 60),
            Policy::SourceIngest => rate(100, 60),
            Policy::PublicForm => rate(5, 3_600),
        };
        Self(PerPolicy::from_fn(of))
    }
}

impl PolicyRates {
    /// What is configured of one.
    pub fn of(&self, policy: Policy) -> Configured {
        self.0.of(policy)
    }

    /// Those that limit somebody.
    pub fn active(&self) -> impl Iterator<Item = Policy> {
        Policy::ALL.iter().copied().filter(|policy| self.of(*policy) != Configured::Off)
    }
}

/// `name=rate` or `name=off`, separated by commas; what is not named keeps its default.
impl FromStr for PolicyRates {
    type Err = BadRates;

    fn from_str(text: &str) -> Result<Self, BadRates> {
        let mut rates = Self::default();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (name, rate) = part.split_once('=').ok_or_else(|| BadRates::Unreadable(part.to_owned()))?;
            let named = Policy::from_name(name.trim());
            let off = rate.trim() == "off";
            let settable =
                named.filter(|policy| *policy != Policy::Events && (off || *policy != Policy::Tier));
            let policy = settable.ok_or_else(|| BadRates::Unknown(name.trim().to_owned()))?;
            let read = |error| BadRates::Rate(part.to_owned(), error);
            let rate = if off { Configured::Off } else { Configured::Rate(rate.parse().map_err(read)?) };
            rates.0.set(policy, rate);
        }
        Ok(rates)
    }
}

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
