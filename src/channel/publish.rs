//! `basic.publish`: from frames to queues.

use smallvec::SmallVec;
use std::sync::Arc;

use super::content::{Incoming, check_header};
use super::trace::{self, Traced};
use super::transaction::{RoutedAgain, Staged};
use super::{Channel, Mode};
use crate::broker::dedup::Admission;
use crate::broker::delay::header;
use crate::broker::exchange::Exchange;
use crate::broker::message;
use crate::broker::routes::{Known, OneOf, Origin, Routes, TargetId};
use crate::broker::vhost::VHost;
use crate::connection::scratch::Scratch;
use crate::connection::session::Session;
use crate::error::Fault;
use crate::storage::record::{self, Record, flags};
use crate::wire::deliver;
use crate::wire::frame::{self, FrameHead};
use crate::wire::hot::{ContentHeader, Publish};
use crate::wire::properties::{PropertiesView, Property};

/// The two names that stand for "reply to me directly" in `reply-to` (RabbitMQ's and LavinMQ's).
pub const REPLY_TO_NAMES: [&[u8]; 2] = [b"amq.rabbitmq.reply-to", b"amq.direct.reply-to"];

/// From this size on a message has a chunk of its own, so that its body is not copied once more.
const OWN_CHUNK_BYTES: usize = 32 * 1024;

/// A message all of whose frames lie in the read buffer, one after the other.
pub struct Whole<'a> {
    publish: Publish<'a>,
    header: ContentHeader<'a>,
    body: &'a [u8],
    /// Where the body begins, counted from the method frame; 0 if there is none.
    body_at: usize,
    /// Bytes of all its frames.
    pub frame_bytes: usize,
}

impl<'a> Whole<'a> {
    /// Reads a message from its method frame on, of which `head` is known to be that of a whole `basic.publish`.
    /// `None` if anything is missing or unusual; the frames are then to be handled one by one.
    #[inline]
    pub fn read(data: &'a [u8], head: FrameHead, frame_max: usize) -> Option<Whole<'a>> {
        let publish = Publish::read(&data[frame::HEAD_BYTES..frame::HEAD_BYTES + head.size])?;
        let mut at = head.frame_bytes();
        let payload = whole_frame(data, &mut at, frame::HEADER, head.channel, frame_max)?;
        let header = ContentHeader::read(payload)?;
        if header.body_bytes == 0 {
            return Some(Whole { publish, header, body: &[], body_at: 0, frame_bytes: at });
        }
        let body_at = at + frame::HEAD_BYTES;
        let body = whole_frame(data, &mut at, frame::BODY, head.channel, frame_max)?;
        if body.len() as u64 != header.body_bytes {
            return None;
        }
        Some(Whole { publish, header, body, body_at, frame_bytes: at })
    }
}

/// The payload of the frame at `at`, which is moved behind it, if it is whole and of that kind.
#[inline]
fn whole_frame<'a>(data: &'a [u8], at: &mut usize, kind: u8, channel: u16, frame_max: usize) -> Option<&'a [u8]> {
    let rest = &data[*at..];
    let head = FrameHead::read(rest)?;
    let is_that = head.kind == kind && head.channel == channel && head.size <= frame_max;
    if !is_that || rest.len() < head.frame_bytes() || rest[head.frame_bytes() - 1] != frame::END {
        return None;
    }
    *at += head.frame_bytes();
    Some(&rest[frame::HEAD_BYTES..frame::HEAD_BYTES + head.size])
}

/// Remembers the last publish up to its body: one that begins with the same bytes goes the same way, without being
/// decoded and routed again.
#[derive(Default)]
pub struct Template {
    pub channel: u16,
    wire: Vec<u8>,
    body_bytes: usize,
    /// Everything of the record but the body.
    record: Vec<u8>,
    exchange_bytes: usize,
    way: Option<Way>,
    checked_in: u64,
    hits: u32,
    misses: u32,
}

/// Where messages go that look the same up to their bodies.
enum Way {
    To(TargetId),
    /// All of them have the same delay.
    HeldBack(TargetId),
    /// Each to another, by chance.
    OneOf(Arc<OneOf>),
}

/// After this many publishes in a row that were like none before them, only one in so many is remembered.
const MISSES_MAX: u32 = 8;

