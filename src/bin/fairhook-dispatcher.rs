//! `fairhook-dispatcher`: deliveries, on Postgres and RabbitMQ. The same as `fairhook dispatcher`.

use std::process::ExitCode;

use fairhook::{cli, serve};
use fairhook_common::config::Purpose;

fn main() -> ExitCode {
    match cli::parse_role(Purpose::Dispatcher, std::env::args_os()) {
        Ok(told) => serve::start(Purpose::Dispatcher, *told),
        Err(refusal) => refusal.tell(),
    }
}
