//! Texts of the document as HTML.

/// `text` with what HTML reads as its own replaced.
pub(super) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            c => safe.push(c),
        }
    }
    safe
}

/// `text` within a line: what stands between backticks is code.
pub(super) fn inline(text: &str) -> String {
    let pieces = text.split('`').enumerate();
    let shown = |(n, piece): (usize, &str)| match n % 2 {
        1 => format!("<code>{}</code>", escaped(piece)),
        _ => escaped(piece),
    };
    pieces.map(shown).collect()
}

/// Paragraphs, which empty lines part.
pub(super) fn prose(text: &str) -> String {
    let paragraphs = text.split("\n\n").filter(|paragraph| !paragraph.trim().is_empty());
    paragraphs.map(|paragraph| format!("<p>{}</p>\n", inline(paragraph.trim()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_text_is_markup() {
        assert_eq!(inline("a `<b>` & \"c\""), "a <code>&lt;b&gt;</code> &amp; &quot;c&quot;");
        assert_eq!(prose("one\ntwo\n\n`three`"), "<p>one\ntwo</p>\n<p><code>three</code></p>\n");
        assert_eq!(prose(""), "");
    }
}
