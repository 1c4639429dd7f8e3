//! `fairhook tenant pause NAME` and `fairhook tenant resume NAME`: the kill switch of the way out.

use clap::{Arg, ArgMatches, Command};
use reqwest::Method;
use serde_json::{Value, json};

use crate::workload::{ApiClient, ApiFailure};

const NAME: &str = "name";
const REASON: &str = "reason";

/// What a tenant's switch is set to.
pub struct Switch {
    tenant: String,
    paused: bool,
    reason: Option<String>,
}

/// The command; `with` adds what every command here takes.
pub fn command(with: impl Fn(Command) -> Command) -> Command {
    let name = Arg::new(NAME).value_name("NAME").required(true).help("The tenant, by its slug or its id");
    let reason = Arg::new(REASON).long(REASON).value_name("TEXT").help("Why; shown with the tenant");
    let pause = Command::new("pause").about("Hold a tenant's deliveries back; its events are still accepted");
    let resume = Command::new("resume").about("Let a tenant's deliveries go out again");
    Command::new("tenant")
        .about("Pause or resume a tenant's deliveries on a running installation")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(with(pause.arg(name.clone()).arg(reason)))
        .subcommand(with(resume.arg(name)))
}

/// Reads one.
pub fn switch(verb: &str, matches: &ArgMatches) -> Switch {
    let tenant = matches.get_one::<String>(NAME).expect("clap requires it").clone();
    let paused = verb == "pause";
    let reason = paused.then(|| matches.get_one::<String>(REASON).cloned()).flatten();
    Switch { tenant, paused, reason }
}

/// Sets it, and says so.
pub async fn set(client: &ApiClient, switch: &Switch) -> Result<(), ApiFailure> {
    let mut body = json!({ "dispatch": if switch.paused { "paused" } else { "open" } });
    if let Some(reason) = &switch.reason {
        body["reason"] = json!(reason);
    }
    // A name may hold anything; what it means is the API's to say.
    let name: String = url::form_urlencoded::byte_serialize(switch.tenant.as_bytes()).collect();
    let tenant = client.call(Method::PATCH, &format!("/v1/tenants/{name}"), Some(&body)).await?;
    println!("{}", said(&tenant, switch));
    Ok(())
}

fn said(tenant: &Value, switch: &Switch) -> String {
    let slug = tenant["slug"].as_str().unwrap_or(&switch.tenant);
    match switch.paused {
        true => format!(
            "{slug} is paused: its deliveries are held back. To let them go: fairhook tenant resume {slug}"
        ),
        false => format!("{slug} is open: its deliveries go out again."),
    }
}