impl Template {
    /// Whether the publish at the front of `data` is like the one remembered, and all there.
    #[inline]
    pub fn matches(&self, data: &[u8]) -> bool {
        let end = self.wire.len() + self.body_bytes;
        self.way.is_some() && data.len() > end && data.starts_with(&self.wire) && data[end] == frame::END
    }

    pub fn forget(&mut self) {
        self.way = None;
    }

    /// Looks again where the messages go.
    fn look(&mut self, routes: &mut Routes) {
        let (exchange, key) = route_of(&self.record, self.exchange_bytes);
        self.way = match self.way {
            Some(Way::OneOf(_)) => routes.one_of(exchange).cloned().map(Way::OneOf),
            Some(Way::HeldBack(_)) => routes.find_held_back(exchange, key).map(Way::HeldBack),
            _ => routes.find(exchange, key).map(Way::To),
        };
        self.checked_in = routes.batch();
    }

    fn is_worth_remembering(&mut self) -> bool {
        if std::mem::take(&mut self.hits) > 0 {
            self.misses = 0;
            return true;
        }
        self.misses += 1;
        self.misses < MISSES_MAX || self.misses.is_multiple_of(MISSES_MAX)
    }
}

impl Channel {
    /// Publishes all messages at the front of `data` that are like the template. Returns how many bytes they were;
    /// 0 if the first must be looked at closely.
    pub fn publish_alike(
        &mut self,
        template: &mut Template,
        data: &[u8],
        session: &mut Session,
        scratch: &mut Scratch,
    ) -> usize {
        // The method that suspends a channel has the template forgotten.
        debug_assert!(!self.is_suspended());
        if self.closing || !self.content.is_nothing() || matches!(self.mode, Mode::Transaction(_)) {
            return 0;
        }
        if template.checked_in != session.routes.batch() {
            template.look(&mut session.routes);
        }
        let (at, count) = match &template.way {
            // A route to nowhere is not for here: the publisher may want its message back.
            Some(Way::To(target)) if session.routes.queues(*target).is_empty() => return 0,
            // One of them may be refused, and the publisher has to be told which.
            Some(Way::To(target)) if session.routes.may_refuse(*target) => {
                gather_each(template, || *target, data, self.origin(), session, scratch)
            }
            Some(Way::To(target) | Way::HeldBack(target)) => gather_alike(template, *target, data, session, scratch),
            Some(Way::OneOf(one_of)) => gather_each(template, || one_of.draw(), data, self.origin(), session, scratch),
            None => return 0,
        };
        template.hits += count;
        self.count_published(u64::from(count), scratch);
        at
    }

    /// Publishes a message that lies in the read buffer as a whole, and remembers what it looked like.
    pub fn publish_whole(
        &mut self,
        whole: &Whole<'_>,
        data: &[u8],
        template: &mut Template,
        session: &mut Session,
        scratch: &mut Scratch,
    ) -> Result<(), Fault> {
        check_header(&whole.header, session.limits())?;
        let routed =
            self.publish(whole.publish, whole.header.properties, Body::Borrowed(whole.body), session, scratch)?;
        match routed {
            // While messages are traced, each is looked at.
            Some(way) if whole.body_at > 0 && !session.is_tracing && template.is_worth_remembering() => {
                template.channel = self.number;
                template.wire.clear();
                template.wire.extend_from_slice(&data[..whole.body_at]);
                template.body_bytes = whole.body.len();
                template.record.clone_from(&scratch.prefix);
                template.exchange_bytes = whole.publish.exchange.len();
                template.way = Some(way);
                template.checked_in = session.routes.batch();
            }
            _ => template.forget(),
        }
        Ok(())
    }

    /// Publishes a message that was assembled from its frames.
    pub fn publish_assembled(
        &mut self,
        incoming: Incoming,
        session: &mut Session,
        scratch: &mut Scratch,
    ) -> Result<(), Fault> {
        let Incoming { method, properties, body, .. } = incoming;
        self.publish(method.publish(), &properties, Body::Owned(body), session, scratch).map(drop)
    }

