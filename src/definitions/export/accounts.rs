//! Writing users, virtual hosts and permissions.

use serde_json::{Map, Value, json};

use crate::broker::Broker;
use crate::broker::permission::{PermissionDefinition, TopicPermissionDefinition};
use crate::broker::user::UserDefinition;
use crate::broker::vhost::VHost;

/// The sections.
pub(super) fn sections(broker: &Broker) -> [(&'static str, Vec<Value>); 4] {
    let mut permissions = broker.permissions.permissions();
    permissions.sort_by(|a, b| (&a.vhost, &a.user).cmp(&(&b.vhost, &b.user)));
    let mut topics = broker.permissions.topic_permissions();
    topics.sort_by(|a, b| (&a.vhost, &a.user, &a.exchange).cmp(&(&b.vhost, &b.user, &b.exchange)));
    [
        ("users", broker.list_users().iter().map(user).collect()),
        ("vhosts", broker.list_vhosts().iter().map(|host| vhost(host)).collect()),
        ("permissions", permissions.iter().map(permission).collect()),
        ("topic_permissions", topics.iter().map(topic_permission).collect()),
    ]
}

fn user(user: &UserDefinition) -> Value {
    let algorithm = user.password.map(|hash| hash.algorithm()).unwrap_or_default();
    json!({
        "name": &*user.name,
        "password_hash": user.password.map(|hash| hash.encoded()).unwrap_or_default(),
        "hashing_algorithm": algorithm.name(),
        "tags": texts(&user.tags),
        "limits": user.limits.to_json(),
    })
}

/// The description and what is beside it stand twice, where older and where newer brokers look for it.
fn vhost(vhost: &VHost) -> Value {
    let mut about = metadata(vhost);
    let metadata = Value::Object(about.clone());
    about.insert("name".into(), (**vhost.name()).into());
    about.insert("metadata".into(), metadata);
    about.insert("limits".into(), limits(vhost));
    Value::Object(about)
}

pub(super) fn metadata(vhost: &VHost) -> Map<String, Value> {
    let metadata = vhost.metadata();
    let mut about = Map::new();
    about.insert("description".into(), (*metadata.description).into());
    about.insert("tags".into(), texts(&metadata.tags));
    if let Some(queue_type) = metadata.default_queue_type {
        about.insert("default_queue_type".into(), queue_type.name().into());
    }
    if metadata.protected_from_deletion {
        about.insert("protected_from_deletion".into(), true.into());
    }
    about
}

/// Pairs, as RabbitMQ has them here; the limits are a parameter besides.
fn limits(vhost: &VHost) -> Value {
    let limits = vhost.limits();
    let named = [("max-connections", limits.max_connections), ("max-queues", limits.max_queues)];
    named.into_iter().filter_map(|(name, limit)| Some(json!([name, limit?]))).collect()
}

fn permission(permission: &PermissionDefinition) -> Value {
    json!({
        "user": &*permission.user,
        "vhost": &*permission.vhost,
        "configure": &*permission.configure,
        "write": &*permission.write,
        "read": &*permission.read,
    })
}

fn topic_permission(permission: &TopicPermissionDefinition) -> Value {
    json!({
        "user": &*permission.user,
        "vhost": &*permission.vhost,
        "exchange": &*permission.exchange,
        "write": &*permission.write,
        "read": &*permission.read,
    })
}

fn texts(texts: &[std::sync::Arc<str>]) -> Value {
    texts.iter().map(|text| Value::from(&**text)).collect()
}
