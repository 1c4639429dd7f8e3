//! The name that was probably meant.

/// Names longer than this are not compared: the work is quadratic.
const COMPARED_CHARS: usize = 64;

/// A name that begins as another does is taken for it from so many characters on.
const BEGINNING_CHARS: usize = 4;

/// The one of `known` that `given` is closest to, if it is close enough to be a slip.
pub fn nearest<'k>(given: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    if given.chars().count() > COMPARED_CHARS {
        return None;
    }
    let plain = |text: &str| text.to_ascii_lowercase().replace(['-', ' '], "_");
    let given = plain(given);
    let begins = |name: &str| {
        let shorter = name.len().min(given.len());
        shorter >= BEGINNING_CHARS && (name.starts_with(&given) || given.starts_with(name))
    };
    let close = |name: &str| match distance(&given, &plain(name)) {
        slip if slip <= 1.max(name.len().min(given.len()) / 3) => Some(slip),
        far => begins(name).then_some(far),
    };
    known
        .filter_map(|name| Some((close(name)?, name)))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Insertions, deletions, replacements and swaps of neighbours that turn `a` into `b` (restricted: no part is changed twice).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    rows[0] = (0..=b.len()).collect();
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = replaced.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = least;
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_recognised_and_strangers_are_not() {
        let known = ["type", "payload", "idempotency_key", "deliver_at", "url"];
        let nearest = |given| nearest(given, known.into_iter());
        assert_eq!(nearest("payloda"), Some("payload"));
        assert_eq!(nearest("Payload"), Some("payload"));
        assert_eq!(nearest("idempotencyKey"), Some("idempotency_key"));
        assert_eq!(nearest("deliver-at"), Some("deliver_at"));
        assert_eq!(nearest("tpye"), Some("type"));
        assert_eq!(nearest("uri"), Some("url"));
        assert_eq!(nearest("idempotency"), Some("idempotency_key"));
        assert_eq!(nearest("colour"), None);
        assert_eq!(nearest(&"payload".repeat(100)), None);
    }
}
