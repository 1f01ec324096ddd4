//! The broker's configuration: defaults, then a TOML file, then the environment, then flags, each over the one
//! before. [`keys`] says which keys there are and what each takes, [`sources`] where values come from.
//!
//! A key that is not known and a value that is not allowed are errors wherever they come from, even where a later
//! source would have replaced them. All that is wrong in one source is reported at once, each with its place.

mod keys;
pub mod memory;
mod sources;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};

use crate::broker::user::{PasswordHash, UserDefinition, UserStore};
use crate::connection::sasl::{AnonymousLogin, Mechanism, Sasl};
use crate::limits::{Limits, SYNC_INTERVAL_MS};
use crate::storage::log::SyncPolicy;

/// The port of AMQP without TLS (registered with IANA).
pub const AMQP_PORT: u16 = 5672;

/// All addresses, IPv6 and IPv4 on one socket. Where there is no IPv6, it stands for `0.0.0.0:5672`.
pub const DEFAULT_LISTENER: &str = "[::]:5672";

/// What the broker runs with. [`Config::default`] is what it runs with if nothing is configured.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// `HOST:PORT` each, IPv6 addresses in brackets; port 0 takes a free one.
    pub listeners: Vec<String>,
    /// Where what outlives the process is kept; of one process at a time.
    #[serde(serialize_with = "path_as_text")]
    pub data_dir: PathBuf,
    /// The local socket on which `leveret ctl` reaches the broker; `None` for `ctl.sock` in the data directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ctl_socket: Option<PathBuf>,
    /// A file of definitions as JSON that is imported at each start, or a directory of such files.
    #[serde(serialize_with = "path_or_none", skip_serializing_if = "Option::is_none")]
    pub load_definitions: Option<PathBuf>,
    /// Virtual hosts that are made at start if they are not there.
    pub vhosts: Vec<String>,
    /// The user that is made at the first start; `None` (written `false`) for none.
    #[serde(serialize_with = "name_or_false")]
    pub default_user: Option<String>,
    pub default_pass: Secret,
    pub default_user_tags: Vec<String>,
    /// Users who may connect from this machine only.
    pub loopback_users: Vec<String>,
    /// In the order in which they are offered.
    pub auth_mechanisms: Vec<Mechanism>,
    /// Whom ANONYMOUS, where it is offered, logs a client in as; `None` (written `false`) withdraws it.
    #[serde(serialize_with = "name_or_false")]
    pub anonymous_login_user: Option<String>,
    pub anonymous_login_pass: Secret,
    /// What the broker says of itself in `connection.start`.
    pub server: ServerConfig,
    pub log: LogConfig,
    pub storage: StorageConfig,
    pub definitions: DefinitionsConfig,
    pub limits: Limits,
    /// Users besides the default one, which they replace if they have its name.
    pub users: Vec<UserConfig>,
}

/// Server properties that client libraries choose their behaviour by.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerConfig {
    pub product: String,
    /// Three numbers, `x.y.z`: clients compare it.
    pub version: String,
    pub cluster_name: String,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    pub format: LogFormat,
    pub level: LogLevel,
}

/// How a line of the log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// `2026-01-31 12:00:00.123456+00:00 [info] text`, as RabbitMQ does.
    #[default]
    Plain,
    /// One JSON object a line.
    Json,
}

/// The least important lines that are still logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    None,
    Error,
    Warning,
    #[default]
    Info,
    Debug,
    Trace,
}

/// How definitions are imported at start.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct DefinitionsConfig {
    /// Only if they are not what was imported last.
    pub skip_if_unchanged: bool,
}

/// When what is durable is synced to the disk.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct StorageConfig {
    pub sync: SyncMode,
    /// For [`SyncMode::Interval`].
    pub sync_interval_ms: u64,
}

/// What a confirm promises.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SyncMode {
    /// What is confirmed outlives a power failure.
    #[default]
    Always,
    /// It outlives the process; a power failure may take the last interval.
    Interval,
    /// It outlives the process; a power failure may take whatever the system had not written.
    Never,
}

/// A user as configured: with a password, or with its hash as RabbitMQ's definitions have it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct UserConfig {
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_hash: Option<Secret>,
    pub tags: Vec<String>,
}

