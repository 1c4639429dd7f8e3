//! Precedence, secrets and the sentences of errors.

use std::io::Write;

use super::*;
use crate::{limits, tenant};

fn load(flags: &[&str], environment: &[(&str, &str)]) -> Result<Effective, ConfigError> {
    let command = clap::Command::new("fairhook").args(args());
    let given = std::iter::once("fairhook").chain(flags.iter().copied());
    let matches = command.try_get_matches_from(given).expect("known flags");
    let pairs = environment.iter().map(|(name, value)| (name.into(), value.into()));
    Config::load(&[&matches], &Environment::from_pairs(pairs))
}

fn refused(flags: &[&str], environment: &[(&str, &str)]) -> String {
    load(flags, environment).map(|_| ()).expect_err("must be refused").to_string()
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(text.as_bytes()).expect("writes");
    file
}

fn path(file: &tempfile::NamedTempFile) -> &str {
    file.path().to_str().expect("UTF-8")
}

#[test]
fn the_defaults_can_be_read_and_are_those_of_the_limits() {
    let config = Config::default();
    assert_eq!(config.listen.to_string(), "127.0.0.1:3000");
    assert_eq!(config.slots, limits::SLOTS);
    assert_eq!(config.retention, limits::RETENTION);
    assert_eq!(config.override_ceiling, limits::OVERRIDE_CEILING);
    assert_eq!(config.drain_deadline, limits::DRAIN_DEADLINE);
    assert_eq!(config.disable_after, tenant::DISABLE_AFTER);
    assert_eq!(config.backends(), Backends::Embedded(Path::new("./fairhook-data")));
    let loaded = load(&[], &[]).expect("nothing said is fine").config;
    assert_eq!(format!("{loaded:?}"), format!("{config:?}"));
}

#[test]
fn flags_go_over_the_environment_over_the_file_over_the_default() {
    let file = file("listen = '127.0.0.1:1'\nslots = 7\nallowed_networks = ['10.0.0.0/8', 'fd00::/8']\n");
    let environment = [("FAIRHOOK_LISTEN", "127.0.0.1:2"), ("FAIRHOOK_CONFIG", path(&file))];
    let listen = |flags: &[&str], environment: &[(&str, &str)]| {
        load(flags, environment).expect("loads").config.listen.port()
    };
    assert_eq!(listen(&["--listen", "127.0.0.1:3"], &environment), 3);
    assert_eq!(listen(&[], &environment), 2);
    assert_eq!(listen(&["--config", path(&file)], &[]), 1);
    assert_eq!(listen(&[], &[("FAIRHOOK_LISTEN", "")]), 3000, "an empty variable is absent");
    let config = load(&["--config", path(&file)], &[]).expect("loads").config;
    assert_eq!((config.slots, config.allowed_networks.len()), (7, 2));
    let asked =
        load(&["--nameservers", "9.9.9.9:53, [2620:fe::fe]:53"], &[]).expect("loads").config.nameservers;
    assert_eq!(asked, ["9.9.9.9:53", "[2620:fe::fe]:53"].map(|a| a.parse().expect("an address")));
}

#[test]
fn an_error_is_one_sentence_that_names_the_setting_and_its_source() {
    assert_eq!(
        refused(&[], &[("FAIRHOOK_LISTEN", "3000")]),
        "listen (from the environment variable FAIRHOOK_LISTEN): `3000` is no address with a port, such as 127.0.0.1:3000"
    );
    assert_eq!(
        refused(&["--nameservers", "9.9.9.9"], &[]),
        "nameservers (from the flag --nameservers): `9.9.9.9` is no address with a port, such as 127.0.0.1:3000"
    );
    assert_eq!(
        refused(&["--slots", "0"], &[]),
        "slots (from the flag --slots): `0` is no whole number from 1 to 100000"
    );
    let mistyped = file("listne = '127.0.0.1:1'\n");
    let error = refused(&["--config", path(&mistyped)], &[]);
    assert!(error.starts_with("listne (from the file "), "{error}");
    assert!(error.ends_with("there is no such setting; was listen meant?"), "{error}");
    let broken = file("slots = 1\nlisten = \n");
    assert!(refused(&["--config", path(&broken)], &[]).contains("is not TOML, line 2"));
    let wrong_type = file("listen = true\n");
    assert!(refused(&["--config", path(&wrong_type)], &[]).contains("cannot be a boolean"));
    assert!(refused(&["--config", "/nowhere/at/all"], &[]).contains("cannot read /nowhere/at/all"));
    assert!(refused(&["--receiver-listen", "0.0.0.0:1"], &[]).contains("not loopback"));
    let twice = refused(&["--metrics-listen", "127.0.0.1:3000"], &[]);
    assert!(twice.contains("127.0.0.1:3000 is the address of listen too"), "{twice}");
}

