//! Every setting, declared once.

use std::time::Duration;

use super::secret::OperatorKey;
use super::urls::{QueueUrl, ServerUrl, StoreUrl};
use super::{Config, LogFormat, read};
use crate::policy::BadRates;
use crate::queue::rabbit::QueueType;

/// A setting. Its name in the file is `name`; `--na-me` is its flag and `FAIRHOOK_NAME` its environment variable.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// Its name, with underscores.
    pub name: &'static str,
    /// What its value is, for `--help`.
    pub value: &'static str,
    /// Its default as text; `None`: not set.
    pub default: Option<&'static str>,
    /// One or two sentences for people.
    pub help: &'static str,
    /// What must not be seen of it.
    pub secrecy: Secrecy,
    /// Reads its text into the configuration.
    pub(super) read: fn(&str, &mut Config) -> Result<(), String>,
}

/// What must not be seen of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Secrecy {
    /// Nothing is secret.
    Public,
    /// A URL whose password is secret. A flag must not hold one; a file named by `…_file` may hold the whole URL.
    Password,
    /// Everything. There is no flag for it, only for the file that holds it (`…_file`).
    Secret,
}

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAYS: Duration = Duration::from_secs(86_400);

/// Slots beyond this gain nothing: each is a socket and some tens of kilobytes.
const SLOTS_MOST: usize = 100_000;

