//! Shows the table until it is interrupted, or once where nobody watches.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use reqwest::Method;

use super::top::{self, Top};
use crate::demo::erase;
use crate::workload::{ApiClient, ApiFailure};

/// The figures change every two seconds.
const REDRAW: Duration = Duration::from_secs(2);

/// Draws what the installation at `url` says, again and again in a terminal unless only `once`.
pub async fn show(client: &ApiClient, url: &str, once: bool) -> Result<(), ApiFailure> {
    let live = std::io::stdout().is_terminal() && !once;
    let mut drawn = String::new();
    loop {
        let answer = client.call(Method::GET, "/v1/top", None).await?;
        let text = top::render(url, &Top::read(&answer));
        let mut out = std::io::stdout().lock();
        // A reader that has gone away is no reason to fail.
        let _ = write!(out, "{}{text}", erase(&drawn)).and_then(|()| out.flush());
        drop(out);
        if !live {
            return Ok(());
        }
        drawn = text;
        tokio::time::sleep(REDRAW).await;
    }
}