const POSTGRES: (&str, &str) = ("FAIRHOOK_STORE_URL", "postgres://fairhook:hunter2@db/hooks");
const RABBITMQ: (&str, &str) = ("FAIRHOOK_QUEUE_URL", "amqp://fairhook:hunter2@mq");
const REDIS: (&str, &str) = ("FAIRHOOK_REDIS_URL", "redis://:hunter2@cache");
const KEY: (&str, &str) = ("FAIRHOOK_OPERATOR_KEY", "a-key-of-25-characters-yes");

#[test]
fn a_store_and_a_queue_go_together() {
    for (environment, sentence) in [
        (&[POSTGRES][..], "queue_url (the default): a Postgres store goes with a RabbitMQ queue; "),
        (&[RABBITMQ], "store_url (the default): a RabbitMQ queue goes with a Postgres store; "),
        (&[REDIS], "redis_url (from the environment variable FAIRHOOK_REDIS_URL): quotas are shared "),
        (&[("FAIRHOOK_STORE_URL", "mysql://u:hunter2@db")], "a store is `sqlite:`"),
        (&[POSTGRES, ("FAIRHOOK_QUEUE_URL", "kafka://u:hunter2@mq")], "a queue is `memory:`"),
        (&[POSTGRES, RABBITMQ, ("FAIRHOOK_QUEUE_TYPE", "stream")], "`stream` is neither classic nor quorum"),
    ] {
        let error = refused(&[], environment);
        assert!(error.contains(sentence) && !error.contains("hunter2"), "{error}");
    }
    let both = load(&[], &[POSTGRES, RABBITMQ, REDIS]).expect("they go together");
    assert!(
        both.config.is_distributed() && !load(&[], &[]).expect("so do the defaults").config.is_distributed()
    );
    assert!(!format!("{both} {both:?}").contains("hunter2"), "{both}");
}

#[test]
fn a_password_in_a_flag_is_refused_and_one_in_a_file_is_not() {
    for flag in ["store", "queue", "redis"] {
        let error = refused(&[&format!("--{flag}-url"), "x://fairhook:hunter2@db/x"], &[]);
        let upper = flag.to_uppercase();
        let way_out =
            format!("must not hold a password; use FAIRHOOK_{upper}_URL or FAIRHOOK_{upper}_URL_FILE");
        assert!(error.contains(&way_out) && !error.contains("hunter2"), "{error}");
    }
    let (store, queue) = (file(POSTGRES.1), file(RABBITMQ.1));
    let told =
        load(&["--store-url-file", path(&store), "--queue-url-file", path(&queue)], &[]).expect("read");
    let Backends::Distributed { store, queue } = told.config.backends() else { panic!("{told:?}") };
    assert_eq!((store.reveal(), store.to_string().as_str()), (POSTGRES.1, "db/hooks"));
    assert_eq!((queue.reveal(), queue.to_string().as_str()), (RABBITMQ.1, "mq/"));
}

