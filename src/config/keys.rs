//! Every configuration key and what it takes.

use std::str::FromStr;

use config::{Map, Value, ValueKind};

use super::{HIDDEN, Problem, UserConfig};
use crate::broker::user::PasswordHash;
use crate::connection::sasl::Mechanism;
use crate::limits::{
    DiskFreeLimit, LIMITS, Limit, MemoryHighWatermark, SHORT_STRING_MAX_BYTES, SYNC_INTERVAL_MS, parse_bytes,
};

/// What a key takes. The environment gives everything as text, so that all of them can be read from text.
#[derive(Clone, Copy)]
enum Kind {
    /// Any text but the empty one.
    Text,
    /// The same, not repeated in errors.
    Secret,
    /// A name of a user, or `false`.
    NameOrFalse,
    /// Three numbers with dots.
    Version,
    OneOf(&'static [&'static str]),
    /// A list; from the environment, separated by commas, `none` for the empty one.
    List(Item),
    Users,
    Number(&'static Limit),
    /// From 0.0 to 1.0.
    Share,
    Watermark,
    DiskFree,
    /// `true` or `false`.
    Flag,
}

/// What the items of a list are.
#[derive(Clone, Copy)]
enum Item {
    Listener,
    /// A name of a virtual host or user, or a tag.
    Name,
    Mechanism,
}

const KEYS: &[(&str, Kind)] = &[
    ("listeners", Kind::List(Item::Listener)),
    ("data_dir", Kind::Text),
    ("ctl_socket", Kind::Text),
    ("load_definitions", Kind::Text),
    ("definitions.skip_if_unchanged", Kind::Flag),
    ("vhosts", Kind::List(Item::Name)),
    ("default_user", Kind::NameOrFalse),
    ("default_pass", Kind::Secret),
    ("default_user_tags", Kind::List(Item::Name)),
    ("loopback_users", Kind::List(Item::Name)),
    ("auth_mechanisms", Kind::List(Item::Mechanism)),
    ("anonymous_login_user", Kind::NameOrFalse),
    ("anonymous_login_pass", Kind::Secret),
    ("users", Kind::Users),
    ("server.product", Kind::Text),
    ("server.version", Kind::Version),
    ("server.cluster_name", Kind::Text),
    ("log.format", Kind::OneOf(&["plain", "json"])),
    ("log.level", Kind::OneOf(&["none", "error", "warning", "info", "debug", "trace"])),
    ("storage.sync", Kind::OneOf(&["always", "interval", "never"])),
    ("storage.sync_interval_ms", Kind::Number(&SYNC_INTERVAL_MS)),
    ("limits.memory_high_watermark", Kind::Watermark),
    ("limits.memory_paging_share", Kind::Share),
    ("limits.disk_free_limit", Kind::DiskFree),
];

/// All keys, in full.
pub fn names() -> impl Iterator<Item = String> {
    let limits = LIMITS.iter().map(|limit| format!("limits.{}", limit.name));
    KEYS.iter().map(|(name, _)| (*name).to_owned()).chain(limits)
}

pub fn is_known(key: &str) -> bool {
    kind_of(key).is_some()
}

/// Whether there are keys below it.
pub fn is_section(key: &str) -> bool {
    names().any(|name| name.strip_prefix(key).is_some_and(|rest| rest.starts_with('.')))
}

/// The error for a key that does not exist, with one that may have been meant.
pub fn unknown(key: &str, place: &str) -> Problem {
    let last = key.rsplit('.').next().unwrap_or(key);
    let similar = names().find(|name| {
        let own = name.rsplit('.').next().unwrap_or(name);
        own.contains(last) || last.contains(own)
    });
    let hint = similar.map(|name| format!("; is `{name}` meant?")).unwrap_or_default();
    Problem { place: place.into(), text: format!("unknown key `{key}`{hint}") }
}

/// The value in the form in which the configuration takes it, or what is wrong with it.
pub fn accept(key: &str, value: Value) -> Result<Value, Problem> {
    let Some(kind) = kind_of(key) else {
        return Err(unknown(key, place(&value)));
    };
    match kind {
        Kind::Text => accept_text(key, value, "text that is not empty", |text| !text.is_empty()),
        Kind::Version => accept_text(key, value, "three numbers, such as \"3.13.7\"", is_version),
        Kind::Secret => accept_secret(key, value),
        Kind::NameOrFalse => accept_name_or_false(key, value),
        Kind::OneOf(words) => {
            let expected = format!("one of {}", words.join(", "));
            accept_text(key, value, &expected, |text| words.contains(&text))
        }
        Kind::Number(limit) => accept_number(key, value, limit),
        Kind::Share => accept_share(key, value),
        Kind::Watermark => {
            accept_size(key, value, MemoryHighWatermark::EXPECTED, |text| MemoryHighWatermark::parse(text).is_some())
        }
        Kind::DiskFree => accept_size(key, value, DiskFreeLimit::EXPECTED, |text| DiskFreeLimit::parse(text).is_some()),
        Kind::Flag => accept_flag(key, value),
        Kind::List(item) => accept_list(key, value, item),
        Kind::Users => accept_users(key, value),
    }
}

