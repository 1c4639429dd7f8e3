//! The files that put the engine into containers. No container engine is needed: they are read, and held against what they
//! talk about.

use std::collections::BTreeSet;

use fairhook_common::config::SETTINGS;
use saphyr::{LoadableYamlNode, Yaml};

const COMPOSE: &str = include_str!("../../docker-compose.yml");
const DOCKERFILE: &str = include_str!("../../Dockerfile");
const README: &str = include_str!("../../README.md");

fn compose() -> Yaml<'static> {
    let mut documents = Yaml::load_from_str(COMPOSE).expect("docker-compose.yml is YAML");
    assert_eq!(documents.len(), 1);
    documents.remove(0)
}

/// What a mapping has, as its keys' names; nothing if it is none.
fn keys(node: Option<&Yaml<'_>>) -> BTreeSet<String> {
    let entries = node.and_then(Yaml::as_mapping).into_iter().flatten();
    entries.map(|(key, _)| key.as_str().expect("a key is text").to_owned()).collect()
}

fn at<'y>(node: &'y Yaml<'static>, path: &[&str]) -> Option<&'y Yaml<'static>> {
    path.iter().try_fold(node, |node, key| node.as_mapping_get(key))
}

#[test]
fn the_compose_file_holds_what_it_names() {
    let compose = compose();
    let services = keys(at(&compose, &["services"]));
    let expected = ["dispatcher", "ingest", "postgres", "rabbitmq", "redis"];
    assert_eq!(services.iter().map(String::as_str).collect::<Vec<_>>(), expected);
    let volumes = keys(at(&compose, &["volumes"]));
    for name in &services {
        let service = at(&compose, &["services", name]).expect("it was just named");
        assert!(at(service, &["healthcheck", "test"]).is_some(), "{name} has no health check");
        for other in keys(at(service, &["depends_on"])) {
            let condition = at(service, &["depends_on", &other, "condition"]).and_then(Yaml::as_str);
            assert!(services.contains(&other) && condition == Some("service_healthy"), "{name}: {other}");
        }
        for volume in at(service, &["volumes"]).and_then(Yaml::as_sequence).into_iter().flatten() {
            let volume = volume.as_str().and_then(|text| text.split(':').next()).expect("a short form");
            assert!(volumes.contains(volume), "{name} names the volume {volume}, which there is not");
        }
        for port in at(service, &["ports"]).and_then(Yaml::as_sequence).into_iter().flatten() {
            let port = port.as_str().expect("a short form");
            assert!(port.starts_with("127.0.0.1:"), "{name} publishes {port} beyond this machine");
        }
    }
}

#[test]
fn any_number_of_dispatchers_can_be_started() {
    let compose = compose();
    let dispatcher = at(&compose, &["services", "dispatcher"]).expect("a dispatcher");
    assert_eq!(at(dispatcher, &["deploy", "replicas"]).and_then(Yaml::as_integer), Some(2));
    for only_one in ["container_name", "hostname", "ports"] {
        assert!(at(dispatcher, &[only_one]).is_none(), "two cannot have the same {only_one}");
    }
}

#[test]
fn the_roles_get_settings_that_there_are_and_enough_of_them() {
    let compose = compose();
    let known: BTreeSet<_> =
        SETTINGS.iter().map(|setting| format!("FAIRHOOK_{}", setting.name.to_uppercase())).collect();
    for role in ["ingest", "dispatcher"] {
        let command = at(&compose, &["services", role, "command"]).and_then(Yaml::as_sequence);
        assert_eq!(command.and_then(|words| words[0].as_str()), Some(role), "the service runs its role");
        let given = keys(at(&compose, &["services", role, "environment"]));
        assert!(given.is_subset(&known), "{given:?}");
        for needed in ["FAIRHOOK_STORE_URL", "FAIRHOOK_QUEUE_URL", "FAIRHOOK_OPERATOR_KEY"] {
            assert!(given.contains(needed), "{role} lacks {needed}");
        }
    }
}

#[test]
fn the_image_is_built_as_the_readme_says_and_does_not_run_as_root() {
    let build = DOCKERFILE.lines().find_map(|line| line.strip_prefix("RUN cargo")).expect("it is built");
    let build = format!("cargo{build}");
    assert!(README.contains(&build), "the README does not say `{build}`");
    assert!(DOCKERFILE.matches("\nFROM ").count() == 2, "the compiler stays out of the image");
    let user = DOCKERFILE.lines().find_map(|line| line.strip_prefix("USER ")).expect("a user");
    assert!(!user.starts_with('0') && user != "root", "{user}");
    for binary in ["fairhook", "fairhook-ingest", "fairhook-dispatcher"] {
        assert!(DOCKERFILE.contains(&format!("/release/{binary} \\")), "{binary} is not in the image");
    }
}
