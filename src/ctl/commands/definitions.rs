//! Definitions out of and into the broker, as one JSON document.

use std::path::{Path, PathBuf};

use clap::{Subcommand, ValueEnum};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Context, Group, Reply, Target};
use crate::ctl::request::Refusal;

#[derive(Debug, Subcommand, Serialize, Deserialize)]
#[command(rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum Definitions {
    /// Write everything but messages to a file, as JSON
    ExportDefinitions {
        /// A file, which only its owner can read, or - for standard output
        #[arg(value_name = "FILE")]
        file: PathBuf,
        #[arg(long, value_enum, default_value_t)]
        format: DocumentFormat,
    },
    /// Take in what such a file defines
    ImportDefinitions {
        /// A file, or - for standard input [default: -]
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
        #[arg(long, value_enum, default_value_t)]
        format: DocumentFormat,
        /// What is there as the document says is left alone in any case: for the sake of scripts
        #[arg(long = "skip-if-unchanged")]
        skip_if_unchanged: bool,
        /// What the file has, once it is read.
        #[arg(skip)]
        document: Option<Value>,
    },
}

/// How a document is written; RabbitMQ knows another one, of its own.
#[derive(Clone, Copy, Debug, Default, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DocumentFormat {
    #[default]
    Json,
}

impl Definitions {
    /// Where an import is to be read from, `None` for standard input, and where what is read goes.
    pub fn to_read(&mut self) -> Option<(Option<&PathBuf>, &mut Option<Value>)> {
        match self {
            Definitions::ImportDefinitions { file, document, .. } => {
                Some((file.as_ref().filter(|file| !is_standard(file)), document))
            }
            Definitions::ExportDefinitions { .. } => None,
        }
    }

    /// The file that an export goes to; `None` for standard output, and for an import.
    pub fn to_write(&self) -> Option<&PathBuf> {
        match self {
            Definitions::ExportDefinitions { file, .. } => Some(file).filter(|file| !is_standard(file)),
            Definitions::ImportDefinitions { .. } => None,
        }
    }
}

fn is_standard(file: &Path) -> bool {
    file.as_os_str() == "-"
}

impl Group for Definitions {
    fn banner(&self, _: &Target<'_>) -> Option<String> {
        match self {
            Definitions::ExportDefinitions { .. } => {
                let file = self.to_write()?.display();
                Some(format!("Exporting definitions in JSON to a file at \"{file}\" ..."))
            }
            Definitions::ImportDefinitions { file: Some(file), .. } if !is_standard(file) => {
                Some(format!("Importing definitions in JSON from a file at \"{}\" ...", file.display()))
            }
            Definitions::ImportDefinitions { .. } => {
                Some("Importing definitions in JSON from standard input ...".to_owned())
            }
        }
    }

    fn carry_out(&self, context: &Context) -> Result<Reply, Refusal> {
        match self {
            Definitions::ExportDefinitions { .. } => Ok(Reply::Value(context.broker.export_definitions())),
            Definitions::ImportDefinitions { document: Some(document), .. } => {
                let report = context.broker.import_definitions(document).map_err(Refusal::data)?;
                Ok(Reply::Remark(format!("Successfully imported definitions.\n{report}").trim_end().to_owned()))
            }
            Definitions::ImportDefinitions { document: None, .. } => Err(Refusal::usage("there is no document")),
        }
    }
}
