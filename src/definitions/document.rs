//! A document of definitions, read as a whole.

use amq_protocol::types::FieldTable;
use serde_json::{Map, Value};

use super::arguments::{arguments_of, bytes_of};
use super::fields::{DefinitionsError, Fields};

/// All that a document defines. Names in virtual hosts come with the virtual host.
#[derive(Debug, Default)]
pub(super) struct Document {
    pub users: Vec<UserEntry>,
    pub vhosts: Vec<VHostEntry>,
    pub permissions: Vec<PermissionEntry>,
    pub topic_permissions: Vec<TopicPermissionEntry>,
    pub parameters: Vec<ParameterEntry>,
    pub global_parameters: Vec<(String, Value)>,
    pub policies: Vec<PolicyEntry>,
    pub queues: Vec<QueueEntry>,
    pub exchanges: Vec<ExchangeEntry>,
    pub bindings: Vec<BindingEntry>,
    /// Fields of the document that nobody knows.
    pub unknown: Vec<String>,
}

#[derive(Debug)]
pub(super) struct UserEntry {
    pub name: String,
    /// Base64; empty if nobody may log in with a password.
    pub password_hash: String,
    /// RabbitMQ's name of it.
    pub hashing_algorithm: String,
    pub tags: Vec<String>,
    pub limits: Value,
}

#[derive(Debug)]
pub(super) struct VHostEntry {
    pub name: String,
    pub description: Option<String>,
    pub tags: Option<Vec<String>>,
    pub default_queue_type: Option<String>,
    pub protected_from_deletion: Option<bool>,
    pub limits: Option<Value>,
}

#[derive(Debug)]
pub(super) struct PermissionEntry {
    pub user: String,
    pub vhost: String,
    pub configure: String,
    pub write: String,
    pub read: String,
}

#[derive(Debug)]
pub(super) struct TopicPermissionEntry {
    pub user: String,
    pub vhost: String,
    pub exchange: String,
    pub write: String,
    pub read: String,
}

#[derive(Debug)]
pub(super) struct ParameterEntry {
    pub vhost: String,
    pub component: String,
    pub name: String,
    pub value: Value,
}

#[derive(Debug)]
pub(super) struct PolicyEntry {
    pub vhost: String,
    pub name: String,
    /// As a runtime parameter has it.
    pub value: Value,
}

#[derive(Debug)]
pub(super) struct QueueEntry {
    pub vhost: String,
    pub name: String,
    pub durable: bool,
    pub auto_delete: bool,
    /// Said beside the arguments, which may say it too.
    pub queue_type: Option<String>,
    pub arguments: FieldTable,
}

#[derive(Debug)]
pub(super) struct ExchangeEntry {
    pub vhost: String,
    pub name: String,
    pub kind: String,
    pub durable: bool,
    pub auto_delete: bool,
    pub internal: bool,
    pub arguments: FieldTable,
}

#[derive(Debug)]
pub(super) struct BindingEntry {
    pub vhost: String,
    pub source: String,
    pub destination: String,
    pub is_to_queue: bool,
    pub routing_key: Vec<u8>,
    pub arguments: FieldTable,
    /// As they came, to be compared with.
    pub json: Map<String, Value>,
}

/// Fields that say what a document is, and define nothing.
const DESCRIPTIVE: [&str; 13] = [
    "rabbit_version",
    "rabbitmq_version",
    "product_name",
    "product_version",
    "rabbitmq_definition_format",
    "original_cluster_name",
    "original_vhost_name",
    "explanation",
    "description",
    "metadata",
    "default_queue_type",
    "tags",
    "limits",
];

const SECTIONS: [&str; 10] = [
    "users",
    "vhosts",
    "permissions",
    "topic_permissions",
    "parameters",
    "global_parameters",
    "policies",
    "queues",
    "exchanges",
    "bindings",
];

/// How entries are read.
struct Reading<'a> {
    /// The virtual host of entries that name none.
    vhost: Option<&'a str>,
    max_depth: u8,
}

