//! The table of `fairhook top` and what it means: pure text. It names who uses more than its share, what that one holds, who
//! is hurt by it, and what to do.

use clap::{Arg, ArgAction, Command};
use fairhook_common::activity::HeldBack;
use serde::Deserialize;
use serde_json::Value;

use crate::demo::span;

/// Rows and conditions that fit on a screen.
const ROWS: usize = 20;
/// Conditions that are listed beside the culprit's.
const CONDITIONS: usize = 8;
/// The argument that asks for one table.
pub const ONCE: &str = "once";

/// The command without the settings of an installation.
pub fn command() -> Command {
    Command::new("top")
        .about("Show the tenants of a running installation: who uses more than its share, who is hurt, what to do")
        .arg(Arg::new(ONCE).long(ONCE).action(ArgAction::SetTrue).help("Print one table and end"))
}

/// What `GET /v1/top` answers, as far as it is shown.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Top {
    slots: u64,
    slots_used: f64,
    active_tenants: u64,
    tenants: Vec<Row>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Row {
    tenant: String,
    dispatch: String,
    events_per_s: f64,
    throttled_per_s: f64,
    deliveries_per_s: f64,
    attempts_per_s: f64,
    error_rate: f64,
    in_flight: u64,
    waiting: u64,
    oldest_age_s: f64,
    slot_seconds_per_s: f64,
    slot_share: f64,
    fair_share: f64,
    loudness: f64,
    dispatch_delay_ms: Option<f64>,
    dead_letters: u64,
    circuits_open: u64,
    held_back: Option<HeldBack>,
    hurt: bool,
    conditions: Vec<Condition>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Condition {
    condition: String,
    detail: String,
}

impl Top {
    /// Reads an answer; what is not there counts as nothing.
    pub fn read(answer: &Value) -> Self {
        Self::deserialize(answer).unwrap_or_default()
    }

    /// Who uses more than its share now, or has done so for a while; the loudest first.
    fn culprits(&self) -> Vec<&Row> {
        let mut culprits: Vec<_> = self.tenants.iter().filter(|row| row.is_culprit()).collect();
        culprits.sort_by(|a, b| b.loudness.total_cmp(&a.loudness));
        culprits
    }
}

impl Row {
    fn is_culprit(&self) -> bool {
        self.loudness > 1.0 || self.conditions.iter().any(|held| held.condition == "tenant.noisy")
    }

    fn is_paused(&self) -> bool {
        self.dispatch == "paused"
    }

    /// Why it does not go on, or what is the matter.
    fn remark(&self) -> String {
        let paused = self.is_paused().then(|| "paused".to_owned());
        let held = self.held_back.map(|why| why.text().to_owned());
        let circuits = (self.circuits_open > 0).then(|| format!("{} circuits open", self.circuits_open));
        let throttled =
            (self.throttled_per_s >= 0.1).then(|| format!("{:.1} refused/s", self.throttled_per_s));
        let remarks = [paused, held, circuits, throttled];
        remarks.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

/// The table with its meaning; every line ends with a line feed.
pub fn render(url: &str, top: &Top) -> String {
    let mut text = format!(
        "{url}: {:.1} of {} slots in use, {} tenants active\n  {:<20} {:>8} {:>8} {:>7} {:>9} {:>8} {:>9} {:>6} {:>6} {:>6} {:>9} {:>5}  {}\n",
        top.slots_used,
        top.slots,
        top.active_tenants,
        "tenant",
        "events/s",
        "deliv./s",
        "errors",
        "in flight",
        "waiting",
        "oldest",
        "slots",
        "share",
        "fair",
        "delay",
        "dead",
        "held back"
    );
    for row in top.tenants.iter().take(ROWS) {
        let errors = if row.attempts_per_s > 0.0 { percent(row.error_rate) } else { "–".into() };
        let oldest = if row.waiting > 0 { span(row.oldest_age_s * 1_000.0) } else { "–".into() };
        text.push_str(&format!(
            "  {:<20} {:>8.1} {:>8.1} {:>7} {:>9} {:>8} {:>9} {:>6.1} {:>6} {:>6} {:>9} {:>5}  {}\n",
            shortened(&row.tenant),
            row.events_per_s,
            row.deliveries_per_s,
            errors,
            row.in_flight,
            row.waiting,
            oldest,
            row.slot_seconds_per_s,
            percent(row.slot_share),
            percent(row.fair_share),
            row.dispatch_delay_ms.map_or_else(|| "–".into(), span),
            row.dead_letters,
            row.remark()
        ));
    }
    if top.tenants.len() > ROWS {
        text.push_str(&format!("  … and {} more\n", top.tenants.len() - ROWS));
    }
    text.push('\n');
    text.push_str(&meaning(top));
    text
}

/// Who, what, whom, and what to do.
fn meaning(top: &Top) -> String {
    let culprits = top.culprits();
    let hurt: Vec<_> = top.tenants.iter().filter(|row| row.hurt && !row.is_culprit()).collect();
    let mut text = String::new();
    for row in culprits.iter().take(CONDITIONS) {
        let (slug, used, fair) = (&row.tenant, percent(row.slot_share), percent(row.fair_share));
        text.push_str(&format!(
            "CULPRIT  {slug}: uses {used} of the slot time in use, its fair share is {fair}; it holds {} slots, {} deliveries wait\n",
            row.in_flight, row.waiting
        ));
        match row.is_paused() {
            true => text
                .push_str(&format!("REMEDY   it is paused; to let it go: fairhook tenant resume {slug}\n")),
            false if hurt.is_empty() => text.push_str(&format!(
                "REMEDY   none is needed while nobody is hurt; to pause it: fairhook tenant pause {slug}\n"
            )),
            false => text.push_str(&format!("REMEDY   fairhook tenant pause {slug}\n")),
        }
    }
    if culprits.is_empty() {
        text.push_str("Nobody uses more than its share.\n");
    }
    for row in hurt.iter().take(CONDITIONS) {
        let why = row.held_back.map_or("waits for its turn", HeldBack::text);
        let delay =
            row.dispatch_delay_ms.map_or(String::new(), |ms| format!(", {} from post to attempt", span(ms)));
        text.push_str(&format!("HURT     {}: {} deliveries wait, {why}{delay}\n", row.tenant, row.waiting));
    }
    if hurt.is_empty() && !culprits.is_empty() {
        text.push_str("Nobody else is hurt: no tenant waits because of another.\n");
    }
    let others = top.tenants.iter().flat_map(|row| &row.conditions);
    for held in others.filter(|held| held.condition != "tenant.noisy").take(CONDITIONS) {
        text.push_str(&format!("ALSO     {}\n", held.detail));
    }
    text
}

fn percent(part: f64) -> String {
    format!("{:.0} %", part * 100.0)
}

fn shortened(slug: &str) -> String {
    match slug.char_indices().nth(20) {
        Some(_) => slug.chars().take(19).chain(['…']).collect(),
        None => slug.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn top(bad: Value) -> Top {
        let mut row = json!({
            "tenant": "bad", "dispatch": "open", "in_flight": 25, "waiting": 1_340, "oldest_age_s": 40.2,
            "slot_seconds_per_s": 24.8, "slot_share": 0.97, "fair_share": 0.25, "loudness": 2.6,
            "held_back": "endpoints_full",
            "conditions": [{"condition": "tenant.noisy", "detail": "bad uses 97 %"}],
        });
        for (name, value) in bad.as_object().expect("an object") {
            row[name] = value.clone();
        }
        let good = json!({
            "tenant": "good", "attempts_per_s": 10.0, "error_rate": 0.0, "dispatch_delay_ms": 3.1,
            "conditions": [{"condition": "dlq.warning", "detail": "good has 60 dead letters"}],
        });
        Top::read(&json!({"slots": 2_000, "slots_used": 25.5, "active_tenants": 2, "tenants": [row, good]}))
    }

    #[test]
    fn it_names_who_what_whom_and_the_remedy() {
        let text = render("http://x", &top(json!({})));
        for part in [
            "25.5 of 2000 slots in use",
            "endpoint busy",
            "CULPRIT  bad: uses 97 % of the slot time in use, its fair share is 25 %; it holds 25 slots, 1340 deliveries wait",
            "REMEDY   none is needed while nobody is hurt; to pause it: fairhook tenant pause bad",
            "Nobody else is hurt",
            "ALSO     good has 60 dead letters",
        ] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
        assert!(!text.contains("ALSO     bad"), "it is said already\n{text}");
    }

    #[test]
    fn who_is_paused_can_be_let_go_and_who_waits_because_of_others_is_named() {
        let paused = render("http://x", &top(json!({"dispatch": "paused"})));
        assert!(paused.contains("fairhook tenant resume bad"), "{paused}");
        let mut beside = top(json!({}));
        beside.tenants[1].hurt = true;
        let beside = render("http://x", &beside);
        assert!(beside.contains("REMEDY   fairhook tenant pause bad\nHURT     good"), "{beside}");
        let hurt = json!({"loudness": 0.5, "conditions": [], "hurt": true, "held_back": "no_slot"});
        let hurt = render("http://x", &top(hurt));
        assert!(hurt.contains("HURT     bad: 1340 deliveries wait, no free slot"), "{hurt}");
        assert!(hurt.contains("Nobody uses more than its share"), "{hurt}");
        assert!(render("http://x", &Top::read(&Value::Null)).contains("0.0 of 0 slots"));
    }
}