    /// Checks, routes and enqueues (or, in a transaction, stages) a message. Returns the way of whatever looks the same up to
    /// its body, if that is known; then `scratch.prefix` is its record up to the body.
    fn publish(
        &mut self,
        publish: Publish<'_>,
        properties: &[u8],
        body: Body<'_>,
        session: &mut Session,
        scratch: &mut Scratch,
    ) -> Result<Option<Way>, Fault> {
        if publish.immediate {
            return Err(Fault::not_implemented("immediate=true"));
        }
        let known = session.routes.look_up(publish.exchange, publish.routing_key);
        let view = PropertiesView::parse(properties, session.limits().table_depth);
        let is_delayed = || view.as_ref().is_ok_and(|view| header::delay_ms(view).is_some());
        let known = known.filter(|known| matches!(known, Known::To(_)) || is_delayed());
        let exchange = match known {
            Some(_) => None,
            None => Some(find_exchange(publish, session)?),
        };
        let view = view.map_err(|e| e.fault())?;
        let checked = self.check_properties(&view, publish, exchange.as_deref(), session)?;
        let flags = record_flags(&view);
        scratch.prefix.clear();
        let properties = checked.rewritten.as_deref().unwrap_or(properties);
        let body_bytes = body.bytes().len() as u32;
        record::append_prefix(
            &mut scratch.prefix,
            flags,
            publish.exchange,
            publish.routing_key,
            properties,
            body_bytes,
        );
        let vhost;
        let Routed { target, way, is_held_back, admission, again } = match (known, exchange) {
            (Some(Known::To(target)), _) if checked.more_keys.is_empty() => Routed::known(target),
            (Some(Known::HeldBack(target)), _) if checked.more_keys.is_empty() => Routed::held_back(target),
            (_, exchange) => {
                let exchange = match exchange {
                    Some(exchange) => exchange,
                    None => find_exchange(publish, session)?,
                };
                let table_depth = session.limits().table_depth;
                let message =
                    message::Whole { properties: &view, table_depth, prefix: &scratch.prefix, body: body.bytes() };
                let is_staged = matches!(self.mode, Mode::Transaction(_));
                vhost = session.vhost.clone();
                let through = (&*vhost, &mut session.routes);
                route(publish, message, &checked, &exchange, through, is_staged)
            }
        };
        if session.is_tracing {
            let routing_keys = [&[publish.routing_key], checked.more_keys.as_slice()].concat();
            let traced = Traced {
                channel: self.number,
                exchange: publish.exchange,
                routing_keys: &routing_keys,
                properties,
                body: body.bytes(),
            };
            trace::published(&traced, target, session, scratch);
        }
        if is_held_back && view.has_bcc() {
            // It is routed once more, by all its keys.
            let properties = checked.with_bcc.as_deref().unwrap_or(view.as_bytes());
            let (exchange, key) = (publish.exchange, publish.routing_key);
            scratch.prefix.clear();
            record::append_prefix(&mut scratch.prefix, flags, exchange, key, properties, body_bytes);
        }
        if let Mode::Transaction(transaction) = &mut self.mode {
            transaction.published.push(Staged {
                queues: SmallVec::from(session.routes.queues(target)),
                mandatory: publish.mandatory,
                record: body.into_record(&scratch.prefix),
                again,
            });
            return Ok(None);
        }
        self.count_published(1, scratch);
        if let Some(admission) = admission {
            let record = body.into_record(&scratch.prefix);
            let to = (target, publish.mandatory);
            self.enqueue_admitted(admission, to, record, &mut session.routes, session.frame_max, scratch);
            return Ok(None);
        }
        if session.routes.queues(target).is_empty() {
            if publish.mandatory {
                let record = body.into_record(&scratch.prefix);
                deliver::returned(&mut scratch.out, self.number, session.frame_max, &Record::new(&record));
            }
            return Ok(None);
        }
        enqueue(target, body, self.origin(), &mut session.routes, scratch);
        Ok(way)
    }

    /// Enqueues a message at which exchanges that deduplicate have looked, or drops it. A duplicate is confirmed when what
    /// it is a duplicate of is kept, and not returned.
    fn enqueue_admitted(
        &self,
        admission: Admission<'_>,
        (target, mandatory): (TargetId, bool),
        record: Vec<u8>,
        routes: &mut Routes,
        frame_max: usize,
        scratch: &mut Scratch,
    ) {
        if routes.queues(target).is_empty() {
            scratch.batch.add_epoch(admission.epoch());
            if mandatory && !admission.is_duplicate() {
                deliver::returned(&mut scratch.out, self.number, frame_max, &Record::new(&record));
            }
            return;
        }
        scratch.settle_before_publishing_to(target, routes);
        let Scratch { batch, wakes, .. } = scratch;
        batch.enqueue_admitted(routes, target, record, self.origin(), admission, wakes);
    }

