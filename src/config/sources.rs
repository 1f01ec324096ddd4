//! Where configuration comes from: each source becomes a layer of checked values that know their place.

use std::ops::Range;
use std::path::{Path, PathBuf};

use config::{ConfigError as LayerError, Environment, Map, Source, Value, ValueKind};
use toml::de::{DeTable, DeValue};

use super::{Config, ConfigError, Flags, Problem, keys};

/// Checked values of one source, under their full keys.
#[derive(Clone, Debug, Default)]
pub struct Layer {
    values: Map<String, Value>,
    /// Which file to read; only the environment says so.
    pub config_file: Option<PathBuf>,
}

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, LayerError> {
        Ok(self.values.clone())
    }
}

/// The variables `LEVERET_…` of this process. Empty ones count as not set.
pub fn environment() -> Environment {
    Environment::with_prefix("LEVERET").prefix_separator("_").separator("__").ignore_empty(true)
}

/// The layers, the last one uppermost, over the defaults.
pub fn merge(layers: impl IntoIterator<Item = Layer>) -> Result<Config, ConfigError> {
    let builder = layers.into_iter().fold(config::Config::builder(), |builder, layer| builder.add_source(layer));
    let merged = builder.build().and_then(config::Config::try_deserialize);
    merged.map_err(|error| Problem { place: "configuration".into(), text: error.to_string() }.into())
}

impl Layer {
    /// Reads a TOML file.
    pub fn from_file(path: &Path) -> Result<Layer, ConfigError> {
        let place = path.display().to_string();
        let problem = |text: String| Problem { place: place.clone(), text };
        let text = std::fs::read_to_string(path).map_err(|error| problem(format!("cannot be read: {error}")))?;
        let root = DeTable::parse(&text).map_err(|error| {
            let line = error.span().map(|span| line_of(&text, &span)).unwrap_or(1);
            Problem { place: format!("{place} line {line}"), text: format!("not TOML: {}", error.message()) }
        })?;
        let file = TomlFile { place: &place, text: &text };
        let mut values = Vec::new();
        let mut problems = Vec::new();
        flatten("", file.table(root.into_inner()), &mut values, &mut problems);
        Layer::checked(values, problems)
    }

    pub fn from_environment(environment: &Environment) -> Result<Layer, ConfigError> {
        let variables =
            environment.collect().map_err(|error| Problem { place: "environment".into(), text: error.to_string() })?;
        let mut values = Vec::new();
        let mut problems = Vec::new();
        let mut config_file = None;
        for (key, value) in variables {
            let place = format!("environment variable LEVERET_{}", key.replace('.', "__").to_uppercase());
            match key.as_str() {
                "config" => config_file = Some(value.kind.to_string().into()),
                _ if keys::is_known(&key) => values.push((key, Value::new(Some(&place), value.kind))),
                _ if is_service_link(&key, &value.kind.to_string()) => {}
                _ => problems.push(keys::unknown(&key, &place)),
            }
        }
        Ok(Layer { config_file, ..Layer::checked(values, problems)? })
    }

    /// What the command line replaces.
    pub fn from_flags(flags: &Flags) -> Result<Layer, ConfigError> {
        let mut values = Vec::new();
        let at = |flag: &str, kind: ValueKind| Value::new(Some(&flag.to_owned()), kind);
        let mut set = |key: &str, flag: &str, kind: ValueKind| values.push((key.to_owned(), at(flag, kind)));
        if !flags.listeners.is_empty() {
            let items = flags.listeners.iter().map(|listener| at("--listen", listener.as_str().into()));
            set("listeners", "--listen", ValueKind::Array(items.collect()));
        }
        if let Some(format) = &flags.log_format {
            set("log.format", "--log-format", format.as_str().into());
        }
        if let Some(level) = &flags.log_level {
            set("log.level", "--log-level", level.as_str().into());
        }
        Layer::checked(values, Vec::new())
    }

    fn checked(values: Vec<(String, Value)>, mut problems: Vec<Problem>) -> Result<Layer, ConfigError> {
        let mut layer = Layer::default();
        for (key, value) in values {
            match keys::accept(&key, value) {
                Ok(value) => _ = layer.values.insert(key, value),
                Err(problem) => problems.push(problem),
            }
        }
        // The shorter first, so that line 9 comes before line 10.
        problems.sort_by(|a, b| (a.place.len(), &a.place).cmp(&(b.place.len(), &b.place)));
        if problems.is_empty() { Ok(layer) } else { Err(ConfigError { problems }) }
    }
}

/// Whether it is a variable that Kubernetes and Docker set for a service named `leveret` or `leveret-…`, such as
/// `LEVERET_SERVICE_HOST` and `LEVERET_PORT_5672_TCP_ADDR`. They are nobody's settings and must not stop a start.
fn is_service_link(key: &str, value: &str) -> bool {
    let parts: Vec<&str> = key.split('_').collect();
    let names_service = parts.windows(2).any(|pair| matches!(pair, ["service", "host" | "port"]));
    let names_port = parts.windows(3).any(|three| matches!(three, ["port", _, "tcp" | "udp" | "sctp"]));
    names_service || names_port || (parts.ends_with(&["port"]) && value.contains("://"))
}

/// Puts the values of nested tables under their full keys; what is neither key nor section is a problem.
fn flatten(prefix: &str, table: Map<String, Value>, values: &mut Vec<(String, Value)>, problems: &mut Vec<Problem>) {
    for (name, value) in table {
        let key = format!("{prefix}{name}");
        match value.kind {
            _ if keys::is_known(&key) => values.push((key, value)),
            ValueKind::Table(inner) if keys::is_section(&key) => flatten(&format!("{key}."), inner, values, problems),
            _ => problems.push(keys::unknown(&key, value.origin().unwrap_or_default())),
        }
    }
}

/// Turns what was parsed of a TOML file into values that know their line.
struct TomlFile<'a> {
    place: &'a str,
    text: &'a str,
}

impl TomlFile<'_> {
    fn table(&self, table: DeTable<'_>) -> Map<String, Value> {
        let entries = table.into_iter().map(|(key, value)| {
            let span = key.span();
            (key.into_inner().into_owned(), self.value(&span, value.into_inner()))
        });
        entries.collect()
    }

    fn value(&self, span: &Range<usize>, value: DeValue<'_>) -> Value {
        let place = format!("{} line {}", self.place, line_of(self.text, span));
        let kind: ValueKind = match value {
            DeValue::String(text) => text.into_owned().into(),
            DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => number.into(),
                Err(_) => number.as_str().into(),
            },
            DeValue::Float(number) => number.as_str().parse().map_or(ValueKind::Nil, ValueKind::Float),
            DeValue::Boolean(truth) => truth.into(),
            DeValue::Datetime(time) => time.to_string().into(),
            DeValue::Array(items) => {
                let items = items.into_iter().map(|item| self.value(&item.span(), item.into_inner()));
                ValueKind::Array(items.collect())
            }
            DeValue::Table(table) => ValueKind::Table(self.table(table)),
        };
        Value::new(Some(&place), kind)
    }
}

fn line_of(text: &str, span: &Range<usize>) -> usize {
    1 + text.bytes().take(span.start).filter(|byte| *byte == b'\n').count()
}