#[test]
fn a_purpose_refuses_what_does_not_do_for_it() {
    let check = |purpose, environment: &[(&str, &str)]| {
        let told = load(&[], environment).expect("read");
        told.check_for(purpose).map_err(|error| error.to_string())
    };
    for purpose in [Purpose::Serve, Purpose::Migrate] {
        assert_eq!(check(purpose, &[]), Ok(()), "{purpose:?}");
    }
    for purpose in [Purpose::Ingest, Purpose::Dispatcher] {
        let error = check(purpose, &[]).expect_err("embedded");
        assert!(
            error.starts_with("store_url (the default): ") && error.contains("or run `serve`"),
            "{error}"
        );
        let receiver = ("FAIRHOOK_RECEIVER_LISTEN", "127.0.0.1:9");
        let error = check(purpose, &[POSTGRES, RABBITMQ, KEY, receiver]).expect_err("no receiver");
        assert!(error.starts_with("receiver_listen (from the environment"), "{error}");
    }
    for purpose in Purpose::ALL {
        assert_eq!(check(purpose, &[POSTGRES, RABBITMQ, KEY]), Ok(()), "{purpose:?}");
        let needs_key = matches!(purpose, Purpose::Serve | Purpose::Ingest);
        let without = check(purpose, &[POSTGRES, RABBITMQ]);
        assert_eq!(without.is_err(), needs_key, "{purpose:?}: {without:?}");
        if let Err(error) = without {
            assert!(error.contains("set FAIRHOOK_OPERATOR_KEY or FAIRHOOK_OPERATOR_KEY_FILE"), "{error}");
        }
    }
}

#[test]
fn the_built_in_receiver_is_off_beside_other_processes_unless_it_is_wanted() {
    let quiet = load(&[], &[POSTGRES, RABBITMQ]).expect("read");
    assert_eq!(quiet.config.receiver_listen, None);
    assert!(quiet.to_string().contains("receiver_listen = \"off\"  # the default"), "{quiet}");
    let wanted = load(&["--receiver-listen", "127.0.0.1:9"], &[POSTGRES, RABBITMQ]).expect("read");
    assert_eq!(wanted.config.receiver_listen.map(|address| address.port()), Some(9));
}

#[test]
fn a_secret_has_no_flag_comes_from_a_file_too_and_is_never_shown() {
    assert!(!args().iter().any(|arg| arg.get_long() == Some("operator-key")));
    let key = "a-key-of-25-characters-yes";
    let held = file(&format!("{key}\n"));
    let from_variable = load(&[], &[("FAIRHOOK_OPERATOR_KEY", key)]).expect("loads");
    let from_file = load(&[], &[("FAIRHOOK_OPERATOR_KEY_FILE", path(&held))]).expect("loads");
    let from_flag = load(&["--operator-key-file", path(&held)], &[]).expect("loads");
    for effective in [from_variable, from_file, from_flag] {
        let operator = effective.config.operator_key.clone().expect("a key");
        assert!(operator.matches(key) && !operator.matches("another key, also long"));
        assert!(!format!("{effective} {effective:?}").contains(key));
    }
    let short = refused(&[], &[("FAIRHOOK_OPERATOR_KEY", "too-short")]);
    assert!(short.contains("16 to 512 characters") && !short.contains("too-short"), "{short}");
    let both = refused(&[], &[("FAIRHOOK_OPERATOR_KEY", key), ("FAIRHOOK_OPERATOR_KEY_FILE", path(&held))]);
    assert!(both.contains("leave one of them out"), "{both}");
}

#[test]
fn what_is_shown_can_be_loaded_again() {
    let shown = load(&["--slots", "9", "--retention", "7d"], &[]).expect("loads").to_string();
    assert!(shown.contains("slots = \"9\"  # from the flag --slots"), "{shown}");
    let again = file(&shown);
    let config = load(&["--config", path(&again)], &[]).expect("loads").config;
    assert_eq!((config.slots, config.retention.as_secs()), (9, 7 * 86_400));
}

#[test]
fn a_mistyped_variable_is_pointed_out_and_an_orchestrators_is_not() {
    let environment = [
        ("FAIRHOOK_LISTNE", "x"),
        ("FAIRHOOK_SERVICE_PORT_HTTP", "80"),
        ("FAIRHOOK_PORT", "x"),
        ("PATH", "/bin"),
    ];
    let warnings = load(&[], &environment).expect("loads").warnings;
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].ends_with("was FAIRHOOK_LISTEN meant?"));
}
