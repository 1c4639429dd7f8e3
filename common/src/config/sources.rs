//! Where values come from: flags, then the environment, then the file, then the default. Each setting that may be secret
//! also has a `…_file` variant that names a file with its value.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use super::settings::{SETTINGS, Secrecy, Setting};
use super::urls::has_password;
use super::{Config, ConfigError};
use crate::nearest::nearest;

const PREFIX: &str = "FAIRHOOK_";
const FILE_SUFFIX: &str = "_file";
const CONFIG: &str = "config";
/// Bounds of what is read: a configuration, or a secret, is never larger.
const FILE_BYTES: u64 = 1024 * 1024;

/// The environment, as far as it is ours. An empty variable counts as absent.
#[derive(Debug, Clone, Default)]
pub struct Environment(BTreeMap<String, OsString>);

impl Environment {
    /// This process's.
    pub fn of_process() -> Self {
        Self::from_pairs(std::env::vars_os())
    }

    /// Out of these variables.
    pub fn from_pairs(pairs: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let ours = pairs.into_iter().filter_map(|(name, value)| {
            let name = name.into_string().ok().filter(|name| name.starts_with(PREFIX))?;
            (!value.is_empty()).then_some((name, value))
        });
        Self(ours.collect())
    }

    fn get(&self, name: &str) -> Result<Option<String>, ConfigError> {
        let variable = variable(name);
        let Some(value) = self.0.get(&variable) else { return Ok(None) };
        let text = value.to_str().map(str::to_owned);
        text.map(Some).ok_or_else(|| ConfigError::new(name, Source::Environment(variable), "is not UTF-8"))
    }

    /// Variables that look like a mistyped setting. Others are left alone: orchestrators make some of our prefix.
    fn warnings(&self) -> Vec<String> {
        let known: Vec<String> = keys().into_iter().chain([CONFIG.to_owned()]).collect();
        let strangers = self.0.keys().filter(|name| !known.iter().any(|key| variable(key) == **name));
        let meant = |name: &String| {
            let near = nearest(&name[PREFIX.len()..], known.iter().map(String::as_str)).map(variable)?;
            Some(format!("the environment variable {name} is no setting; was {near} meant?"))
        };
        strangers.filter_map(meant).collect()
    }
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A flag.
    Flag(String),
    /// An environment variable.
    Environment(String),
    /// The configuration file.
    File(PathBuf),
    /// Nobody said anything.
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => write!(f, "from the flag {flag}"),
            Self::Environment(variable) => write!(f, "from the environment variable {variable}"),
            Self::File(path) => write!(f, "from the file {}", path.display()),
            Self::Default => f.write_str("the default"),
        }
    }
}

/// A setting with the value it has.
#[derive(Clone)]
pub(super) struct Resolved {
    setting: &'static Setting,
    value: Option<String>,
    source: Source,
}

impl Resolved {
    pub(super) fn read_into(&self, config: &mut Config) -> Result<(), ConfigError> {
        let Some(text) = &self.value else { return Ok(()) };
        let wrong = |problem| ConfigError::new(self.setting.name, &self.source, problem);
        if text.trim().is_empty() {
            return Err(wrong("is empty; leave it out instead".to_owned()));
        }
        // A flag that names a file is no such flag.
        let flag = Source::Flag(format!("--{}", dashed(self.setting.name)));
        if self.source == flag && self.setting.secrecy == Secrecy::Password && has_password(text) {
            let name = self.setting.name;
            return Err(wrong(format!(
                "a flag is seen by everybody on this machine and must not hold a password; use {} or {}",
                variable(name),
                variable(&format!("{name}{FILE_SUFFIX}"))
            )));
        }
        (self.setting.read)(text, config).map_err(wrong)
    }
}