impl Document {
    /// Reads a document. With a virtual host, everything in it is for that one, whatever the document says.
    ///
    /// # Errors
    /// For the first thing that is not as it has to be, with its place.
    pub fn read(value: &Value, vhost: Option<&str>, max_depth: u8) -> Result<Document, DefinitionsError> {
        let document =
            Fields::of("", value).map_err(|error| DefinitionsError { place: "the document".into(), ..error })?;
        let reading = Reading { vhost, max_depth };
        let is_before_sha256 = has_version_before_sha256(&document)?;
        let is_known = |name: &&String| !SECTIONS.contains(&name.as_str()) && !DESCRIPTIVE.contains(&name.as_str());
        let mut read = Document {
            policies: each(&document, "policies", |entry| reading.policy(entry))?,
            parameters: each(&document, "parameters", |entry| reading.parameter(entry))?,
            queues: each(&document, "queues", |entry| reading.queue(entry))?,
            exchanges: each(&document, "exchanges", |entry| reading.exchange(entry))?,
            bindings: each(&document, "bindings", |entry| reading.binding(entry))?,
            unknown: document.names().filter(is_known).cloned().collect(),
            ..Document::default()
        };
        if vhost.is_none() {
            read.users = each(&document, "users", |entry| user(entry, is_before_sha256))?;
            read.vhosts = each(&document, "vhosts", self::vhost)?;
            read.permissions = each(&document, "permissions", permission)?;
            read.topic_permissions = each(&document, "topic_permissions", topic_permission)?;
            read.global_parameters = each(&document, "global_parameters", global_parameter)?;
        }
        Ok(read)
    }
}

fn each<T>(
    document: &Fields<'_>,
    section: &str,
    read: impl Fn(&Fields<'_>) -> Result<T, DefinitionsError>,
) -> Result<Vec<T>, DefinitionsError> {
    document.list(section)?.iter().map(read).collect()
}

/// Before 3.6 passwords were hashed with MD5, and nothing said so.
fn has_version_before_sha256(document: &Fields<'_>) -> Result<bool, DefinitionsError> {
    let version = document.text_or_none("rabbitmq_version")?.or(document.text_or_none("rabbit_version")?);
    let mut numbers = version.unwrap_or_default().split('.').map(str::parse::<u32>);
    Ok(matches!((numbers.next(), numbers.next()), (Some(Ok(major)), Some(Ok(minor))) if (major, minor) < (3, 6)))
}

impl Reading<'_> {
    fn vhost(&self, entry: &Fields<'_>) -> Result<String, DefinitionsError> {
        match (self.vhost, entry.text_or_none("vhost")?) {
            (Some(vhost), _) => Ok(vhost.to_owned()),
            (None, Some(_)) => entry.name("vhost").map(str::to_owned),
            (None, None) => {
                let text = "no virtual host; a document of a single one has to be imported into one";
                Err(DefinitionsError::at(&entry.place, text))
            }
        }
    }

    fn arguments(&self, entry: &Fields<'_>) -> Result<(Map<String, Value>, FieldTable), DefinitionsError> {
        let json = entry.object("arguments")?;
        let table = arguments_of(&entry.place_of("arguments"), &json, self.max_depth)?;
        Ok((json, table))
    }

    fn policy(&self, entry: &Fields<'_>) -> Result<PolicyEntry, DefinitionsError> {
        let value = ["pattern", "definition", "priority", "apply-to"]
            .into_iter()
            .filter_map(|name| Some((name.to_owned(), entry.get(name)?.clone())));
        Ok(PolicyEntry { vhost: self.vhost(entry)?, name: entry.name("name")?.to_owned(), value: value.collect() })
    }

    fn parameter(&self, entry: &Fields<'_>) -> Result<ParameterEntry, DefinitionsError> {
        Ok(ParameterEntry {
            vhost: self.vhost(entry)?,
            component: entry.name("component")?.to_owned(),
            name: entry.name("name")?.to_owned(),
            value: entry.get("value").cloned().unwrap_or_default(),
        })
    }

    fn queue(&self, entry: &Fields<'_>) -> Result<QueueEntry, DefinitionsError> {
        Ok(QueueEntry {
            vhost: self.vhost(entry)?,
            name: entry.name("name")?.to_owned(),
            durable: entry.flag("durable")?,
            auto_delete: entry.flag_or_none("auto_delete")?.unwrap_or(false),
            queue_type: entry.text_or_none("type")?.map(str::to_owned),
            arguments: self.arguments(entry)?.1,
        })
    }

    fn exchange(&self, entry: &Fields<'_>) -> Result<ExchangeEntry, DefinitionsError> {
        Ok(ExchangeEntry {
            vhost: self.vhost(entry)?,
            name: entry.name("name")?.to_owned(),
            kind: entry.name("type")?.to_owned(),
            durable: entry.flag("durable")?,
            auto_delete: entry.flag_or_none("auto_delete")?.unwrap_or(false),
            internal: entry.flag_or_none("internal")?.unwrap_or(false),
            arguments: self.arguments(entry)?.1,
        })
    }

    fn binding(&self, entry: &Fields<'_>) -> Result<BindingEntry, DefinitionsError> {
        let (json, arguments) = self.arguments(entry)?;
        let routing_key = bytes_of(entry.text_or_none("routing_key")?.unwrap_or_default());
        if routing_key.len() > crate::limits::SHORT_STRING_MAX_BYTES {
            return Err(entry.expected("routing_key", "at most 255 bytes"));
        }
        Ok(BindingEntry {
            vhost: self.vhost(entry)?,
            source: entry.name("source")?.to_owned(),
            destination: entry.name("destination")?.to_owned(),
            is_to_queue: match entry.text("destination_type")? {
                "queue" => true,
                "exchange" => false,
                _ => return Err(entry.expected("destination_type", "\"queue\" or \"exchange\"")),
            },
            routing_key,
            arguments,
            json,
        })
    }
}

