//! Definitions that are loaded when the broker starts: `load_definitions`.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::document::Document;
use super::fields::DefinitionsError;
use super::report::Report;
use crate::broker::Broker;
use crate::config::Config;

/// The global parameter under which the hash of what was imported last is kept, as in RabbitMQ.
pub const HASH_PARAMETER: &str = "imported_definition_hash_value";

/// Files that have been read, and are yet to be imported.
#[derive(Debug, Default)]
pub struct ToLoad {
    files: Vec<(PathBuf, Value)>,
    /// Of the contents of all files, in hexadecimal digits.
    hash: String,
}

impl ToLoad {
    /// Reads what the configuration names: a file, or every file of a directory whose name ends in `.json`, in the order
    /// of their names. Nothing if it names nothing.
    ///
    /// # Errors
    /// If a file cannot be read or is not understood, with its path and the place in it.
    pub fn read(config: &Config) -> Result<ToLoad, String> {
        let Some(path) = &config.load_definitions else { return Ok(ToLoad::default()) };
        let mut hash = Sha256::new();
        let mut files = Vec::new();
        for path in files_at(path)? {
            let bytes = read_file(&path, config.limits.definitions_bytes)?;
            hash.update((bytes.len() as u64).to_be_bytes());
            hash.update(&bytes);
            let wrong = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
            let value = serde_json::from_slice(&bytes).map_err(|error| wrong(&error))?;
            // So that either all files are imported or none.
            Document::read(&value, None, config.limits.table_depth).map_err(|error| wrong(&error))?;
            files.push((path, value));
        }
        let hash = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(ToLoad { files, hash })
    }

    /// Whether users are defined. Then no default user is made.
    pub fn defines_users(&self) -> bool {
        let has_users = |value: &Value| value["users"].as_array().is_some_and(|users| !users.is_empty());
        self.files.iter().any(|(_, value)| has_users(value))
    }

    /// Imports all files. With `definitions.skip_if_unchanged`, not if they are what was imported last.
    ///
    /// # Errors
    /// If a document is not understood.
    pub fn import(self, broker: &Broker) -> Result<(), String> {
        if self.files.is_empty() {
            return Ok(());
        }
        let hash = Arc::new(Value::from(self.hash));
        let skips = broker.config.definitions.skip_if_unchanged;
        if skips && broker.global_parameters.get(HASH_PARAMETER).as_ref() == Some(&hash) {
            tracing::info!("definitions have not changed since they were imported");
            return Ok(());
        }
        for (path, value) in &self.files {
            let report = broker.import_definitions(value).map_err(|error| in_file(path, &error))?;
            log(path, &report);
        }
        if skips {
            let kept = broker.set_global_parameter(HASH_PARAMETER, (*hash).clone());
            kept.map_err(|error| format!("cannot keep the hash of the definitions: {error}"))?;
        }
        Ok(())
    }
}

fn files_at(path: &Path) -> Result<Vec<PathBuf>, String> {
    let unreadable = |error| format!("load_definitions: {}: {error}", path.display());
    if !fs::metadata(path).map_err(unreadable)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = fs::read_dir(path).map_err(unreadable)?;
    let mut files: Vec<PathBuf> =
        entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>().map_err(unreadable)?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "json") && path.is_file());
    files.sort();
    Ok(files)
}

fn read_file(path: &Path, max_bytes: u64) -> Result<Vec<u8>, String> {
    let unreadable = |error: std::io::Error| format!("{}: {error}", path.display());
    let bytes = fs::metadata(path).map_err(unreadable)?.len();
    if bytes > max_bytes {
        let path = path.display();
        return Err(format!("{path}: it has {bytes} bytes, and limits.definitions_bytes allows {max_bytes}"));
    }
    fs::read(path).map_err(unreadable)
}

fn in_file(path: &Path, error: &DefinitionsError) -> String {
    format!("{}: {error}", path.display())
}

fn log(path: &Path, report: &Report) {
    tracing::info!("imported definitions of {}", path.display());
    for (kind, counts) in &report.kinds {
        let super::Counts { created, changed, existed, skipped } = counts;
        tracing::info!("{kind}: {created} created, {changed} changed, {existed} existed, {skipped} skipped");
    }
}