    /// Who is to be told if the last publish is refused.
    fn origin(&self) -> Origin {
        let number = if let Mode::Confirm(confirms) = &self.mode { confirms.published() } else { 0 };
        Origin { channel: self.number, number }
    }

    fn count_published(&mut self, count: u64, scratch: &mut Scratch) {
        if let Mode::Confirm(confirms) = &mut self.mode
            && confirms.count(count)
        {
            scratch.to_confirm.push(self.number);
        }
    }

    /// Checks what the properties ask for, in RabbitMQ's order: expiration, CC and BCC, permission for all routing keys,
    /// user-id; direct reply-to. The exchange is there unless its route is known, and with it the permission.
    fn check_properties<'a>(
        &self,
        view: &PropertiesView<'a>,
        publish: Publish<'_>,
        exchange: Option<&Exchange>,
        session: &Session,
    ) -> Result<Checked<'a>, Fault> {
        let mut checked = Checked { more_keys: Vec::new(), rewritten: None, with_bcc: None };
        if view.has(Property::Expiration) {
            view.expiration_ms()?;
        }
        if view.has_cc_or_bcc() {
            checked.more_keys = view.cc_and_bcc()?;
            if view.has_bcc() {
                checked.rewritten = Some(view.without_bcc());
            }
        }
        check_topics(publish, exchange, &checked.more_keys, session)?;
        if let Some(user_id) = view.user_id()
            && user_id != session.user.name.as_bytes()
            && !session.user.has_tag("impersonator")
        {
            return Err(Fault::precondition_failed(format!(
                "user_id property set to '{}' but authenticated user was '{}'",
                String::from_utf8_lossy(user_id),
                session.user.name
            )));
        }
        if let Some(reply_to) = view.reply_to()
            && REPLY_TO_NAMES.contains(&reply_to)
        {
            let Some(queue) = &self.reply_queue else {
                return Err(Fault::precondition_failed("fast reply consumer does not exist"));
            };
            let name = queue.name().as_bytes();
            checked.rewritten = Some(match checked.rewritten.take() {
                Some(without_bcc) => {
                    checked.with_bcc = Some(view.with_reply_to(name));
                    PropertiesView::parse(&without_bcc, u8::MAX).map_err(|e| e.fault())?.with_reply_to(name)
                }
                None => view.with_reply_to(name),
            });
        }
        Ok(checked)
    }

    /// `tx.commit`: what was published is enqueued in order, what went to no queue is returned if it is mandatory.
    pub(super) fn enqueue_staged(&self, staged: Vec<Staged>, session: &mut Session, scratch: &mut Scratch) {
        for Staged { mut queues, mandatory, record, again } in staged {
            if let Some(again) = again {
                self.enqueue_again(&again, mandatory, record, session, scratch);
                continue;
            }
            let view = Record::new(&record);
            queues.retain(|queue| !queue.is_dead());
            if queues.is_empty() && view.exchange().is_empty() {
                // Through the default exchange a queue is looked up by its name when it is to take the message.
                queues.extend(session.vhost.queue_by_key(view.routing_key()));
            }
            if queues.is_empty() {
                if mandatory {
                    deliver::returned(&mut scratch.out, self.number, session.frame_max, &Record::new(&record));
                }
                continue;
            }
            let target = session.routes.target(&queues);
            let origin = Origin { channel: self.number, number: 1 };
            let (batch, routes, wakes) = (&mut scratch.batch, &mut session.routes, &mut scratch.wakes);
            if record.len() >= OWN_CHUNK_BYTES {
                batch.enqueue_alone(routes, target, record, origin, wakes);
            } else {
                batch.push(routes, target, (view.prefix(), view.body()), origin, wakes);
            }
        }
    }
}

