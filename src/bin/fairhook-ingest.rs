//! `fairhook-ingest`: the API and admission, on Postgres and RabbitMQ. The same as `fairhook ingest`.

use std::process::ExitCode;

use fairhook::{cli, serve};
use fairhook_common::config::Purpose;

fn main() -> ExitCode {
    match cli::parse_role(Purpose::Ingest, std::env::args_os()) {
        Ok(told) => serve::start(Purpose::Ingest, *told),
        Err(refusal) => refusal.tell(),
    }
}