impl fmt::Debug for Resolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One line of TOML (whose strings are spelt like JSON's); what is secret, or not set, is a comment.
impl fmt::Display for Resolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, source) = (self.setting.name, &self.source);
        match (&self.value, self.setting.secrecy) {
            (None, _) => write!(f, "# {name} is not set"),
            (Some(_), Secrecy::Secret) => write!(f, "# {name} is set and hidden, {source}"),
            (Some(url), Secrecy::Password) if has_password(url) => {
                write!(f, "# {name} is set and hidden, {source}")
            }
            (Some(text), _) => write!(f, "{name} = {}  # {source}", serde_json::Value::from(text.as_str())),
        }
    }
}

/// What was found.
pub(super) struct Found {
    pub(super) resolved: Vec<Resolved>,
    pub(super) warnings: Vec<String>,
}

/// The flags, one per setting, and `--config`.
pub fn args() -> Vec<clap::Arg> {
    let file = clap::Arg::new(CONFIG).long(CONFIG).value_name("FILE");
    let file =
        file.help(format!("A TOML file with settings, named as the flags [env: {}]", variable(CONFIG)));
    std::iter::once(file).chain(SETTINGS.iter().flat_map(setting_args)).collect()
}

fn setting_args(setting: &'static Setting) -> Vec<clap::Arg> {
    let default = setting.default.map(|text| format!(" [default: {text}]")).unwrap_or_default();
    let help = format!("{} [env: {}]{default}", setting.help, variable(setting.name));
    let plain = clap::Arg::new(setting.name).long(dashed(setting.name)).value_name(setting.value).help(help);
    let Some(key) = file_key(setting) else { return vec![plain] };
    let help = format!("A file that holds the {} [env: {}]", setting.name, variable(&key));
    let of_file = clap::Arg::new(key.clone()).long(dashed(&key)).value_name("FILE").help(help);
    match setting.secrecy {
        Secrecy::Secret => vec![of_file],
        Secrecy::Public | Secrecy::Password => vec![plain, of_file],
    }
}

/// Finds the value of every setting.
pub(super) fn find(flags: &[&clap::ArgMatches], environment: &Environment) -> Result<Found, ConfigError> {
    let config_file = match flag(flags, CONFIG) {
        Some(path) => Some((path, Source::Flag("--config".to_owned()))),
        None => environment.get(CONFIG)?.map(|path| (path, Source::Environment(variable(CONFIG)))),
    };
    let file = config_file.map(|(path, source)| File::read(PathBuf::from(path), &source)).transpose()?;
    let find_one = |setting| resolve(setting, flags, environment, file.as_ref());
    let resolved = SETTINGS.iter().map(find_one).collect::<Result<_, _>>()?;
    Ok(Found { resolved, warnings: environment.warnings() })
}

/// Gives a setting that nobody set another default; one that was set stays.
pub(super) fn default_to(resolved: &mut [Resolved], name: &str, value: &str) -> bool {
    let unset =
        resolved.iter_mut().find(|found| found.setting.name == name && found.source == Source::Default);
    unset.map(|found| found.value = Some(value.to_owned())).is_some()
}

pub(super) fn source_of(resolved: &[Resolved], name: &str) -> Source {
    let found = resolved.iter().find(|value| value.setting.name == name);
    found.map_or(Source::Default, |value| value.source.clone())
}

