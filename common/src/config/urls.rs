//! Which backends stand behind the two seams, and where their servers are.

use std::fmt;
use std::path::PathBuf;

use url::Url;

/// Which store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreUrl {
    /// `sqlite:` in the data directory, or `sqlite:DIRECTORY`.
    Sqlite(Option<PathBuf>),
    /// `postgres://…`.
    Postgres(ServerUrl),
}

/// Which queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QueueUrl {
    /// `memory:`, in this process.
    Memory,
    /// `amqp://…` or `amqps://…`.
    RabbitMq(ServerUrl),
}

/// A server's URL with whatever credentials it holds. Shown, it is the server's place and nothing else.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerUrl {
    url: String,
    place: String,
}

impl StoreUrl {
    /// Reads a URL; the error does not quote it, it may hold a password.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if let Some(directory) = text.strip_prefix("sqlite:") {
            return Ok(Self::Sqlite((!directory.is_empty()).then(|| directory.into())));
        }
        let wrong = "a store is `sqlite:` (in the data directory), `sqlite:DIRECTORY` or `postgres://USER:PASSWORD@HOST/DATABASE`";
        let url = read(text, &["postgres", "postgresql"]).ok_or(wrong)?;
        let asked = |name: &str| url.query_pairs().find(|(key, _)| key == name).map(|(_, v)| v.into_owned());
        let host = host(&url).or_else(|| asked("host")).unwrap_or_else(|| "localhost".to_owned());
        let database = inner_path(&url).or_else(|| asked("dbname")).unwrap_or_default();
        Ok(Self::Postgres(ServerUrl { url: text.to_owned(), place: format!("{host}/{database}") }))
    }
}

impl QueueUrl {
    /// Reads a URL; the error does not quote it, it may hold a password.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text == "memory:" {
            return Ok(Self::Memory);
        }
        let wrong =
            "a queue is `memory:` (in this process), or `amqp://USER:PASSWORD@HOST/VHOST` or `amqps://…`";
        let url = read(text, &["amqp", "amqps"]).ok_or(wrong)?;
        let host = host(&url).ok_or(wrong)?;
        // The virtual host that every broker has is called `/`.
        let vhost = inner_path(&url).filter(|vhost| vhost != "/").unwrap_or_default();
        Ok(Self::RabbitMq(ServerUrl { url: text.to_owned(), place: format!("{host}/{vhost}") }))
    }
}

impl ServerUrl {
    /// Reads Redis' URL; the error does not quote it, it may hold a password.
    pub(super) fn redis(text: &str) -> Result<Self, String> {
        let wrong = "Redis is `redis://USER:PASSWORD@HOST/NUMBER`, or `rediss://…` with TLS";
        let url = read(text, &["redis", "rediss"]).ok_or(wrong)?;
        let host = host(&url).ok_or(wrong)?;
        let number = inner_path(&url).unwrap_or_default();
        Ok(Self { url: text.to_owned(), place: format!("{host}/{number}") })
    }

    /// The URL itself, for whoever connects.
    pub fn reveal(&self) -> &str {
        &self.url
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place)
    }
}

impl fmt::Debug for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServerUrl({})", self.place)
    }
}

/// Whether a URL holds what nobody may see.
pub(super) fn has_password(url: &str) -> bool {
    let Some((_, rest)) = url.split_once("://") else { return false };
    let (before_query, query) = rest.split_once('?').unwrap_or((rest, ""));
    let authority = before_query.split('/').next().unwrap_or(before_query);
    // A password with a slash in it is no URL; it is to be hidden all the same.
    authority.contains('@') || before_query.contains('@') || query.contains("password=")
}

fn read(text: &str, schemes: &[&str]) -> Option<Url> {
    Url::parse(text).ok().filter(|url| schemes.contains(&url.scheme()) && !url.cannot_be_a_base())
}

/// Host and port as they were written.
fn host(url: &Url) -> Option<String> {
    let host = url.host_str().filter(|host| !host.is_empty())?;
    Some(url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))
}

/// What stands behind the first slash, decoded; `None` if nothing does.
fn inner_path(url: &Url) -> Option<String> {
    let path = url.path().strip_prefix('/').filter(|path| !path.is_empty())?;
    // `+` is no space in a path, and the reader of forms takes it for one.
    let pair = format!("p={}", path.replace('+', "%2B").replace('&', "%26"));
    url::form_urlencoded::parse(pair.as_bytes()).next().map(|(_, decoded)| decoded.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_shown_by_its_place_only() {
        let store = |text| match StoreUrl::parse(text) {
            Ok(StoreUrl::Postgres(url)) => url,
            other => panic!("{other:?}"),
        };
        let queue = |text| match QueueUrl::parse(text) {
            Ok(QueueUrl::RabbitMq(url)) => url,
            other => panic!("{other:?}"),
        };
        for (url, place) in [
            (store("postgres://u:hunter2@db.internal:5433/hooks?sslmode=require"), "db.internal:5433/hooks"),
            (store("postgresql://db/hooks?password=hunter2"), "db/hooks"),
            (store("postgres:///hooks?host=/run/postgresql"), "/run/postgresql/hooks"),
            (store("postgres://db"), "db/"),
            (queue("amqp://u:hunter2@mq:5672/%2f"), "mq:5672/"),
            (queue("amqps://mq/a%20vhost+b"), "mq/a vhost+b"),
            (queue("amqp://mq"), "mq/"),
            (ServerUrl::redis("redis://:hunter2@cache/2").expect("read"), "cache/2"),
        ] {
            assert_eq!(url.to_string(), place);
            assert!(!format!("{url:?}").contains("hunter2"), "{url:?}");
        }
    }

    #[test]
    fn what_is_no_server_is_refused() {
        for text in ["postgres:db", "mysql://db/x", "amqp://mq", "", "db"] {
            assert!(StoreUrl::parse(text).is_err(), "{text}");
        }
        for text in ["amqp:mq", "amqp:///x", "postgres://db", "memory", ""] {
            assert!(QueueUrl::parse(text).is_err(), "{text}");
        }
        for text in ["redis:cache", "redis:///2", "http://cache", ""] {
            assert!(ServerUrl::redis(text).is_err(), "{text}");
        }
        assert!(ServerUrl::redis("rediss://cache").is_ok());
    }

    #[test]
    fn a_password_is_found_wherever_it_is() {
        for url in
            ["postgres://u:p@db/x", "redis://:p@cache", "postgres://db/x?password=p", "amqp://u:a/b@mq"]
        {
            assert!(has_password(url), "{url}");
        }
        for url in ["postgres://db/x", "sqlite:a@b", "amqp://mq/vhost", "memory:"] {
            assert!(!has_password(url), "{url}");
        }
    }
}
