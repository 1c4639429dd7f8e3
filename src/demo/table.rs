//! The live table: pure text, one row per tenant.

use super::verdict::span;

/// A tenant as the table shows it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Row {
    /// Its slug.
    pub tenant: String,
    /// Events accepted in this part of the demo.
    pub accepted: u64,
    /// Events that arrived.
    pub delivered: u64,
    /// Slots it holds.
    pub in_flight: u64,
    /// Deliveries that wait, in memory or in the store.
    pub waiting: u64,
    /// Dead letters.
    pub dead: u64,
    /// From post to arrival, or to now if it has not arrived, in milliseconds.
    pub p50_ms: f64,
    /// From post to arrival, or to now if it has not arrived, in milliseconds.
    pub p99_ms: f64,
    /// Its part of all slot time used in this part of the demo, from 0 to 1.
    pub slot_time: f64,
    /// Why it is held back.
    pub held_back: &'static str,
}

/// The table under a heading; every line ends with a line feed.
pub fn render(heading: &str, rows: &[Row]) -> String {
    let mut text = format!(
        "{heading}\n  {:<9} {:>8} {:>9} {:>9} {:>7} {:>5} {:>9} {:>9} {:>9}  {}\n",
        "tenant",
        "accepted",
        "delivered",
        "in flight",
        "waiting",
        "dead",
        "p50",
        "p99",
        "slot time",
        "held back"
    );
    for row in rows {
        let latency = |ms: f64| if row.delivered == 0 { "–".to_owned() } else { span(ms) };
        text.push_str(&format!(
            "  {:<9} {:>8} {:>9} {:>9} {:>7} {:>5} {:>9} {:>9} {:>8.1}%  {}\n",
            row.tenant,
            row.accepted,
            row.delivered,
            row.in_flight,
            row.waiting,
            row.dead,
            latency(row.p50_ms),
            latency(row.p99_ms),
            row.slot_time * 100.0,
            row.held_back
        ));
    }
    text
}

/// What moves a terminal's cursor back over `text` and clears what stood there.
pub fn erase(text: &str) -> String {
    match text.lines().count() {
        0 => String::new(),
        lines => format!("\x1b[{lines}A\x1b[J"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_tells_who_is_held_back_and_why() {
        let row = Row {
            tenant: "hanging".into(),
            accepted: 1_400,
            in_flight: 25,
            slot_time: 0.97,
            held_back: "endpoint busy",
            ..Row::default()
        };
        let text = render("beside", &[row]);
        assert_eq!(text.lines().count(), 3);
        assert!(text.contains("97.0%  endpoint busy"), "{text}");
        assert!(text.contains('–'), "no latency without an arrival");
        assert_eq!(erase(&text), "\x1b[3A\x1b[J");
    }
}
