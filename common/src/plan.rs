//! Plans: what tenants may use, and how they weigh, where nothing of their own is set. They are data: three come with the
//! schema, and an operator changes them and adds others. None is ever deleted, for tenants refer to them.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use crate::described::described_as_text;
use crate::policy::{PolicyRate, WindowLength};
use crate::slug::check_slug;
use crate::tenant::{QuotaChanges, QuotaLimits};
use crate::time::Timestamp;

/// The name of a plan: a slug. `free` and `pro` are read as `starter` and `professional`, so that no plan has these names.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct PlanName(Cow<'static, str>);

impl PlanName {
    /// The plan of a tenant for which none is named.
    pub const STARTER: Self = Self(Cow::Borrowed("starter"));
    /// Comes with the schema.
    pub const PROFESSIONAL: Self = Self(Cow::Borrowed("professional"));
    /// Comes with the schema.
    pub const ENTERPRISE: Self = Self(Cow::Borrowed("enterprise"));

    /// It.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for PlanName {
    fn default() -> Self {
        Self::STARTER
    }
}

impl FromStr for PlanName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "free" => Ok(Self::STARTER),
            "pro" => Ok(Self::PROFESSIONAL),
            _ => check_slug(text).map(|()| Self(Cow::Owned(text.to_owned()))),
        }
    }
}

described_as_text!(
    PlanName,
    "The name of a plan. `free` and `pro` are read as `starter` and `professional`.",
    "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$",
    "professional"
);

impl fmt::Display for PlanName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A plan as the store keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Its name.
    pub name: PlanName,
    /// The share of dispatch time, relative to other tenants.
    pub weight: u32,
    /// What it allows.
    pub limits: QuotaLimits,
    /// Calls, but for events, of a tenant from one address.
    pub tier: PolicyRate,
    /// When it was made or last changed.
    pub changed_at: Timestamp,
}

/// What changes of a plan; `None`: stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PlanChanges {
    /// See [`Plan::weight`].
    pub weight: Option<u32>,
    /// See [`Plan::limits`].
    pub limits: QuotaChanges,
    /// How many calls, see [`Plan::tier`].
    pub tier_limit: Option<u32>,
    /// In which time.
    pub tier_window: Option<WindowLength>,
}

impl PlanChanges {
    /// `plan` with these changes made.
    pub fn over(&self, plan: &Plan) -> Plan {
        Plan {
            name: plan.name.clone(),
            weight: self.weight.unwrap_or(plan.weight),
            limits: self.limits.over(plan.limits),
            tier: PolicyRate {
                limit: self.tier_limit.unwrap_or(plan.tier.limit),
                window: self.tier_window.unwrap_or(plan.tier.window),
            },
            changed_at: plan.changed_at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_named_by_a_slug_or_an_alias() {
        for (text, name) in [
            ("starter", PlanName::STARTER),
            ("free", PlanName::STARTER),
            ("pro", PlanName::PROFESSIONAL),
            ("enterprise", PlanName::ENTERPRISE),
        ] {
            assert_eq!(text.parse(), Ok(name), "{text}");
        }
        let own: PlanName = "gold-2".parse().expect("a name");
        assert_eq!(
            (own.as_str(), serde_json::to_string(&own).expect("JSON")),
            ("gold-2", "\"gold-2\"".into())
        );
        for bad in ["", "Pro", "a b", "-a", "00000000-0000-7000-8000-000000000000", &"a".repeat(64)] {
            assert!(bad.parse::<PlanName>().is_err(), "{bad}");
        }
    }
}
