//! Bindings, and the index that finds them from their destination.
//!
//! A binding is held once, by `Arc`, in two lists: the one its source exchange matches against and the one of
//! its destination. It remembers its place in both, so that taking it out of a list of a hundred thousand is
//! one step. Both lists change only under the virtual host's topology mutex.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use amq_protocol::types::{AMQPValue, FieldTable};
use smallvec::SmallVec;

use crate::broker::exchange::{Exchange, ExchangeId};
use crate::broker::queue::{Queue, QueueId};

/// What a binding leads to.
#[derive(Clone)]
pub enum Destination {
    Queue(Arc<Queue>),
    Exchange(Arc<Exchange>),
}

/// Identifies a destination; a name may be deleted and declared again, an id never.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DestinationId {
    Queue(QueueId),
    Exchange(ExchangeId),
}

impl Destination {
    pub fn id(&self) -> DestinationId {
        match self {
            Destination::Queue(queue) => DestinationId::Queue(queue.id),
            Destination::Exchange(exchange) => DestinationId::Exchange(exchange.id),
        }
    }

    pub fn name(&self) -> &Arc<str> {
        match self {
            Destination::Queue(queue) => queue.name(),
            Destination::Exchange(exchange) => &exchange.name,
        }
    }

    pub fn is_durable(&self) -> bool {
        match self {
            Destination::Queue(queue) => queue.definition.durable,
            Destination::Exchange(exchange) => exchange.durable,
        }
    }
}

/// One binding. Its identity is source, destination, routing key and arguments (whatever their order), so
/// binding the same twice is one binding.
pub struct Binding {
    /// The source by name: the exchange owns the binding, not the other way round.
    pub source: Arc<str>,
    pub destination: Destination,
    pub routing_key: Arc<[u8]>,
    pub arguments: FieldTable,
    /// The arguments as bytes that are equal exactly if names, types and values are.
    identity: Box<[u8]>,
    /// Places in the list of the source and in that of the destination, see [`BindingList`].
    places: [AtomicU32; 2],
}

impl Binding {
    pub fn new(source: Arc<str>, destination: Destination, routing_key: &[u8], arguments: FieldTable) -> Binding {
        let mut identity = Vec::new();
        encode_table(&arguments, &mut identity);
        Binding {
            source,
            destination,
            routing_key: routing_key.into(),
            arguments,
            identity: identity.into(),
            places: [AtomicU32::new(0), AtomicU32::new(0)],
        }
    }

    /// Where the binding stands among those of its source in RabbitMQ's order: by routing key, exchanges before queues,
    /// name, arguments. Nothing of it changes with a restart.
    pub fn order(&self) -> impl Ord {
        let is_queue = matches!(self.destination, Destination::Queue(_));
        (&self.routing_key, is_queue, self.destination.name(), &self.identity)
    }
}

impl PartialEq for Binding {
    fn eq(&self, other: &Binding) -> bool {
        self.destination.id() == other.destination.id()
            && self.routing_key == other.routing_key
            && self.identity == other.identity
            && self.source == other.source
    }
}

impl Eq for Binding {}

impl Hash for Binding {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.destination.id().hash(state);
        self.routing_key.hash(state);
        self.identity.hash(state);
    }
}

/// Bindings in no particular order, with removal in one step: the last one takes the place of the removed one.
pub struct BindingList<const SIDE: usize> {
    items: SmallVec<[Arc<Binding>; 1]>,
}

/// Bindings of one source, as an exchange keeps them.
pub type FromSource = BindingList<0>;

/// Bindings of one destination.
pub type ToDestination = BindingList<1>;

impl<const SIDE: usize> Default for BindingList<SIDE> {
    fn default() -> Self {
        BindingList { items: SmallVec::new() }
    }
}

impl<const SIDE: usize> BindingList<SIDE> {
    pub fn as_slice(&self) -> &[Arc<Binding>] {
        &self.items
    }

    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub fn push(&mut self, binding: Arc<Binding>) {
        let place = u32::try_from(self.items.len()).expect("more bindings than memory can hold");
        binding.places[SIDE].store(place, Ordering::Relaxed);
        self.items.push(binding);
    }

    /// Takes out `binding`, which must be in this list, and returns the place it had.
    pub fn remove(&mut self, binding: &Binding) -> usize {
        let place = binding.places[SIDE].load(Ordering::Relaxed) as usize;
        let removed = self.items.swap_remove(place);
        assert!(std::ptr::eq(&*removed, binding), "a binding is not where it should be");
        if let Some(moved) = self.items.get(place) {
            moved.places[SIDE].store(place as u32, Ordering::Relaxed);
        }
        if self.items.capacity() > 64 && self.items.len() * 4 < self.items.capacity() {
            self.items.shrink_to_fit();
        }
        place
    }
}

/// The bindings of each destination: what deleting it has to take away.
#[derive(Default)]
pub struct Destinations {
    lists: HashMap<DestinationId, ToDestination>,
}

impl Destinations {
    pub fn add(&mut self, binding: Arc<Binding>) {
        self.lists.entry(binding.destination.id()).or_default().push(binding);
    }

    pub fn remove(&mut self, binding: &Binding) {
        let id = binding.destination.id();
        let list = self.lists.get_mut(&id).expect("a binding has a destination");
        list.remove(binding);
        if list.is_empty() {
            self.lists.remove(&id);
        }
    }