impl Channel {
    /// Enqueues a message of a transaction that met exchanges that deduplicate: they look at it now.
    fn enqueue_again(
        &self,
        again: &RoutedAgain,
        mandatory: bool,
        record: Vec<u8>,
        session: &mut Session,
        scratch: &mut Scratch,
    ) {
        let Ok(properties) = PropertiesView::parse(Record::new(&record).properties(), u8::MAX) else { return };
        let keys: SmallVec<[&[u8]; 4]> = again.routing_keys.iter().map(|key| &**key).collect();
        let Session { vhost, routes, frame_max, .. } = session;
        let mut admission = vhost.admission();
        let mut message = message::Again(&properties);
        let route = vhost.route_admitted(&again.exchange, &keys, &mut message, Some(&mut admission));
        let target = routes.target(&route.queues);
        self.enqueue_admitted(admission, (target, mandatory), record, routes, *frame_max, scratch);
    }
}

/// Where a publish goes.
struct Routed<'v> {
    target: TargetId,
    /// The way that the next goes with its exchange and routing key, if that is known.
    way: Option<Way>,
    /// It goes nowhere but where an exchange holds it back.
    is_held_back: bool,
    /// If an exchange has looked at it.
    admission: Option<Admission<'v>>,
    /// If exchanges are to look at it when the transaction is committed.
    again: Option<Box<RoutedAgain>>,
}

impl Routed<'_> {
    fn known(target: TargetId) -> Self {
        Routed { target, way: Some(Way::To(target)), is_held_back: false, admission: None, again: None }
    }

    /// For a message with a delay.
    fn held_back(target: TargetId) -> Self {
        Routed { way: Some(Way::HeldBack(target)), is_held_back: true, ..Routed::known(target) }
    }

    fn drawn(one_of: &Arc<OneOf>) -> Self {
        Routed { way: Some(Way::OneOf(one_of.clone())), ..Routed::known(one_of.draw()) }
    }
}

/// What the properties of a publish came to.
struct Checked<'a> {
    /// Routing keys of CC and BCC.
    more_keys: Vec<&'a [u8]>,
    /// The properties to keep, where they are not those that came.
    rewritten: Option<Vec<u8>>,
    /// The same, but for `BCC`, which `rewritten` is without.
    with_bcc: Option<Vec<u8>>,
}

/// A message's body: in the read buffer, or assembled.
enum Body<'a> {
    Borrowed(&'a [u8]),
    Owned(Vec<u8>),
}

impl Body<'_> {
    fn bytes(&self) -> &[u8] {
        match self {
            Body::Borrowed(bytes) => bytes,
            Body::Owned(bytes) => bytes,
        }
    }

    fn into_record(self, prefix: &[u8]) -> Vec<u8> {
        [prefix, self.bytes()].concat()
    }
}

/// Gathers all messages at the front of `data` that are like the template for their queues. Returns the bytes and the
/// number of messages.
#[inline]
fn gather_alike(
    template: &Template,
    target: TargetId,
    data: &[u8],
    session: &mut Session,
    scratch: &mut Scratch,
) -> (usize, u32) {
    let frame_bytes = template.wire.len() + template.body_bytes + 1;
    scratch.settle_before_publishing_to(target, &session.routes);
    let mut chunk = scratch.batch.chunk(&mut session.routes, target, &mut scratch.wakes);
    chunk.reserve((data.len() / frame_bytes).min(4096) * (template.record.len() + template.body_bytes));
    let (mut at, mut count) = (0, 0);
    while template.matches(&data[at..]) {
        let body_at = at + template.wire.len();
        if chunk.is_full() {
            chunk = scratch.batch.chunk(&mut session.routes, target, &mut scratch.wakes);
        }
        chunk.push(&template.record, &data[body_at..body_at + template.body_bytes]);
        at += frame_bytes;
        count += 1;
    }
    (at, count)
}

/// As [`gather_alike`], each for a target of its own, and with its origin. `before` is the publish before them.
fn gather_each(
    template: &Template,
    draw: impl Fn() -> TargetId,
    data: &[u8],
    before: Origin,
    session: &mut Session,
    scratch: &mut Scratch,
) -> (usize, u32) {
    let frame_bytes = template.wire.len() + template.body_bytes + 1;
    let (mut at, mut count) = (0, 0);
    while template.matches(&data[at..]) {
        let body_at = at + template.wire.len();
        let target = draw();
        scratch.settle_before_publishing_to(target, &session.routes);
        let message = (&template.record[..], &data[body_at..body_at + template.body_bytes]);
        count += 1;
        let origin = Origin { number: before.number + u64::from(count), ..before };
        scratch.batch.push(&mut session.routes, target, message, origin, &mut scratch.wakes);
        at += frame_bytes;
    }
    (at, count)
}

