//! What a start says: where everything is, and lines to paste.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;

use crate::operator_key::Origin;

/// What the banner is made of.
#[derive(Debug)]
pub struct Banner<'a> {
    /// The data directory as it was configured.
    pub data_dir: &'a Path,
    /// The API's address.
    pub api: SocketAddr,
    /// The built-in receiver's.
    pub receiver: Option<SocketAddr>,
    /// Health and metrics.
    pub metrics: SocketAddr,
    /// Where the operator's key came from.
    pub key: &'a Origin,
    /// Nothing was ever accepted here: lines to try it are welcome.
    pub is_new: bool,
}

impl Banner<'_> {
    /// The whole text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        self.write(&mut text).expect("a String takes everything");
        text
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let (version, data_dir) = (env!("CARGO_PKG_VERSION"), self.data_dir.display());
        writeln!(
            out,
            "fairhook {version} · embedded · SQLite {data_dir} (202 = fsynced) · in-process queues"
        )?;
        writeln!(out, "  API       http://{}/v1", self.api)?;
        if let Some(receiver) = self.receiver {
            writeln!(out, "  receiver  http://{receiver}/hook   built in, to try things with")?;
        }
        writeln!(out, "  metrics   http://{}/metrics", self.metrics)?;
        match self.key {
            Origin::Configured => writeln!(out, "  operator key: as configured")?,
            Origin::Made(path) => {
                writeln!(out, "  operator key: made, kept in {} (mode 600)", path.display())?;
            }
            Origin::Read(path) => writeln!(out, "  operator key: read from {}", path.display())?,
        }
        match self.receiver {
            Some(receiver) if self.is_new => self.write_lines_to_paste(receiver, out),
            _ => Ok(()),
        }
    }

    /// Each works word for word in bash.
    fn write_lines_to_paste(&self, receiver: SocketAddr, out: &mut String) -> std::fmt::Result {
        let base = format!("{}/v1/tenants/acme", reachable(self.api));
        let key = match self.key {
            Origin::Configured => "$FAIRHOOK_OPERATOR_KEY".to_owned(),
            Origin::Made(path) | Origin::Read(path) => format!("$(cat {})", shell_word(path)),
        };
        writeln!(out, "Try it in another terminal:")?;
        writeln!(
            out,
            "  api() {{ curl -s -H \"Authorization: Bearer {key}\" -H 'Content-Type: application/json' \"$@\"; echo; }}"
        )?;
        writeln!(out, r#"  api -X PUT {base} -d '{{"name":"Acme"}}'"#)?;
        writeln!(out, r#"  api {base}/endpoints -d '{{"url":"http://{receiver}/hook"}}'"#)?;
        writeln!(out, r#"  api {base}/events -d '{{"type":"order.paid","payload":{{"id":7}}}}'"#)
    }
}

/// How this machine reaches a listener.
fn reachable(listener: SocketAddr) -> String {
    let local = listener.ip().is_loopback() || listener.ip().is_unspecified();
    if local { format!("localhost:{}", listener.port()) } else { listener.to_string() }
}

/// A path as one word for a shell, as plain as it can be.
fn shell_word(path: &Path) -> String {
    let text = path.display().to_string();
    let text = text.strip_prefix("./").unwrap_or(&text);
    let plain =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-' | '+' | '@' | '%' | '=');
    let is_plain = !text.is_empty() && !text.starts_with('-') && text.chars().all(plain);
    let is_option = text.starts_with('-');
    match (is_plain, is_option) {
        (true, _) => text.to_owned(),
        (false, true) => format!("'./{}'", text.replace('\'', r"'\''")),
        (false, false) => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_start_says_what_the_readme_shows() {
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let key = Origin::Made("./fairhook-data/operator.key".into());
        let banner = Banner {
            data_dir: Path::new("./fairhook-data"),
            api: address(3000),
            receiver: Some(address(3001)),
            metrics: address(3002),
            key: &key,
            is_new: true,
        };
        let expected = r#"fairhook 0.1.0 · embedded · SQLite ./fairhook-data (202 = fsynced) · in-process queues
  API       http://127.0.0.1:3000/v1
  receiver  http://127.0.0.1:3001/hook   built in, to try things with
  metrics   http://127.0.0.1:3002/metrics
  operator key: made, kept in ./fairhook-data/operator.key (mode 600)
Try it in another terminal:
  api() { curl -s -H "Authorization: Bearer $(cat fairhook-data/operator.key)" -H 'Content-Type: application/json' "$@"; echo; }
  api -X PUT localhost:3000/v1/tenants/acme -d '{"name":"Acme"}'
  api localhost:3000/v1/tenants/acme/endpoints -d '{"url":"http://127.0.0.1:3001/hook"}'
  api localhost:3000/v1/tenants/acme/events -d '{"type":"order.paid","payload":{"id":7}}'
"#;
        assert_eq!(banner.text(), expected);
    }

    #[test]
    fn a_path_is_one_word_for_a_shell() {
        for (path, word) in [
            ("./a/b.key", "a/b.key"),
            ("/a b/c", "'/a b/c'"),
            ("it's", r"'it'\''s'"),
            ("-x", "'./-x'"),
            ("./-x", "'./-x'"),
        ] {
            assert_eq!(shell_word(Path::new(path)), word);
        }
    }
}