/// What is shown in place of a [`Secret`].
const HIDDEN: &str = "(hidden)";

/// Text that is never shown: not in logs, not in the printed configuration.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The text itself, for whoever checks or hashes it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(HIDDEN)
    }
}

fn path_as_text<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&path.display())
}

fn path_or_none<S: Serializer>(path: &Option<PathBuf>, serializer: S) -> Result<S::Ok, S::Error> {
    match path {
        Some(path) => path_as_text(path, serializer),
        None => serializer.serialize_none(),
    }
}

fn name_or_false<S: Serializer>(name: &Option<String>, serializer: S) -> Result<S::Ok, S::Error> {
    match name {
        Some(name) => serializer.serialize_str(name),
        None => serializer.serialize_bool(false),
    }
}

impl Default for Config {
    fn default() -> Config {
        Config {
            listeners: vec![DEFAULT_LISTENER.into()],
            data_dir: "leveret-data".into(),
            ctl_socket: None,
            load_definitions: None,
            vhosts: vec!["/".into()],
            default_user: Some("guest".into()),
            default_pass: Secret::new("guest"),
            default_user_tags: vec!["administrator".into()],
            loopback_users: vec!["guest".into()],
            auth_mechanisms: vec![Mechanism::Plain, Mechanism::Amqplain],
            anonymous_login_user: Some("guest".into()),
            anonymous_login_pass: Secret::new("guest"),
            server: ServerConfig::default(),
            log: LogConfig::default(),
            storage: StorageConfig::default(),
            definitions: DefinitionsConfig::default(),
            limits: Limits::default(),
            users: Vec::new(),
        }
    }
}

impl Default for StorageConfig {
    fn default() -> StorageConfig {
        StorageConfig { sync: SyncMode::default(), sync_interval_ms: SYNC_INTERVAL_MS.default }
    }
}

impl StorageConfig {
    pub fn policy(&self) -> SyncPolicy {
        match self.sync {
            SyncMode::Always => SyncPolicy::Always,
            SyncMode::Interval => SyncPolicy::Interval(Duration::from_millis(self.sync_interval_ms)),
            SyncMode::Never => SyncPolicy::Never,
        }
    }
}

impl Default for ServerConfig {
    fn default() -> ServerConfig {
        ServerConfig {
            product: "RabbitMQ".into(),
            version: "3.13.7".into(),
            cluster_name: format!("leveret@{}", hostname()),
        }
    }
}

/// What the command line says, unchecked. Listeners, directory and log replace what file and environment say;
/// users and virtual hosts are added to theirs.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    pub listeners: Vec<String>,
    pub data_dir: Option<PathBuf>,
    pub log_format: Option<String>,
    pub log_level: Option<String>,
    /// `NAME:PASSWORD` each.
    pub users: Vec<String>,
    pub vhosts: Vec<String>,
}

/// All that is wrong with the configuration, a line each.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n"))]
pub struct ConfigError {
    pub problems: Vec<Problem>,
}

/// One thing wrong, and where: a file with its line, an environment variable, or a flag.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {text}")]
pub struct Problem {
    pub place: String,
    pub text: String,
}

impl From<Problem> for ConfigError {
    fn from(problem: Problem) -> ConfigError {
        ConfigError { problems: vec![problem] }
    }
}

impl Config {
    /// Loads the configuration: the file, if one is given or the environment names one in `LEVERET_CONFIG`; the
    /// other `LEVERET_…` variables; the flags.
    pub fn load(file: Option<&Path>, flags: Flags) -> Result<Config, ConfigError> {
        Config::load_with(file, sources::environment(), flags)
    }

    fn load_with(file: Option<&Path>, environment: config::Environment, flags: Flags) -> Result<Config, ConfigError> {
        let environment = sources::Layer::from_environment(&environment)?;
        let file = match file.or(environment.config_file.as_deref()) {
            Some(path) => sources::Layer::from_file(path)?,
            None => sources::Layer::default(),
        };
        let layers = [file, environment, sources::Layer::from_flags(&flags)?];
        let mut config: Config = sources::merge(layers)?;
        config.apply(flags)?;
        config.check()?;
        Ok(config)
    }

