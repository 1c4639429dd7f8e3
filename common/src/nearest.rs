//! "Did you mean …": the known word that is nearest to a mistyped one.

/// Names longer than this are no slips, and comparing costs the product of the lengths.
const COMPARED_CHARS: usize = 64;

/// A name that begins as another does is taken for it from so many characters on.
const BEGINNING_CHARS: usize = 4;

/// The one of `known` that `given` was most likely meant to be; `None` if none is near. Case and the kind of separator do
/// not count.
pub fn nearest<'k>(given: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    if given.chars().count() > COMPARED_CHARS {
        return None;
    }
    let given = plain(given);
    let measured = known.into_iter().filter_map(|name| Some((slip(&given, &plain(name))?, name)));
    measured.min_by_key(|(slip, _)| *slip).map(|(_, name)| name)
}

fn plain(name: &str) -> Vec<char> {
    let same = |c: char| if matches!(c, '-' | ' ') { '_' } else { c.to_ascii_lowercase() };
    name.chars().map(same).collect()
}

/// How far the names are apart, if they are near.
fn slip(given: &[char], name: &[char]) -> Option<usize> {
    let shorter = given.len().min(name.len());
    let begins = shorter >= BEGINNING_CHARS && given[..shorter] == name[..shorter];
    let distance = distance(given, name);
    (begins || distance <= (shorter / 3).max(1)).then_some(distance)
}

/// How many characters have to be put in, taken out, replaced or swapped with their neighbour.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_recognised_and_strangers_are_not() {
        let known = ["type", "payload", "idempotency_key", "deliver_at", "url"];
        for (given, meant) in [
            ("payloda", Some("payload")),
            ("Payload", Some("payload")),
            ("idempotencyKey", Some("idempotency_key")),
            ("idempotency", Some("idempotency_key")),
            ("deliver-at", Some("deliver_at")),
            ("tpye", Some("type")),
            ("uri", Some("url")),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(nearest(given, known), meant, "{given}");
        }
        assert_eq!(nearest(&"payload".repeat(100), known), None);
    }
}