fn enqueue(target: TargetId, body: Body<'_>, origin: Origin, routes: &mut Routes, scratch: &mut Scratch) {
    scratch.settle_before_publishing_to(target, routes);
    let Scratch { prefix, batch, wakes, .. } = scratch;
    if prefix.len() + body.bytes().len() >= OWN_CHUNK_BYTES {
        batch.enqueue_alone(routes, target, body.into_record(prefix), origin, wakes);
    } else {
        batch.push(routes, target, (prefix, body.bytes()), origin, wakes);
    }
}

/// Looks the exchange up for a publish: 403 without the permission, 404 if there is none, 403 if clients may not publish to
/// it.
fn find_exchange(publish: Publish<'_>, session: &Session) -> Result<Arc<Exchange>, Fault> {
    let name = String::from_utf8_lossy(publish.exchange);
    session.caller().write_exchange(&name)?;
    session.vhost.exchange_to_publish(&name)
}

/// 403 if the exchange is a topic exchange and one of the routing keys not permitted there. Without an exchange, what leads
/// there by the message's own routing key is known, and was permitted.
fn check_topics(
    publish: Publish<'_>,
    exchange: Option<&Exchange>,
    more_keys: &[&[u8]],
    session: &Session,
) -> Result<(), Fault> {
    let caller = session.caller();
    let write_all = |exchange: &Exchange| more_keys.iter().try_for_each(|key| caller.write_topic(exchange, key));
    match exchange {
        Some(exchange) => {
            caller.write_topic(exchange, publish.routing_key)?;
            write_all(exchange)
        }
        None if more_keys.is_empty() => Ok(()),
        None => write_all(&*find_exchange(publish, session)?),
    }
}

/// Routes a message anew, unless it is known from what to draw. One that is staged for a transaction is routed past
/// exchanges that deduplicate as if it were new.
fn route<'v>(
    publish: Publish<'_>,
    mut message: message::Whole<'_>,
    checked: &Checked<'_>,
    exchange: &Arc<Exchange>,
    (vhost, routes): (&'v VHost, &mut Routes),
    is_staged: bool,
) -> Routed<'v> {
    if checked.more_keys.is_empty()
        && let Some(one_of) = routes.one_of(publish.exchange)
    {
        return Routed::drawn(one_of);
    }
    let mut keys: SmallVec<[&[u8]; 4]> = SmallVec::new();
    keys.push(publish.routing_key);
    keys.extend_from_slice(&checked.more_keys);
    let mut admission = vhost.admission();
    let asked = (!is_staged).then_some(&mut admission);
    let mut route = vhost.route_admitted(exchange, &keys, &mut message, asked);
    let again = (is_staged && route.deduplicates()).then(|| RoutedAgain::new(exchange, &keys));
    if !checked.more_keys.is_empty() {
        route.cacheable = false;
        route.one_of.clear();
    }
    let is_held_back = route.is_held_back && route.queues.len() == 1;
    let way: Option<fn(TargetId) -> Way> = match (checked.more_keys.is_empty(), route.cacheable) {
        (true, _) if route.is_held_back_here() => Some(Way::HeldBack),
        (_, true) if !route.deduplicates() => Some(Way::To),
        _ => None,
    };
    let target = routes.insert(exchange, publish.routing_key, route);
    let way = way.map(|way| way(target));
    Routed { target, way, is_held_back, admission: Some(admission).filter(Admission::is_asked), again }
}

fn record_flags(view: &PropertiesView<'_>) -> u16 {
    let flag = |on: bool, flag: u16| if on { flag } else { 0 };
    let flags = flag(view.is_persistent(), flags::PERSISTENT)
        | flag(view.has(Property::Expiration), flags::EXPIRATION)
        | flag(view.has(Property::Headers), flags::HEADERS);
    view.priority().map_or(flags, |priority| flags::with_priority(flags, priority))
}

/// Exchange and routing key of a record's prefix.
fn route_of(prefix: &[u8], exchange_bytes: usize) -> (&[u8], &[u8]) {
    let rest = &prefix[record::HEAD_BYTES..];
    let key_bytes = prefix[record::HEAD_BYTES - 1] as usize;
    (&rest[..exchange_bytes], &rest[exchange_bytes..exchange_bytes + key_bytes])
}
