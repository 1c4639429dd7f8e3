//! `fairhook`: one binary, the roles as subcommands.

use std::process::ExitCode;

use fairhook::cli::{self, Command};
use fairhook::{bench, demo, serve};

fn main() -> ExitCode {
    let command = match cli::parse(std::env::args_os()) {
        Ok(command) => command,
        Err(refusal) => return refusal.tell(),
    };
    match command {
        Command::Run(purpose, told) => serve::start(purpose, *told),
        Command::Migrate(told) => serve::migrate(&told),
        Command::CheckConfig(told) => cli::show_config(&told),
        Command::Operate(order, installation) => serve::in_runtime(installation.obey(order)),
        Command::Demo => serve::in_runtime(demo::run()),
        Command::Bench(wanted) => serve::in_runtime(bench::run(&wanted)),
        Command::BenchRelay(wanted) => serve::in_runtime(bench::run_relay(&wanted)),
    }
}
