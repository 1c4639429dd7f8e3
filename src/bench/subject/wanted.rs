//! Which engine is to be measured, by flags and by the settings of an engine.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, value_parser};
use fairhook_common::config::{Backends, Config, Environment};

use super::Servers;
use crate::bench::BenchError;

/// Which engine.
#[derive(Debug, Clone)]
pub enum Wanted {
    /// One that runs already.
    Running {
        /// Its API.
        url: String,
        /// The file that holds its operator key.
        key_file: PathBuf,
    },
    /// One of its own, in one process.
    Embedded,
    /// One of its own over servers that are there.
    Distributed {
        /// Postgres, RabbitMQ and perhaps Redis.
        servers: Servers,
        /// How many processes.
        shape: Shape,
    },
}

/// How many processes of each role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Processes with the API.
    pub ingests: usize,
    /// Processes that deliver.
    pub dispatchers: usize,
}

impl Wanted {
    /// The flags.
    pub fn args() -> [Arg; 5] {
        let processes = |name: &'static str, help: &'static str| {
            let number = value_parser!(u32).range(1..=16);
            Arg::new(name)
                .long(name)
                .value_name("N")
                .default_value("1")
                .requires("distributed")
                .value_parser(number)
                .help(help)
        };
        [
            Arg::new("url").long("url").value_name("URL").requires("key-file").help("A running engine's API"),
            Arg::new("key-file")
                .long("key-file")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help("The file with its operator key; it must allow endpoints on 127.0.0.0/8"),
            Arg::new("distributed")
                .long("distributed")
                .action(ArgAction::SetTrue)
                .conflicts_with("url")
                .help("Start processes over the servers that FAIRHOOK_STORE_URL and FAIRHOOK_QUEUE_URL name, in a database of their own"),
            processes("ingests", "Processes with the API, with --distributed"),
            processes("dispatchers", "Processes that deliver, with --distributed"),
        ]
    }

    /// What the flags say, and, for servers, the settings of an engine in `environment`.
    pub fn read(matches: &ArgMatches, environment: &Environment) -> Result<Self, BenchError> {
        if let (Some(url), Some(file)) =
            (matches.get_one::<String>("url"), matches.get_one::<PathBuf>("key-file"))
        {
            return Ok(Self::Running { url: url.clone(), key_file: file.clone() });
        }
        if !matches.get_flag("distributed") {
            return Ok(Self::Embedded);
        }
        let told = Config::load(&[], environment).map_err(|error| BenchError::Settings(error.to_string()))?;
        let Backends::Distributed { store, queue } = told.config.backends() else {
            let missing =
                "--distributed needs FAIRHOOK_STORE_URL=postgres://… and FAIRHOOK_QUEUE_URL=amqp://…";
            return Err(BenchError::Settings(missing.to_owned()));
        };
        let (store, queue, redis) = (store.clone(), queue.clone(), told.config.redis_url.clone());
        let servers = Servers::new(store, queue, redis, told.config.queue_type)?;
        let number = |name: &str| *matches.get_one::<u32>(name).expect("it has a default") as usize;
        let shape = Shape { ingests: number("ingests"), dispatchers: number("dispatchers") };
        Ok(Self::Distributed { servers, shape })
    }

    /// The same, unless it is one that runs already: for what starts engines with settings of its own.
    pub fn of_its_own(self) -> Result<Self, BenchError> {
        match self {
            Self::Running { .. } => {
                let problem = "this starts engines with settings of its own: leave out --url";
                Err(BenchError::Settings(problem.to_owned()))
            }
            wanted => Ok(wanted),
        }
    }

    /// In a few words.
    pub fn describe(&self) -> String {
        match self {
            Self::Running { url, .. } => format!("the engine at {url}"),
            Self::Embedded => "embedded".to_owned(),
            Self::Distributed { servers, shape: Shape { ingests, dispatchers } } => {
                format!("distributed, {ingests} ingest(s) and {dispatchers} dispatcher(s) over {servers}")
            }
        }
    }
}
