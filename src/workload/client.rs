//! The HTTP client of a load: it keeps every connection, so that what is measured is never a handshake.

use std::time::Duration;

use reqwest::{Client, redirect};

/// A client whose requests end after `timeout`.
pub fn client(timeout: Duration) -> reqwest::Result<Client> {
    // Whoever was first has installed the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
        .no_proxy()
        .redirect(redirect::Policy::none())
        .referer(false)
        .pool_max_idle_per_host(usize::MAX)
        .tcp_nodelay(true)
        .timeout(timeout)
        .build()
}