fn resolve(
    setting: &'static Setting,
    flags: &[&clap::ArgMatches],
    environment: &Environment,
    file: Option<&File>,
) -> Result<Resolved, ConfigError> {
    let from_flag =
        |key: &str| Ok(flag(flags, key).map(|text| (text, Source::Flag(format!("--{}", dashed(key))))));
    let from_environment =
        |key: &str| Ok(environment.get(key)?.map(|text| (text, Source::Environment(variable(key)))));
    let from_file = |key: &str| file.map_or(Ok(None), |file| file.get(key));
    let places: [&Place<'_>; 3] = [&from_flag, &from_environment, &from_file];
    for place in places {
        let plain = place(setting.name)?;
        let of_file = file_key(setting).map(|key| place(&key)).transpose()?.flatten();
        let (value, source) = match (plain, of_file) {
            (None, None) => continue,
            (Some((value, source)), None) => (value, source),
            (None, Some((path, source))) => (read_secret(setting, Path::new(&path), &source)?, source),
            (Some(_), Some((_, source))) => {
                let problem =
                    format!("says the same as {} in the same place; leave one of them out", setting.name);
                return Err(ConfigError::new(&format!("{}{FILE_SUFFIX}", setting.name), source, problem));
            }
        };
        return Ok(Resolved { setting, value: Some(value), source });
    }
    Ok(Resolved { setting, value: setting.default.map(str::to_owned), source: Source::Default })
}

type Place<'a> = dyn Fn(&str) -> Result<Option<(String, Source)>, ConfigError> + 'a;

/// A flag's text, whether this command has the flag or not.
fn flag(flags: &[&clap::ArgMatches], key: &str) -> Option<String> {
    flags.iter().find_map(|part| part.try_get_one::<String>(key).ok().flatten().cloned())
}

fn read_secret(setting: &Setting, path: &Path, source: &Source) -> Result<String, ConfigError> {
    let key = format!("{}{FILE_SUFFIX}", setting.name);
    let text = read_bounded(path).map_err(|problem| ConfigError::new(&key, source, problem))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

fn read_bounded(path: &Path) -> Result<String, String> {
    use std::io::Read;
    let cannot = |e: std::io::Error| format!("cannot read {}: {e}", path.display());
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(cannot)?;
    file.take(FILE_BYTES + 1).read_to_string(&mut text).map_err(cannot)?;
    if text.len() as u64 > FILE_BYTES {
        return Err(format!("{} is larger than {FILE_BYTES} bytes", path.display()));
    }
    Ok(text)
}

/// The configuration file; every key in it is known.
struct File {
    path: PathBuf,
    table: toml::Table,
}

impl File {
    fn read(path: PathBuf, source: &Source) -> Result<Self, ConfigError> {
        let wrong = |problem| ConfigError::new(CONFIG, source, problem);
        let text = read_bounded(&path).map_err(wrong)?;
        let table = text.parse::<toml::Table>().map_err(|e| {
            let line = e.span().map_or(1, |span| 1 + text[..span.start].matches('\n').count());
            wrong(format!("{} is not TOML, line {line}: {}", path.display(), e.message()))
        })?;
        let known = keys();
        if let Some(stranger) = table.keys().find(|key| !known.contains(key)) {
            let near = nearest(stranger, known.iter().map(String::as_str));
            let near = near.map(|near| format!("; was {near} meant?")).unwrap_or_default();
            let source = Source::File(path.clone());
            return Err(ConfigError::new(stranger, source, format!("there is no such setting{near}")));
        }
        Ok(Self { path, table })
    }

    fn get(&self, key: &str) -> Result<Option<(String, Source)>, ConfigError> {
        let source = Source::File(self.path.clone());
        let Some(value) = self.table.get(key) else { return Ok(None) };
        match text_of(value) {
            Some(text) => Ok(Some((text, source))),
            None => Err(ConfigError::new(key, source, format!("cannot be a {}", value.type_str()))),
        }
    }
}

/// A value's text: a string, a number, or a list of strings.
fn text_of(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Array(items) => {
            let words: Option<Vec<&str>> = items.iter().map(toml::Value::as_str).collect();
            words.map(|words| words.join(","))
        }
        _ => None,
    }
}

/// Every key that a file, or with the prefix the environment, may hold.
fn keys() -> Vec<String> {
    SETTINGS.iter().flat_map(|s| std::iter::once(s.name.to_owned()).chain(file_key(s))).collect()
}

fn file_key(setting: &Setting) -> Option<String> {
    (setting.secrecy != Secrecy::Public).then(|| format!("{}{FILE_SUFFIX}", setting.name))
}

fn variable(name: &str) -> String {
    format!("{PREFIX}{}", name.to_ascii_uppercase())
}

fn dashed(name: &str) -> String {
    name.replace('_', "-")
}