    /// All bindings of a destination that goes away.
    pub fn take(&mut self, id: DestinationId) -> SmallVec<[Arc<Binding>; 1]> {
        self.lists.remove(&id).map(|list| list.items).unwrap_or_default()
    }

    pub fn is_empty(&self) -> bool {
        self.lists.is_empty()
    }

    pub fn get(&self, id: DestinationId) -> &[Arc<Binding>] {
        self.lists.get(&id).map_or(&[], |list| list.as_slice())
    }
}

/// Writes names, types and values; lengths come before what varies, so that no two tables write the same.
fn encode_table(table: &FieldTable, out: &mut Vec<u8>) {
    for (name, value) in table {
        encode_bytes(name.as_str().as_bytes(), out);
        encode_value(value, out);
    }
}

fn encode_value(value: &AMQPValue, out: &mut Vec<u8>) {
    out.push(value.get_type().get_id() as u8);
    match value {
        AMQPValue::Boolean(v) => out.push(u8::from(*v)),
        AMQPValue::ShortShortInt(v) => out.extend(v.to_be_bytes()),
        AMQPValue::ShortShortUInt(v) => out.push(*v),
        AMQPValue::ShortInt(v) => out.extend(v.to_be_bytes()),
        AMQPValue::ShortUInt(v) => out.extend(v.to_be_bytes()),
        AMQPValue::LongInt(v) => out.extend(v.to_be_bytes()),
        AMQPValue::LongUInt(v) => out.extend(v.to_be_bytes()),
        AMQPValue::LongLongInt(v) => out.extend(v.to_be_bytes()),
        AMQPValue::Float(v) => out.extend(v.to_bits().to_be_bytes()),
        AMQPValue::Double(v) => out.extend(v.to_bits().to_be_bytes()),
        AMQPValue::DecimalValue(v) => {
            out.push(v.scale);
            out.extend(v.value.to_be_bytes());
        }
        AMQPValue::ShortString(v) => encode_bytes(v.as_str().as_bytes(), out),
        AMQPValue::LongString(v) => encode_bytes(v.as_bytes(), out),
        AMQPValue::ByteArray(v) => encode_bytes(v.as_slice(), out),
        AMQPValue::Timestamp(v) => out.extend(v.to_be_bytes()),
        AMQPValue::FieldArray(v) => {
            let mut elements = Vec::new();
            v.as_slice().iter().for_each(|element| encode_value(element, &mut elements));
            encode_bytes(&elements, out);
        }
        AMQPValue::FieldTable(v) => {
            let mut fields = Vec::new();
            encode_table(v, &mut fields);
            encode_bytes(&fields, out);
        }
        AMQPValue::Void => {}
    }
}

fn encode_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend((bytes.len() as u32).to_be_bytes());
    out.extend(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::exchange::{ExchangeDefinition, ExchangeKind};

    fn destination() -> Destination {
        Destination::Exchange(Exchange::new(ExchangeDefinition::durable("x", ExchangeKind::Fanout)))
    }

    fn table(fields: &[(&str, AMQPValue)]) -> FieldTable {
        let mut table = FieldTable::default();
        for (name, value) in fields {
            table.insert((*name).into(), value.clone());
        }
        table
    }

    #[test]
    fn identity_is_destination_key_and_typed_arguments_in_any_order() {
        let to = destination();
        let binding =
            |key: &[u8], fields: &[(&str, AMQPValue)]| Binding::new("s".into(), to.clone(), key, table(fields));
        let (one, two) = (("a", AMQPValue::LongInt(1)), ("b", AMQPValue::LongString("x".into())));
        assert!(binding(b"k", &[one.clone(), two.clone()]) == binding(b"k", &[two.clone(), one.clone()]));
        assert!(binding(b"k", &[]) == binding(b"k", &[]));
        assert!(binding(b"k", &[]) != binding(b"k2", &[]));
        assert!(binding(b"k", &[]) != Binding::new("s".into(), destination(), b"k", table(&[])));
        assert!(binding(b"k", std::slice::from_ref(&one)) != binding(b"k", &[("a", AMQPValue::LongLongInt(1))]));
        let not_a_number = [("a", AMQPValue::Double(f64::NAN))];
        assert!(binding(b"k", &not_a_number) == binding(b"k", &not_a_number));
        let nested = |inner| [("t", AMQPValue::FieldTable(table(&[inner])))];
        assert!(binding(b"k", &nested(one.clone())) == binding(b"k", &nested(one.clone())));
        assert!(binding(b"k", &nested(one)) != binding(b"k", &nested(two)));
    }

    #[test]
    fn lists_stay_whole_whatever_is_removed() {
        let to = destination();
        let bindings: Vec<_> = (0..200u32)
            .map(|n| Arc::new(Binding::new("s".into(), to.clone(), &n.to_be_bytes(), FieldTable::default())))
            .collect();
        let mut list = FromSource::default();
        bindings.iter().for_each(|b| list.push(b.clone()));
        for binding in bindings.iter().step_by(2).chain(bindings.iter().rev().step_by(2)) {
            list.remove(binding);
            for (place, left) in list.as_slice().iter().enumerate() {
                assert_eq!(left.places[0].load(Ordering::Relaxed) as usize, place);
            }
        }
        assert!(list.is_empty());
    }
}
