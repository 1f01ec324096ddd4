//! Rows of virtual hosts, users and permissions.

use std::sync::Arc;

use super::{Definition, Flaw, Reader, flag, push, short};
use crate::broker::arguments::QueueType;
use crate::broker::password::{HashingAlgorithm, PasswordHash};
use crate::broker::permission::{PermissionDefinition, TopicPermissionDefinition};
use crate::broker::user::{UserDefinition, UserLimits};
use crate::broker::vhost::VHostMetadata;

const PROTECTED: u8 = 1;

const NO_PASSWORD: u8 = 0;
const ALGORITHMS: [(HashingAlgorithm, u8); 3] =
    [(HashingAlgorithm::Sha256, 1), (HashingAlgorithm::Sha512, 2), (HashingAlgorithm::Md5, 3)];

const MAX_CONNECTIONS: u8 = 1;
const MAX_CHANNELS: u8 = 2;

pub(super) fn push_vhost(out: &mut Vec<u8>, metadata: &VHostMetadata) {
    out.push(flag(metadata.protected_from_deletion, PROTECTED));
    push(out, metadata.description.as_bytes());
    push(out, metadata.default_queue_type.map_or("", QueueType::name).as_bytes());
    push_tags(out, &metadata.tags);
}

pub(super) fn read_first_vhost(key: &mut Reader<'_>, _value: &mut Reader<'_>) -> Result<Definition, Flaw> {
    Ok(Definition::VHost { name: key.name()?, metadata: VHostMetadata::default() })
}

pub(super) fn read_vhost(key: &mut Reader<'_>, value: &mut Reader<'_>) -> Result<Definition, Flaw> {
    let name = key.name()?;
    let metadata = VHostMetadata {
        protected_from_deletion: value.flags(PROTECTED)? != 0,
        description: value.name()?,
        default_queue_type: match &*value.name()? {
            "" => None,
            name => Some(QueueType::named(name).ok_or(Flaw::UnknownQueueType)?),
        },
        tags: read_tags(value)?,
    };
    Ok(Definition::VHost { name, metadata })
}

pub(super) fn push_user(out: &mut Vec<u8>, user: &UserDefinition) {
    match &user.password {
        None => out.push(NO_PASSWORD),
        Some(hash) => {
            let is_it = |(algorithm, _): &&(HashingAlgorithm, u8)| *algorithm == hash.algorithm();
            out.push(ALGORITHMS.iter().find(is_it).expect("every algorithm has a code").1);
            out.extend(hash.to_bytes());
        }
    }
    push_tags(out, &user.tags);
    let UserLimits { max_connections, max_channels } = user.limits;
    out.push(flag(max_connections.is_some(), MAX_CONNECTIONS) | flag(max_channels.is_some(), MAX_CHANNELS));
    [max_connections, max_channels].into_iter().flatten().for_each(|limit| out.extend(limit.to_be_bytes()));
}

pub(super) fn read_first_user(key: &mut Reader<'_>, value: &mut Reader<'_>) -> Result<Definition, Flaw> {
    let name = key.name()?;
    let password = Some(read_hash(value, HashingAlgorithm::Sha256)?);
    Ok(Definition::User(UserDefinition { name, password, tags: read_tags(value)?, limits: UserLimits::default() }))
}

pub(super) fn read_user(key: &mut Reader<'_>, value: &mut Reader<'_>) -> Result<Definition, Flaw> {
    let name = key.name()?;
    let password = match value.u8()? {
        NO_PASSWORD => None,
        code => {
            let known = ALGORITHMS.iter().find(|(_, known)| *known == code);
            let (algorithm, _) = known.ok_or(Flaw::UnknownCode { field: "hashing algorithm", code })?;
            Some(read_hash(value, *algorithm)?)
        }
    };
    let tags = read_tags(value)?;
    let which = value.flags(MAX_CONNECTIONS | MAX_CHANNELS)?;
    let mut limit = |bit| if which & bit != 0 { value.i64().map(Some) } else { Ok(None) };
    let limits = UserLimits { max_connections: limit(MAX_CONNECTIONS)?, max_channels: limit(MAX_CHANNELS)? };
    Ok(Definition::User(UserDefinition { name, password, tags, limits }))
}

fn read_hash(value: &mut Reader<'_>, algorithm: HashingAlgorithm) -> Result<PasswordHash, Flaw> {
    let (hash, rest) = value.0.split_at_checked(algorithm.hash_bytes()).ok_or(Flaw::CutShort)?;
    value.0 = rest;
    Ok(PasswordHash::from_bytes(algorithm, hash).expect("a hash of its length"))
}

pub(super) fn push_permission(out: &mut Vec<u8>, permission: &PermissionDefinition) {
    let PermissionDefinition { configure, write, read, .. } = permission;
    [configure, write, read].into_iter().for_each(|pattern| push(out, pattern.as_bytes()));
}

pub(super) fn read_permission(key: &mut Reader<'_>, value: &mut Reader<'_>) -> Result<Definition, Flaw> {
    Ok(Definition::Permission(PermissionDefinition {
        vhost: key.name()?,
        user: key.name()?,
        configure: value.name()?,
        write: value.name()?,
        read: value.name()?,
    }))
}

pub(super) fn push_topic_permission(out: &mut Vec<u8>, topic: &TopicPermissionDefinition) {
    [&topic.write, &topic.read].into_iter().for_each(|pattern| push(out, pattern.as_bytes()));
}

pub(super) fn read_topic_permission(key: &mut Reader<'_>, value: &mut Reader<'_>) -> Result<Definition, Flaw> {
    Ok(Definition::TopicPermission(TopicPermissionDefinition {
        vhost: key.name()?,
        user: key.name()?,
        exchange: key.name()?,
        write: value.name()?,
        read: value.name()?,
    }))
}

fn push_tags(out: &mut Vec<u8>, tags: &[Arc<str>]) {
    out.extend(short(tags.len()).to_be_bytes());
    tags.iter().for_each(|tag| push(out, tag.as_bytes()));
}

fn read_tags(value: &mut Reader<'_>) -> Result<Vec<Arc<str>>, Flaw> {
    let count = value.u16()?;
    (0..count).map(|_| value.name()).collect()
}