fn user(entry: &Fields<'_>, is_before_sha256: bool) -> Result<UserEntry, DefinitionsError> {
    let default = if is_before_sha256 { "rabbit_password_hashing_md5" } else { "rabbit_password_hashing_sha256" };
    Ok(UserEntry {
        name: entry.name("name")?.to_owned(),
        password_hash: entry.text_or_none("password_hash")?.unwrap_or_default().to_owned(),
        hashing_algorithm: entry.text_or_none("hashing_algorithm")?.unwrap_or(default).to_owned(),
        tags: entry.tags("tags")?,
        limits: entry.get("limits").cloned().unwrap_or_else(|| Value::Object(Map::new())),
    })
}

/// What a virtual host is may be said in `metadata`, or beside the name.
fn vhost(entry: &Fields<'_>) -> Result<VHostEntry, DefinitionsError> {
    let none = Value::Object(Map::new());
    let metadata = Fields::of(entry.place_of("metadata"), entry.get("metadata").unwrap_or(&none))?;
    let text = |name: &str| -> Result<Option<String>, DefinitionsError> {
        Ok(entry.text_or_none(name)?.or(metadata.text_or_none(name)?).map(str::to_owned))
    };
    let tags = match entry.get("tags").is_some() {
        true => Some(entry.tags("tags")?),
        false if metadata.get("tags").is_some() => Some(metadata.tags("tags")?),
        false => None,
    };
    Ok(VHostEntry {
        name: entry.name("name")?.to_owned(),
        description: text("description")?,
        tags,
        default_queue_type: text("default_queue_type")?.filter(|queue_type| queue_type != "undefined"),
        protected_from_deletion: entry
            .flag_or_none("protected_from_deletion")?
            .or(metadata.flag_or_none("protected_from_deletion")?),
        limits: entry.get("limits").filter(|limits| !is_empty(limits)).cloned(),
    })
}

fn is_empty(limits: &Value) -> bool {
    limits.as_array().is_some_and(Vec::is_empty) || limits.as_object().is_some_and(Map::is_empty)
}

fn permission(entry: &Fields<'_>) -> Result<PermissionEntry, DefinitionsError> {
    Ok(PermissionEntry {
        user: entry.name("user")?.to_owned(),
        vhost: entry.name("vhost")?.to_owned(),
        configure: entry.text("configure")?.to_owned(),
        write: entry.text("write")?.to_owned(),
        read: entry.text("read")?.to_owned(),
    })
}

fn topic_permission(entry: &Fields<'_>) -> Result<TopicPermissionEntry, DefinitionsError> {
    Ok(TopicPermissionEntry {
        user: entry.name("user")?.to_owned(),
        vhost: entry.name("vhost")?.to_owned(),
        exchange: entry.name("exchange")?.to_owned(),
        write: entry.text("write")?.to_owned(),
        read: entry.text("read")?.to_owned(),
    })
}

fn global_parameter(entry: &Fields<'_>) -> Result<(String, Value), DefinitionsError> {
    Ok((entry.name("name")?.to_owned(), entry.get("value").cloned().unwrap_or_default()))
}
