//! Consistent hash exchanges: each message goes to one destination, the same for the same value, and each destination
//! gets a share of the values by its weight, the binding key.
//!
//! ```text
//! u = hash(value, destination), evenly spread over (0, 1]       the message goes where  -ln(u) / weight  is least
//! ```
//!
//! This is weighted rendezvous hashing (Thaler and Ravishankar 1996; weights: Schindelhauer and Schomaker 2005). It
//! has no state: what is bound decides, not in which order it was, so values stay where they are over a restart, and
//! a binding that comes or goes moves only values to it or from it. RabbitMQ's buckets with jump hashing keep that
//! promise for the destination bound last only, LavinMQ's ring spreads values unevenly; both names of algorithms are
//! accepted and mean this one.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use amq_protocol::types::{AMQPValue, FieldTable};

use super::hash::{hash_of, mix};
use crate::broker::arguments::{Resource, Term, type_name};
use crate::broker::binding::{Binding, Destination, DestinationId, FromSource};
use crate::error::Fault;
use crate::wire::properties::PropertiesView;
use crate::wire::table;

/// What of a message is hashed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashOn {
    RoutingKey,
    /// Argument `hash-header`, or LavinMQ's `x-hash-on`.
    Header(Box<[u8]>),
    /// Argument `hash-property`.
    MessageId,
    CorrelationId,
    Timestamp,
}

impl HashOn {
    /// What the arguments of an exchange ask for.
    ///
    /// # Errors
    /// 406 for a value that is no text, a property that is none of the three, and more than one of the arguments.
    fn of(exchange: Resource<'_>, arguments: &FieldTable) -> Result<HashOn, Fault> {
        let header = text(exchange, arguments, "hash-header")?;
        let property = text(exchange, arguments, "hash-property")?;
        let lavin_header = text(exchange, arguments, "x-hash-on")?;
        match (header, property, lavin_header) {
            (None, None, None) => Ok(HashOn::RoutingKey),
            (Some(header), None, None) | (None, None, Some(header)) => Ok(HashOn::Header(header.into())),
            (None, Some(property), None) => HashOn::property(property),
            (Some(_), Some(_), _) => Err(exclusive("hash-header", "hash-property")),
            (Some(_), None, Some(_)) => Err(exclusive("hash-header", "x-hash-on")),
            (None, Some(_), Some(_)) => Err(exclusive("x-hash-on", "hash-property")),
        }
    }

    fn property(name: &[u8]) -> Result<HashOn, Fault> {
        match name {
            b"message_id" => Ok(HashOn::MessageId),
            b"correlation_id" => Ok(HashOn::CorrelationId),
            b"timestamp" => Ok(HashOn::Timestamp),
            _ => {
                let name = String::from_utf8_lossy(name);
                Err(Fault::precondition_failed(format!("Unsupported property: {name}")))
            }
        }
    }

    /// The hash of a message. Messages that lack what is hashed have one hash, so they go to one place.
    fn hash(&self, routing_keys: &[&[u8]], properties: Option<&PropertiesView<'_>>) -> u64 {
        let value = match (self, properties) {
            // As in RabbitMQ, CC and BCC do not count.
            (HashOn::RoutingKey, _) => routing_keys.first().copied(),
            (_, None) => None,
            (HashOn::Header(name), Some(properties)) => properties.headers_bytes().and_then(|h| header_value(h, name)),
            (HashOn::MessageId, Some(properties)) => properties.message_id(),
            (HashOn::CorrelationId, Some(properties)) => properties.correlation_id(),
            (HashOn::Timestamp, Some(properties)) => {
                return hash_of(&properties.timestamp().unwrap_or(0).to_be_bytes());
            }
        };
        hash_of(value.unwrap_or_default())
    }
}

/// The value of a header with its type, in wire form. The first of a name counts.
fn header_value<'a>(headers: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let mut found = None;
    let walked = table::walk(headers, u8::MAX, |key, entry| {
        if key == name && found.is_none() {
            found = Some(&entry[1 + key.len()..]);
        }
    });
    debug_assert_eq!(walked, Ok(()), "headers are checked when the message comes");
    found
}

pub struct ConsistentHash {
    on: HashOn,
    targets: Vec<Target>,
    places: HashMap<DestinationId, usize>,
    /// How many targets have each weight. If all have the same, hashes compare as they are.
    weights: HashMap<u128, usize>,
}

/// A destination with all bindings to it.
struct Target {
    id: DestinationId,
    /// Follows from what the destination is called.
    seed: u64,
    /// The sum of the bindings' weights.
    weight: u128,
    bindings: FromSource,
}

impl ConsistentHash {
    /// `arguments` have been validated.
    pub fn new(arguments: &FieldTable) -> ConsistentHash {
        let on = HashOn::of(Resource::exchange("", ""), arguments).unwrap_or(HashOn::RoutingKey);
        ConsistentHash { on, targets: Vec::new(), places: HashMap::new(), weights: HashMap::new() }
    }

    /// Whether the routing key alone decides.
    pub fn is_by_key(&self) -> bool {
        self.on == HashOn::RoutingKey
    }

    pub fn insert(&mut self, binding: Arc<Binding>) {
        let id = binding.destination.id();
        let place = *self.places.entry(id).or_insert(self.targets.len());
        if place == self.targets.len() {
            let (seed, bindings) = (seed(&binding.destination), FromSource::default());
            self.targets.push(Target { id, seed, weight: 0, bindings });
        }
        let weight = self.targets[place].weight + weight_of(&binding);
        self.weigh(place, weight);
        self.targets[place].bindings.push(binding);
    }