    /// What the command line adds, and the directory, whose path need not be text.
    fn apply(&mut self, flags: Flags) -> Result<(), Problem> {
        if let Some(dir) = flags.data_dir {
            if dir.as_os_str().is_empty() {
                return Err(Problem { place: "--data-dir".into(), text: "expected a directory".into() });
            }
            self.data_dir = dir;
        }
        for user in flags.users {
            let refused = || Problem { place: "--user".into(), text: "expected NAME:PASSWORD".into() };
            self.users.push(UserConfig::parse(&user).ok_or_else(refused)?);
        }
        for vhost in flags.vhosts {
            if !keys::is_name(&vhost) {
                let text = format!("{vhost:?}: expected a name of 1 to 255 bytes");
                return Err(Problem { place: "--vhost".into(), text });
            }
            if !self.vhosts.contains(&vhost) {
                self.vhosts.push(vhost);
            }
        }
        Ok(())
    }

    /// What only the whole can show.
    fn check(&self) -> Result<(), ConfigError> {
        let Limits { write_buffer_low_bytes: low, write_buffer_high_bytes: high, .. } = self.limits;
        if low >= high {
            let text = format!("write_buffer_low_bytes = {low} has to be below write_buffer_high_bytes = {high}");
            return Err(Problem { place: "limits".into(), text }.into());
        }
        Ok(())
    }

    /// The configuration as TOML, passwords hidden.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("every part of the configuration can be written as TOML")
    }

    /// The default user, if there is to be one.
    pub fn default_user(&self) -> Option<UserConfig> {
        self.default_user.as_ref().map(|name| UserConfig {
            name: name.clone(),
            password: Some(self.default_pass.clone()),
            password_hash: None,
            tags: self.default_user_tags.clone(),
        })
    }

    /// A store with the configured users and no others.
    pub fn user_store(&self) -> UserStore {
        let store = UserStore::new(self.loopback_users.iter().cloned());
        for user in self.default_user().iter().chain(&self.users) {
            if let Some((password, tags)) = user.account(None) {
                store.put(UserDefinition::new(user.name.as_str(), password, tags));
            }
        }
        store
    }

    /// The authentication mechanisms to offer.
    pub fn sasl(&self) -> Sasl {
        let anonymous = self
            .anonymous_login_user
            .clone()
            .map(|user| AnonymousLogin { user, password: self.anonymous_login_pass.expose().to_owned() });
        Sasl::new(&self.auth_mechanisms, anonymous)
    }
}

impl UserConfig {
    /// A user from `NAME:PASSWORD`; the name ends at the first colon. `None` if either is empty or the name too
    /// long.
    pub fn parse(text: &str) -> Option<UserConfig> {
        let (name, password) = text.split_once(':')?;
        (keys::is_name(name) && !password.is_empty()).then(|| UserConfig {
            name: name.into(),
            password: Some(Secret::new(password)),
            ..UserConfig::default()
        })
    }

    /// Password and tags. If there is a `known` hash and it is one of the password, it is kept, as every hashing gives
    /// another. `None` only for a user that did not come from [`Config::load`] and has neither password nor hash.
    pub fn account(&self, known: Option<PasswordHash>) -> Option<(PasswordHash, Vec<Arc<str>>)> {
        let hash = match (&self.password, &self.password_hash) {
            (Some(password), _) => {
                let password = password.expose().as_bytes();
                known.filter(|known| known.matches(password)).unwrap_or_else(|| PasswordHash::of(password))
            }
            (None, Some(hash)) => PasswordHash::decode(hash.expose())?,
            (None, None) => return None,
        };
        Some((hash, self.tags.iter().map(|tag| tag.as_str().into()).collect()))
    }
}

/// The name of this machine, as far as it can be had without asking the network.
fn hostname() -> String {
    let known = std::fs::read_to_string("/proc/sys/kernel/hostname").or_else(|_| std::env::var("HOSTNAME"));
    match known.as_deref().map(str::trim) {
        Ok(name) if !name.is_empty() => name.into(),
        _ => "localhost".into(),
    }
}

#[cfg(test)]
mod tests;