/// Names travel as short strings.
pub fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= SHORT_STRING_MAX_BYTES
}

fn kind_of(key: &str) -> Option<Kind> {
    match key.strip_prefix("limits.").and_then(Limit::named) {
        Some(limit) => Some(Kind::Number(limit)),
        None => KEYS.iter().find(|(name, _)| *name == key).map(|(_, kind)| *kind),
    }
}

fn place(value: &Value) -> &str {
    value.origin().unwrap_or("configuration")
}

/// The same value with other content, still from where it was.
fn replaced(value: &Value, kind: impl Into<ValueKind>) -> Value {
    Value::new(value.origin().map(str::to_owned).as_ref(), kind)
}

fn refused(key: &str, value: &Value, expected: &str) -> Problem {
    let shown = match &value.kind {
        ValueKind::String(text) => format!("{text:?}"),
        ValueKind::Array(_) => "a list".into(),
        ValueKind::Table(_) => "a table".into(),
        scalar => scalar.to_string(),
    };
    Problem { place: place(value).into(), text: format!("{key} = {shown}: expected {expected}") }
}

/// As [`refused`], without the value.
fn refused_unseen(key: &str, value: &Value, expected: &str) -> Problem {
    Problem { place: place(value).into(), text: format!("{key}: expected {expected}") }
}

fn accept_text(key: &str, value: Value, expected: &str, is_allowed: impl Fn(&str) -> bool) -> Result<Value, Problem> {
    match &value.kind {
        ValueKind::String(text) if is_allowed(text) => Ok(value),
        _ => Err(refused(key, &value, expected)),
    }
}

/// What is printed in place of a secret is refused: it would become the password of whoever loads what
/// `check-config` has printed.
fn accept_secret(key: &str, value: Value) -> Result<Value, Problem> {
    match &value.kind {
        ValueKind::String(text) if !text.is_empty() && text != HIDDEN => Ok(value),
        _ => Err(refused_unseen(key, &value, "the password itself, which is not empty")),
    }
}

fn accept_name_or_false(key: &str, value: Value) -> Result<Value, Problem> {
    match &value.kind {
        ValueKind::Boolean(false) => Ok(replaced(&value, ValueKind::Nil)),
        ValueKind::String(text) if text == "false" => Ok(replaced(&value, ValueKind::Nil)),
        ValueKind::String(text) if is_name(text) => Ok(value),
        _ => Err(refused(key, &value, "a name of 1 to 255 bytes, or false")),
    }
}

fn accept_flag(key: &str, value: Value) -> Result<Value, Problem> {
    let flag = match &value.kind {
        ValueKind::Boolean(flag) => Some(*flag),
        ValueKind::String(text) => text.parse().ok(),
        _ => None,
    };
    match flag {
        Some(flag) => Ok(replaced(&value, flag)),
        None => Err(refused(key, &value, "true or false")),
    }
}

fn accept_number(key: &str, value: Value, limit: &Limit) -> Result<Value, Problem> {
    let number = match &value.kind {
        ValueKind::I64(number) => u64::try_from(*number).ok(),
        ValueKind::String(text) if text == "infinity" && limit.zero_is_none => Some(0),
        ValueKind::String(text) if limit.is_bytes() => parse_bytes(text),
        ValueKind::String(text) => text.parse().ok(),
        _ => None,
    };
    match number {
        Some(number) if limit.allows(number) => Ok(replaced(&value, number)),
        _ => Err(refused(key, &value, &limit.to_string())),
    }
}

fn accept_share(key: &str, value: Value) -> Result<Value, Problem> {
    let share = match &value.kind {
        ValueKind::Float(share) => Some(*share),
        ValueKind::I64(share) => Some(*share as f64),
        ValueKind::String(text) => text.parse().ok(),
        _ => None,
    };
    match share {
        Some(share) if (0.0..=1.0).contains(&share) => Ok(replaced(&value, share)),
        _ => Err(refused(key, &value, "a share from 0.0 to 1.0")),
    }
}

/// A share or a number of bytes, which the decimal point tells apart: it has to stay where it was.
fn accept_size(key: &str, value: Value, expected: &str, is_allowed: impl Fn(&str) -> bool) -> Result<Value, Problem> {
    let text = match &value.kind {
        ValueKind::String(text) => text.clone(),
        ValueKind::Float(share) => format!("{share:?}"),
        ValueKind::I64(_) => value.kind.to_string(),
        _ => return Err(refused(key, &value, expected)),
    };
    if is_allowed(&text) { Ok(replaced(&value, text)) } else { Err(refused(key, &value, expected)) }
}