    pub fn remove(&mut self, binding: &Binding) {
        let place = self.places[&binding.destination.id()];
        let weight = self.targets[place].weight - weight_of(binding);
        self.weigh(place, weight);
        let target = &mut self.targets[place];
        target.bindings.remove(binding);
        if target.bindings.is_empty() {
            self.places.remove(&target.id);
            self.targets.swap_remove(place);
            if let Some(moved) = self.targets.get(place) {
                self.places.insert(moved.id, place);
            }
        }
    }

    /// Gives back the memory of targets that are gone.
    pub fn shrink(&mut self) {
        self.targets.shrink_to_fit();
        self.places.shrink_to_fit();
        self.weights.shrink_to_fit();
    }

    /// Gives a target another weight; without bindings it has none.
    fn weigh(&mut self, place: usize, weight: u128) {
        let before = std::mem::replace(&mut self.targets[place].weight, weight);
        if let Some(count) = self.weights.get_mut(&before) {
            *count -= 1;
            if *count == 0 {
                self.weights.remove(&before);
            }
        }
        if weight > 0 {
            *self.weights.entry(weight).or_default() += 1;
        }
    }

    /// One binding, if there is any.
    pub fn matches(&self, routing_keys: &[&[u8]], properties: Option<&PropertiesView<'_>>) -> &[Arc<Binding>] {
        if self.targets.len() < 2 {
            return self.targets.first().map_or(&[], Target::one);
        }
        let hash = self.on.hash(routing_keys, properties);
        let chosen = if self.weights.len() == 1 { self.most(hash) } else { self.least(hash) };
        chosen.map_or(&[], Target::one)
    }

    /// As [`least`](Self::least) where all weights are the same.
    fn most(&self, hash: u64) -> Option<&Target> {
        self.targets.iter().max_by_key(|target| (target.lot(hash), target.seed))
    }

    fn least(&self, hash: u64) -> Option<&Target> {
        let scored = self.targets.iter().map(|target| (target.score(hash), target));
        let least = scored.min_by(|(a, x), (b, y)| a.total_cmp(b).then(y.seed.cmp(&x.seed)));
        least.map(|(_, target)| target)
    }
}

/// A lot has so many bits that a float holds it exactly.
const LOT_BITS: u32 = 53;

impl Target {
    fn one(&self) -> &[Arc<Binding>] {
        &self.bindings.as_slice()[..1]
    }

    /// A number of [`LOT_BITS`] bits, evenly spread, for a value at this target.
    fn lot(&self, hash: u64) -> u64 {
        mix(hash ^ self.seed) >> (u64::BITS - LOT_BITS)
    }

    fn score(&self, hash: u64) -> f64 {
        let u = (self.lot(hash) + 1) as f64 / (1u64 << LOT_BITS) as f64;
        -u.ln() / self.weight as f64
    }
}

/// Of a binding that has been validated.
fn weight_of(binding: &Binding) -> u128 {
    weight(&binding.routing_key).map_or(1, u128::from)
}

fn seed(destination: &Destination) -> u64 {
    let kind = match destination {
        Destination::Queue(_) => 0x71u8,
        Destination::Exchange(_) => 0x78,
    };
    hash_of(&[&[kind], destination.name().as_bytes()].concat())
}

/// The arguments of an exchange of this type.
///
/// # Errors
/// 406, see [`HashOn::of`]; and for an `x-algorithm` other than `ring` and `jump`.
pub fn validate(exchange: Resource<'_>, arguments: &FieldTable) -> Result<(), Fault> {
    HashOn::of(exchange, arguments)?;
    match text(exchange, arguments, "x-algorithm")? {
        None | Some(b"ring" | b"jump") => Ok(()),
        Some(other) => {
            let other = String::from_utf8_lossy(other);
            Err(Fault::precondition_failed(format!("Unsupported algorithm: {other}")))
        }
    }
}

/// The weight that a binding key stands for.
///
/// # Errors
/// 406 if it is no integer, as Erlang reads them, or less than 1.
pub fn weight(routing_key: &[u8]) -> Result<u64, Fault> {
    let (is_negative, digits) = match routing_key {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        let key = AMQPValue::LongString(routing_key.into());
        let text = format!("The binding key must be an integer: {}", Term(&key));
        return Err(Fault::precondition_failed(text));
    }
    let weight = digits.iter().fold(0u64, |n, digit| n.saturating_mul(10).saturating_add(u64::from(digit - b'0')));
    if is_negative || weight == 0 {
        return Err(Fault::precondition_failed("The binding key must be greater than 0"));
    }
    Ok(weight)
}

fn text<'a>(exchange: Resource<'_>, arguments: &'a FieldTable, name: &str) -> Result<Option<&'a [u8]>, Fault> {
    match arguments.inner().get(name) {
        None => Ok(None),
        Some(AMQPValue::LongString(text)) => Ok(Some(text.as_bytes())),
        Some(value) => {
            let text = format!("invalid type '{}' for arg '{name}' in {exchange}", type_name(value));
            Err(Fault::precondition_failed(text))
        }
    }
}

fn exclusive(one: &str, other: &str) -> Fault {
    Fault::precondition_failed(format!("{one} and {other} are mutually exclusive"))
}
