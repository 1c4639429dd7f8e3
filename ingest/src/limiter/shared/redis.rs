//! What is said to Redis: dialling, and the script that leases tokens. The only place that speaks to it.

use std::fmt;
use std::sync::LazyLock;
use std::time::Duration;

use fairhook_common::ids::TenantId;
use fairhook_common::limits;
use fairhook_common::policy::Policy;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ErrorKind, RedisError, RedisResult, Script};
use thiserror::Error;
use tokio::time::timeout;
use uuid::Uuid;

use super::lease::{Grant, Window};
use crate::limiter::key::Key;

static WINDOW: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("window.lua")));

/// Where Redis is. Its password is never shown.
#[derive(Clone)]
pub struct RedisAddress(Client);

/// A URL that does not say where Redis is. It is not repeated: it may hold a password.
#[derive(Debug, Error)]
#[error("the URL of Redis is not understood ({0}); it looks like redis://user:password@host:6379/0")]
pub struct BadRedisUrl(String);

impl RedisAddress {
    /// Reads a URL. Nothing is dialled.
    pub fn parse(url: &str) -> Result<Self, BadRedisUrl> {
        Client::open(url).map(Self).map_err(|error| BadRedisUrl(told(&error)))
    }
}

impl fmt::Debug for RedisAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisAddress({})", self.0.get_connection_info().addr())
    }
}

/// A connection that has just leased a token within the budget: one that cannot do that is of no use.
pub(super) async fn dial(address: &RedisAddress) -> RedisResult<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(limits::REDIS_DIAL_DEADLINE))
        .set_response_timeout(Some(limits::REDIS_DIAL_DEADLINE));
    let dialled = address.0.get_multiplexed_async_connection_with_config(&config);
    let late = |_| RedisError::from((ErrorKind::Io, "no answer in time"));
    let connection = timeout(limits::REDIS_DIAL_DEADLINE, dialled).await.map_err(late)??;
    // A probe leases, of a tenant that is nobody: a server that answers but takes no writes would be of no use either.
    let probe = Window { events: 1, span: Duration::from_secs(1), saved: 0 };
    let key = probe.key(Policy::Events, &Key::tenant(TenantId::from_uuid(Uuid::nil())));
    let leased = lease(connection.clone(), &key, &probe, (1, 1));
    timeout(limits::REDIS_BUDGET, leased).await.map_err(late)??;
    Ok(connection)
}

/// Leases as many tokens as are `wanted` of the limit that is kept under `key`, or fewer, but `least`, or none.
pub(super) async fn lease(
    mut connection: MultiplexedConnection,
    key: &str,
    window: &Window,
    (least, wanted): (u32, u32),
) -> RedisResult<Grant> {
    let (tokens, left, wait, ends): (u32, u32, u64, u64) = WINDOW
        .key(key)
        .arg(window.events)
        .arg(window.span.as_micros() as u64)
        .arg(window.saved)
        .arg(wanted)
        .arg(window.forget_after().as_millis() as u64)
        .arg(least)
        .invoke_async(&mut connection)
        .await?;
    let (wait, ends) = (Duration::from_micros(wait), Duration::from_micros(ends));
    Ok(Grant { tokens, left, wait, ends })
}

/// An error as it may be told: its kind and the server's own words, which hold no secret.
pub(super) fn told(error: &RedisError) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_is_shown() {
        let address = RedisAddress::parse("redis://user:hunter2@redis.test:6380/1").expect("a URL");
        assert_eq!(format!("{address:?}"), "RedisAddress(redis.test:6380)");
        for bad in ["http://user:hunter2@redis.test", "redis://user:hunter2@redis.test:port", "hunter2"] {
            let error = RedisAddress::parse(bad).expect_err("no URL of Redis");
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
        }
    }
}
