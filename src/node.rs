//! What a process is called among the others, for people.

use fairhook_common::config::Config;

/// The only process of an embedded engine.
const EMBEDDED: &str = "embedded";

/// The configured name, else the host's name and the process's id: several processes of a host are told apart.
pub fn name(config: &Config) -> String {
    match &config.node_name {
        Some(name) => name.clone(),
        None if config.is_distributed() => {
            let host = rustix::system::uname();
            format!("{}-{}", host.nodename().to_string_lossy(), std::process::id())
        }
        None => EMBEDDED.to_owned(),
    }
}