fn accept_list(key: &str, value: Value, item: Item) -> Result<Value, Problem> {
    let items = match &value.kind {
        ValueKind::Array(items) => items.clone(),
        ValueKind::String(text) => split_list(&value, text),
        _ => return Err(refused(key, &value, "a list")),
    };
    if items.is_empty() && matches!(key, "listeners" | "vhosts" | "auth_mechanisms") {
        return Err(refused(key, &value, "at least one item"));
    }
    let items: Result<Vec<Value>, Problem> = items.into_iter().map(|value| accept_item(key, value, item)).collect();
    Ok(replaced(&value, items?))
}

fn split_list(value: &Value, text: &str) -> Vec<Value> {
    match text {
        "none" => Vec::new(),
        _ => text.split(',').map(|item| replaced(value, item.trim())).collect(),
    }
}

fn accept_item(key: &str, value: Value, item: Item) -> Result<Value, Problem> {
    match item {
        Item::Name => accept_text(key, value, "names of 1 to 255 bytes", is_name),
        Item::Mechanism => {
            let expected = format!("some of {}", Mechanism::ALL.map(Mechanism::name).join(", "));
            accept_text(key, value, &expected, |text| Mechanism::from_str(text).is_ok())
        }
        Item::Listener => match listener(&value.kind.to_string()) {
            Some(listener) => Ok(replaced(&value, listener)),
            None => Err(refused(key, &value, "HOST:PORT each, such as \"127.0.0.1:5672\" or \"[::]:5672\"")),
        },
    }
}

/// `HOST:PORT`, from itself or from a port alone, which means all addresses.
fn listener(text: &str) -> Option<String> {
    let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
    let port: u16 = match (host, port) {
        ("", "") => return None,
        _ => port.parse().ok()?,
    };
    let is_ipv6 = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    match (host, is_ipv6) {
        ("" | "*", _) => Some(format!("[::]:{port}")),
        (_, Some(address)) => address.parse::<std::net::Ipv6Addr>().ok().map(|_| format!("{host}:{port}")),
        (_, None) => (!host.contains([':', '[', ']', ' '])).then(|| format!("{host}:{port}")),
    }
}

fn is_version(text: &str) -> bool {
    let parts: Vec<&str> = text.split('.').collect();
    parts.len() == 3 && parts.iter().all(|part| part.parse::<u32>().is_ok())
}

/// A list of tables; from the environment, `NAME:PASSWORD` separated by commas.
fn accept_users(key: &str, value: Value) -> Result<Value, Problem> {
    let users: Result<Vec<Value>, Problem> = match &value.kind {
        ValueKind::Array(users) => users.iter().map(|user| accept_user(user.clone())).collect(),
        ValueKind::String(text) => split_list(&value, text).iter().map(|user| user_of_pair(key, user)).collect(),
        _ => Err(refused_unseen(key, &value, USERS_EXPECTED)),
    };
    Ok(replaced(&value, users?))
}

const USERS_EXPECTED: &str = "tables [[users]] with name and password, or NAME:PASSWORD in the environment";

fn user_of_pair(key: &str, value: &Value) -> Result<Value, Problem> {
    match UserConfig::parse(&value.kind.to_string()) {
        Some(UserConfig { name, password: Some(password), .. }) => {
            let fields = [("name", name.as_str()), ("password", password.expose())];
            let table = fields.map(|(field, text)| (field.to_owned(), replaced(value, text)));
            Ok(replaced(value, Map::from_iter(table)))
        }
        _ => Err(refused_unseen(key, value, USERS_EXPECTED)),
    }
}

fn accept_user(user: Value) -> Result<Value, Problem> {
    let ValueKind::Table(fields) = &user.kind else {
        return Err(refused_unseen("users", &user, USERS_EXPECTED));
    };
    let mut accepted = Map::new();
    for (field, value) in fields.clone() {
        let value = match field.as_str() {
            "name" => accept_text("users.name", value, "a name of 1 to 255 bytes", is_name)?,
            "password" => accept_secret("users.password", value)?,
            "password_hash" => accept_hash(value)?,
            "tags" => accept_list("users.tags", value, Item::Name)?,
            _ => return Err(unknown(&format!("users.{field}"), place(&value))),
        };
        accepted.insert(field, value);
    }
    let has = |field: &str| accepted.contains_key(field);
    if !has("name") || has("password") == has("password_hash") {
        let expected = "each user to have a name, and either a password or a password_hash";
        return Err(refused_unseen("users", &user, expected));
    }
    Ok(replaced(&user, accepted))
}

fn accept_hash(value: Value) -> Result<Value, Problem> {
    match &value.kind {
        ValueKind::String(text) if PasswordHash::decode(text).is_some() => Ok(value),
        _ => Err(refused_unseen("users.password_hash", &value, PasswordHash::EXPECTED)),
    }
}