/// The table.
pub const SETTINGS: &[Setting] = &[
    Setting {
        name: "listen",
        value: "ADDRESS",
        default: Some("127.0.0.1:3000"),
        help: "Where the API listens",
        secrecy: Secrecy::Public,
        read: |text, config| set(&mut config.listen, read::address(text)),
    },
    Setting {
        name: "receiver_listen",
        value: "ADDRESS|off",
        default: Some("127.0.0.1:3001"),
        help: "Where the built-in receiver listens, to try things with; loopback only; off on Postgres unless set",
        secrecy: Secrecy::Public,
        read: |text, config| set(&mut config.receiver_listen, read::loopback_or_off(text)),
    },
    Setting {
        name: "metrics_listen",
        value: "ADDRESS",
        default: Some("127.0.0.1:3002"),
        help: "Where /healthz, /readyz and /metrics are served",
        secrecy: Secrecy::Public,
        read: |text, config| set(&mut config.metrics_listen, read::address(text)),
    },
    Setting {
        name: "data_dir",
        value: "DIRECTORY",
        default: Some("./fairhook-data"),
        help: "Where the embedded engine keeps everything; made when absent",
        secrecy: Secrecy::Public,
        read: |text, config| set(&mut config.data_dir, Ok(text.into())),
    },
    Setting {
        name: "store_url",
        value: "URL",
        default: Some("sqlite:"),
        help: "The store: `sqlite:` (in the data directory), `sqlite:DIRECTORY`, or `postgres://USER:PASSWORD@HOST/DATABASE`",
        secrecy: Secrecy::Password,
        read: |text, config| set(&mut config.store_url, StoreUrl::parse(text)),
    },
    Setting {
        name: "queue_url",
        value: "URL",
        default: Some("memory:"),
        help: "The queue: `memory:` with SQLite; `amqp://USER:PASSWORD@HOST/VHOST` or `amqps://…` with Postgres",
        secrecy: Secrecy::Password,
        read: |text, config| set(&mut config.queue_url, QueueUrl::parse(text)),
    },
    Setting {
        name: "queue_type",
        value: "classic|quorum",
        default: Some("classic"),
        help: "The type of the tenants' queues in RabbitMQ; those that exist keep theirs",
        secrecy: Secrecy::Public,
        read: |text, config| set(&mut config.queue_type, queue_type(text)),
    },
    Setting {
        name: "redis_url",
        value: "URL",
        default: None,
        help: "Redis, for quotas over all ingests: `redis://USER:PASSWORD@HOST/NUMBER`; without it each ingest enforces its share",
        secrecy: Secrecy::Password,
        read: |text, config| set(&mut config.redis_url, ServerUrl::redis(text).map(Some)),
    },
    Setting {
        name: "node_name",
        value: "NAME",
        default: None,
        help: "This process's name among the others, for people; the host's name and the process's id unless set",
        secrecy: Secrecy::Public,
        read: |text, config| set(&mut config.node_name, read::name(text).map(Some)),
    },
    Setting {
        name: "start_deadline",
        value: "TIME",
        default: Some("60s"),
        help: "How long a start waits for a Postgres that is not there yet",
        secrecy: Secrecy::Public,
        read: |text, config| set(&mut config.start_deadline, read::duration(text, Duration::ZERO, HOUR)),
    },
    Setting {
        name: "operator_key",
        value: "KEY",
        default: None,
        help: "The operator's key, 16 characters or more; made and kept in the data directory when absent, required on Postgres",
        secrecy: Secrecy::Secret,
        read: |text, config| set(&mut config.operator_key, OperatorKey::parse(text).map(Some)),
    },
    Setting {
        name: "allowed_networks",
        value: "CIDRS",
        default: None,
        help: "Networks that endpoints may be on although they are private, separated by commas",
        secrecy: Secrecy::Public,
        read: |text, config| set(&mut config.allowed_networks, read::networks(text)),
    },
    Setting {
        name: "nameservers",
        value: "ADDRESSES",
        default: None,
        help: "Name servers to ask for the addresses of endpoints, with their ports, separated by commas; the system's unless set",
        secrecy: Secrecy::Public,
        read: |text, config| set(&mut config.nameservers, read::addresses(text)),
    },
    Setting {
        name: "limits",
        value: "POLICIES",
        default: Some(
            "api_requests=1000/1min, anonymous=10/10s, auth_failures=10/15min, source_ingest=100/1min, public_form=5/1h, events_per_day=off, bytes_per_minute=off",
        ),
        help: "What may be asked of the API, as `name=number / window` or `name=off`, separated by commas: api_requests, anonymous, auth_failures, source_ingest, public_form, events_per_day, bytes_per_minute; tier=off",
        secrecy: Secrecy::Public,
        read: |text, config| set(&mut config.limits, text.parse().map_err(|e: BadRates| e.to_string())),
    },
    Setting {
        name: "trusted_proxies",
        value: "CIDRS",
        default: None,
        help: "Proxies whose Forwarded, X-Forwarded-For or X-Real-IP tells a client's address, separated by commas",
        secrecy: Secrecy::Public,
        read: |text, config| set(&mut config.trusted_proxies, read::networks(text)),
    },
    Setting {
        name: "concurrent_requests",
        value: "NUMBER",
        default: Some("256"),
        help: "Requests of one tenant at once, at each ingest",
        secrecy: Secrecy::Public,
        read: |text, config| set(&mut config.concurrent_requests, read::number(text, 1, SLOTS_MOST)),
    },
    Setting {
        name: "slots",
        value: "NUMBER",
        default: Some("2000"),
        help: "Deliveries in flight at most",
        secrecy: Secrecy::Public,
        read: |text, config| set(&mut config.slots, read::number(text, 1, SLOTS_MOST)),
    },
    Setting {
        name: "retention",
        value: "TIME",
        default: Some("30d"),
        help: "How long events and their payloads are kept",
        secrecy: Secrecy::Public,
        read: |text, config| set(&mut config.retention, read::duration(text, HOUR, DAYS * 3_650)),
    },
    Setting {
        name: "override_ceiling",
        value: "NUMBER",
        default: Some("1000000"),
        help: "The highest limit that an operator may give a tenant for a while",
        secrecy: Secrecy::Public,
        read: |text, config| set(&mut config.override_ceiling, override_ceiling(text)),
    },
    Setting {
        name: "base_domain",
        value: "DOMAIN",
        default: None,
        help: "Requests to TENANT.DOMAIN are that tenant's; in handshakes it says who asks",
        secrecy: Secrecy::Public,
        read: |text, config| set(&mut config.base_domain, read::domain(text).map(Some)),
    },
    Setting {
        name: "disable_after",
        value: "TIME",
        default: Some("5d"),
        help: "An endpoint that has done nothing but fail for so long is disabled",
        secrecy: Secrecy::Public,
        read: |text, config| set(&mut config.disable_after, read::duration(text, MINUTE, DAYS * 3_650)),
    },
    Setting {
        name: "drain_deadline",
        value: "TIME",
        default: Some("20s"),
        help: "How long an orderly stop may take",
        secrecy: Secrecy::Public,
        read: |text, config| set(&mut config.drain_deadline, read::duration(text, Duration::ZERO, HOUR)),
    },
    Setting {
        name: "operator_webhook_url",
        value: "URL",
        default: None,
        help: "Where operational events go: an endpoint of the tenant fairhook-operator, which is made when absent",
        secrecy: Secrecy::Public,
        read: |text, config| set(&mut config.operator_webhook_url, read::web_url(text).map(Some)),
    },
    Setting {
        name: "log",
        value: "FILTER",
        default: Some("info"),
        help: "What is logged: a level, or targets with levels, such as info,fairhook_dispatcher=debug",
        secrecy: Secrecy::Public,
        read: |text, config| set(&mut config.log, Ok(text.to_owned())),
    },
    Setting {
        name: "log_format",
        value: "text|json",
        default: Some("text"),
        help: "How log lines are written to standard error",
        secrecy: Secrecy::Public,
        read: |text, config| set(&mut config.log_format, log_format(text)),
    },
];

fn set<T>(field: &mut T, value: Result<T, String>) -> Result<(), String> {
    *field = value?;
    Ok(())
}

fn log_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err(format!("`{text}` is neither text nor json")),
    }
}

fn override_ceiling(text: &str) -> Result<u32, String> {
    let ceiling = read::number(text, 1, u32::MAX as usize)?;
    Ok(u32::try_from(ceiling).expect("it is within bounds"))
}

fn queue_type(text: &str) -> Result<QueueType, String> {
    match text {
        "classic" => Ok(QueueType::Classic),
        "quorum" => Ok(QueueType::Quorum),
        _ => Err(format!("`{text}` is neither classic nor quorum")),
    }
}
