//! The bare relay: what the machine allows. The same HTTP server and client as the engine's, a request in, a request out,
//! an answer; no store, no queue, no signature.

use std::process::ExitCode;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::post;
use clap::ArgMatches;
use reqwest::Client;
use tokio::net::TcpListener;

use crate::workload::{ApiFailure, Sent, Target, client};

/// A request that takes longer has failed.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Posts payloads straight to a relay.
pub struct RelayTarget {
    client: Client,
    base: String,
}

impl RelayTarget {
    /// A target at the relay's address.
    pub fn new(base: &str) -> Result<Self, ApiFailure> {
        Ok(Self { client: client(TIMEOUT)?, base: base.to_owned() })
    }
}

impl Target for RelayTarget {
    async fn post(&self, stream: usize, body: String) -> Sent {
        let request =
            self.client.post(format!("{}/{stream}", self.base)).header("content-type", "application/json");
        let Ok(answer) = request.body(body).send().await else { return Sent::Failed };
        let status = answer.status().as_u16();
        match answer.bytes().await {
            Ok(_) if status == 202 => Sent::Accepted,
            Ok(_) => Sent::Refused(status),
            Err(_) => Sent::Failed,
        }
    }
}

/// Runs a relay until it is killed.
pub async fn run(matches: &ArgMatches) -> ExitCode {
    let target = matches.get_one::<String>("target").expect("it is required");
    match relay(target.trim_end_matches("/0").to_owned()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fairhook bench: the relay stopped: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn relay(target: String) -> std::io::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    println!("relay http://{}", listener.local_addr()?);
    let client = client(TIMEOUT).map_err(std::io::Error::other)?;
    let router = Router::new().route("/{stream}", post(forward)).with_state((client, target));
    let listener = axum::serve::ListenerExt::tap_io(listener, |stream| {
        // A socket that refuses the option is only slower.
        let _ = stream.set_nodelay(true);
    });
    axum::serve(listener, router).await
}

async fn forward(
    State((client, target)): State<(Client, String)>,
    Path(stream): Path<usize>,
    body: Bytes,
) -> StatusCode {
    let request = client.post(format!("{target}/{stream}")).header("content-type", "application/json");
    let Ok(answer) = request.body(body).send().await else { return StatusCode::BAD_GATEWAY };
    let delivered = answer.status().is_success();
    match answer.bytes().await {
        Ok(_) if delivered => StatusCode::ACCEPTED,
        _ => StatusCode::BAD_GATEWAY,
    }
}
