//! Clients that publish, consume, settle and go, all on the same queues, against a model with one entry a message.
//!
//! Clients see neither runs nor what is on its way to others. So the model knows only whether a message is in its
//! queue or with a client, and looks more closely where nothing can be on its way.

use std::collections::VecDeque;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread;

use amq_protocol::protocol::{AMQPClass, basic, channel, confirm, queue, tx};

use super::peer::{Event, Frames, Peer, new_broker};
use crate::broker::Broker;
use crate::model_testing::{Random, check_seeds, ensure};
use crate::wire::hot::Outcome;
use crate::wire::method;

const QUEUES: [&str; 3] = ["q0", "q1", "q2"];
const CLIENTS: usize = 3;
/// Each client has these channels open; the index is the number less one.
const CHANNELS: [Mode; 3] = [Mode::Plain, Mode::Confirm, Mode::Transaction];
/// `basic.qos` of each of them, without and with `global`; 0 is none. Where nothing is shared, each consumer has its own.
const PREFETCH: [(u16, u16); 3] = [(0, 0), (2, 3), (0, 5)];

/// Class and method of answers.
const CHANNEL_CLOSE_OK: (u16, u16) = (20, 41);
const QOS_OK: (u16, u16) = (60, 11);
const CONSUME_OK: (u16, u16) = (60, 21);
const CANCEL_OK: (u16, u16) = (60, 31);
const COMMIT_OK: (u16, u16) = (90, 21);
const ROLLBACK_OK: (u16, u16) = (90, 31);

/// What a client was sent and the model has not yet explained.
type Events = VecDeque<Event>;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Plain,
    Confirm,
    Transaction,
}

/// Exchange and routing key, and the queues that they lead to.
const ROUTES: [(&str, &str, &[usize]); 6] = [
    ("", "q0", &[0]),
    ("", "q1", &[1]),
    ("amq.direct", "some", &[0, 1]),
    ("amq.fanout", "", &[0, 1, 2]),
    ("amq.topic", "a.b.c", &[2]),
    ("amq.direct", "nowhere", &[]),
];

#[derive(Clone, Debug)]
enum Command {
    // One client sends all this in one go; the broker reads it in two parts.
    Send { client: usize, actions: Vec<(usize, Action)>, cut: usize },
    Receive { client: usize, items: usize },
    Vanish { client: usize },
    // All clients read until there is nothing more.
    Settle,
}

#[derive(Clone, Debug)]
enum Action {
    Publish { route: usize, count: usize, body_bytes: usize, mandatory: bool, body_frames: usize },
    Settle { pick: usize, multiple: bool, outcome: Outcome },
    Get { queue: usize, no_ack: bool },
    Consume { queue: usize, no_ack: bool, prefetch: u16 },
    Cancel { pick: usize },
    Purge { queue: usize },
    Commit,
    RollBack,
    Close,
}

fn commands(random: &mut Random) -> Vec<Command> {
    let large = random.one_in(8);
    let mut commands = Vec::new();
    for _ in 0..random.within(5..50) {
        let client = random.below(CLIENTS);
        commands.push(match random.below(20) {
            0..=10 => {
                let actions = (0..random.within(1..7)).map(|_| action(random, large)).collect();
                Command::Send { client, actions, cut: random.below(1000) }
            }
            11..=17 => Command::Receive { client, items: random.pick(&[1, 1, 2, 100]) },
            18 if random.one_in(3) => Command::Vanish { client },
            _ => Command::Settle,
        });
    }
    commands
}

fn action(random: &mut Random, large: bool) -> (usize, Action) {
    let channel = random.below(CHANNELS.len());
    let queue = random.below(QUEUES.len());
    let pick = random.below(1000);
    let action = match random.below(30) {
        0..=10 => Action::Publish {
            route: random.below(ROUTES.len()),
            count: random.pick(&[1, 1, 2, 6]),
            body_bytes: if large { random.pick(&[5000, 40_000]) } else { random.pick(&[4, 4, 10, 300]) },
            mandatory: random.one_in(3),
            body_frames: random.pick(&[1, 1, 1, 3]),
        },
        11..=17 => Action::Settle {
            pick,
            multiple: random.one_in(4),
            outcome: random.pick(&[Outcome::Acked, Outcome::Acked, Outcome::Rejected, Outcome::Requeued]),
        },
        18 | 19 => Action::Get { queue, no_ack: random.one_in(2) },
        20..=22 => Action::Consume { queue, no_ack: random.one_in(4), prefetch: random.pick(&[0, 0, 1, 3]) },
        23 => Action::Cancel { pick },
        24 => Action::Purge { queue },
        25 | 26 => Action::Commit,
        27 => Action::RollBack,
        28 if random.one_in(3) => Action::Close,
        _ => Action::Get { queue, no_ack: true },
    };
    (channel, action)
}

struct Message {
    id: u32,
    redelivered: bool,
    /// Whether it is in its queue, perhaps on its way to a consumer, and not with a client.
    queued: bool,
    /// It may have been on its way and come back, so that it may come after messages that were published later.
    may_be_late: bool,
}

#[derive(Clone, Copy, Debug)]
struct Delivery {
    tag: u64,
    queue: usize,
    id: u32,
    /// `None` for `basic.get`.
    consumer: Option<usize>,
}

struct Consumer {
    number: usize,
    queue: usize,
    no_ack: bool,
    prefetch: usize,
    /// The last message that it got of those that cannot be late.
    last: Option<u32>,
}

#[derive(Default)]
struct Channel {
    next_tag: u64,
    outstanding: Vec<Delivery>,
    consumers: Vec<Consumer>,
    /// Publishes, and those up to which all are confirmed.
    published: u64,
    confirmed: u64,
    /// Of a transaction: messages with their routes, whether they are mandatory, and what it settles.
    staged: Vec<(u32, usize, bool)>,
    settled: Vec<(Outcome, Delivery)>,
}

struct Client {
    peer: Peer,
    channels: [Channel; 3],
}

/// What a client has sent, as the model is to carry it out.
#[derive(Debug)]
enum Step {
    Publish { ids: Vec<u32>, route: usize, mandatory: bool },
    Settle { tags: Vec<u64>, outcome: Outcome },
    Get { queue: usize, no_ack: bool },
    Consume { number: usize, queue: usize, no_ack: bool, prefetch: u16 },
    Cancel { number: usize },
    Purge { queue: usize },
    Commit,
    RollBack,
    Close,
}

struct World {
    broker: Arc<Broker>,
    queues: [Vec<Message>; 3],
    clients: Vec<Client>,
    next_id: u32,
    next_consumer: usize,
}

impl World {
    fn new() -> World {
        let broker = new_broker();
        let frames = QUEUES.iter().fold(Frames::on(9).open(), |frames, name| frames.declare(name));
        let frames = frames.bind("q0", "amq.direct", "some").bind("q1", "amq.direct", "some");
        let frames = frames.bind("q2", "amq.topic", "a.#").bind("q2", "amq.topic", "#.c");
        let frames = QUEUES.iter().fold(frames, |frames, name| frames.bind(name, "amq.fanout", ""));
        assert_eq!(Peer::new(&broker).send(&frames.bytes).len(), 11);
        let clients = (0..CLIENTS).map(|_| Client::new(&broker)).collect();
        World { broker, queues: Default::default(), clients, next_id: 0, next_consumer: 0 }
    }

    fn carry_out(&mut self, command: &Command) -> Result<(), String> {
        match command {
            Command::Send { client, actions, cut } => self.send(*client, actions, *cut),
            Command::Receive { client, items } => self.receive(*client, *items).map(drop),
            Command::Vanish { client } => {
                self.vanish(*client);
                self.clients[*client] = Client::new(&self.broker);
                Ok(())
            }
            Command::Settle => self.receive_all(),
        }
    }

    fn send(&mut self, client: usize, actions: &[(usize, Action)], cut: usize) -> Result<(), String> {
        let mut plan = Plan::new(self, client);
        actions.iter().for_each(|(channel, action)| plan.add(*channel, action));
        let Plan { bytes, steps, .. } = plan;
        let (first, rest) = bytes.split_at(cut % (bytes.len() + 1));
        let peer = &mut self.clients[client].peer;
        let mut events: VecDeque<_> = peer.send(first).into();
        events.extend(peer.send(rest));
        for (channel, step) in steps {
            self.apply(client, channel, &step, &mut events).map_err(|why| format!("{step:?}: {why}"))?;
        }
        while let Some(event) = events.pop_front() {
            ensure!(self.clients[client].is_confirm(&event)?, "{event:?} comes from nothing that was sent");
        }
        self.clients[client].channels.iter().try_for_each(Channel::check_confirmed)
    }

    fn apply(&mut self, client: usize, at: usize, step: &Step, events: &mut Events) -> Result<(), String> {
        match step {
            Step::Publish { ids, route, mandatory } => self.published(client, at, ids, *route, *mandatory, events),
            Step::Settle { tags, outcome } => {
                let channel = &mut self.clients[client].channels[at];
                let settled = channel.outstanding.extract_if(.., |d| tags.contains(&d.tag)).collect::<Vec<_>>();
                if CHANNELS[at] == Mode::Transaction {
                    channel.settled.extend(settled.into_iter().map(|delivery| (*outcome, delivery)));
                } else {
                    settled.into_iter().for_each(|delivery| self.settle(*outcome, delivery));
                }
                Ok(())
            }
            Step::Get { queue, no_ack } => {
                let event = self.next_event(client, events)?;
                self.got(client, at, *queue, *no_ack, event)
            }
            &Step::Consume { number, queue, no_ack, prefetch } => {
                if PREFETCH[at].1 == 0 {
                    self.expect(client, events, QOS_OK)?;
                }
                let consumer = Consumer { number, queue, no_ack, prefetch: prefetch.into(), last: None };
                self.clients[client].channels[at].consumers.push(consumer);
                self.expect(client, events, CONSUME_OK)
            }
            Step::Cancel { number } => {
                let consumers = &mut self.clients[client].channels[at].consumers;
                let cancelled = consumers.extract_if(.., |consumer| consumer.number == *number).collect::<Vec<_>>();
                cancelled.iter().for_each(|consumer| self.may_be_late(consumer.queue));
                self.expect(client, events, CANCEL_OK)
            }
            Step::Purge { queue } => {
                let event = self.next_event(client, events)?;
                let AMQPClass::Queue(queue::AMQPMethod::PurgeOk(ok)) = event.method else {
                    return Err(format!("{event:?}"));
                };
                let purged = self.queues[*queue].extract_if(.., |message| message.queued).count();
                ensure!(ok.message_count as usize == purged, "purged {}, not {purged}", ok.message_count);
                Ok(())
            }
            Step::Commit => {
                let channel = &mut self.clients[client].channels[at];
                let (staged, settled) = (std::mem::take(&mut channel.staged), std::mem::take(&mut channel.settled));
                for (id, route, mandatory) in staged {
                    self.enqueue(client, id, route, mandatory, events)?;
                }
                settled.into_iter().for_each(|(outcome, delivery)| self.settle(outcome, delivery));
                self.expect(client, events, COMMIT_OK)
            }
            Step::RollBack => {
                self.clients[client].channels[at].roll_back();
                self.expect(client, events, ROLLBACK_OK)
            }
            Step::Close => {
                self.expect(client, events, CHANNEL_CLOSE_OK)?;
                self.clients[client].channels[at].check_confirmed()?;
                self.close(client, at);
                (0..opening(at).1).try_for_each(|_| self.next_event(client, events).map(drop))
            }
        }
    }

    fn published(
        &mut self,
        client: usize,
        at: usize,
        ids: &[u32],
        route: usize,
        mandatory: bool,
        events: &mut Events,
    ) -> Result<(), String> {
        for &id in ids {
            let channel = &mut self.clients[client].channels[at];
            if CHANNELS[at] == Mode::Transaction {
                channel.staged.push((id, route, mandatory));
                continue;
            }
            channel.published += u64::from(CHANNELS[at] == Mode::Confirm);
            self.enqueue(client, id, route, mandatory, events)?;
            let Channel { published, confirmed, .. } = self.clients[client].channels[at];
            ensure!(confirmed == 0 || confirmed < published, "{confirmed} of {published} were confirmed too early");
        }
        Ok(())
    }

    /// The next answer that is not a confirm.
    fn next_event(&mut self, client: usize, events: &mut Events) -> Result<Event, String> {
        while let Some(event) = events.pop_front() {
            if !self.clients[client].is_confirm(&event)? {
                return Ok(event);
            }
        }
        Err("no answer".into())
    }

    fn expect(&mut self, client: usize, events: &mut Events, ids: (u16, u16)) -> Result<(), String> {
        let event = self.next_event(client, events)?;
        ensure!(method::ids(&event.method) == ids, "answered by {event:?}");
        Ok(())
    }

    /// A message gets into its queues, or comes back.
    fn enqueue(
        &mut self,
        client: usize,
        id: u32,
        route: usize,
        mandatory: bool,
        events: &mut Events,
    ) -> Result<(), String> {
        let queues = ROUTES[route].2;
        for &queue in queues {
            self.queues[queue].push(Message { id, redelivered: false, queued: true, may_be_late: false });
        }
        if queues.is_empty() && mandatory {
            let event = self.next_event(client, events)?;
            let returned = matches!(event.method, AMQPClass::Basic(basic::AMQPMethod::Return(_)));
            ensure!(returned && id_of(&event)? == id, "message {id} should come back, not {event:?}");
        }
        Ok(())
    }

    fn settle(&mut self, outcome: Outcome, delivery: Delivery) {
        if outcome == Outcome::Requeued {
            self.requeue(delivery);
        } else {
            self.queues[delivery.queue].retain(|message| message.id != delivery.id);
        }
    }

    fn requeue(&mut self, delivery: Delivery) {
        let mut messages = self.queues[delivery.queue].iter_mut();
        let message = messages.find(|message| message.id == delivery.id).expect("what is outstanding exists");
        (message.queued, message.redelivered, message.may_be_late) = (true, true, true);
    }

    /// Some of a queue's messages may have come back to it.
    fn may_be_late(&mut self, queue: usize) {
        self.queues[queue].iter_mut().for_each(|message| message.may_be_late = true);
    }

    fn close(&mut self, client: usize, at: usize) {
        let mut channel = std::mem::take(&mut self.clients[client].channels[at]);
        channel.roll_back();
        channel.outstanding.into_iter().for_each(|delivery| self.requeue(delivery));
        channel.consumers.iter().for_each(|consumer| self.may_be_late(consumer.queue));
        self.clients[client].channels[at].next_tag = 1;
    }

    fn vanish(&mut self, client: usize) {
        self.clients[client].peer.vanish();
        (0..CHANNELS.len()).for_each(|at| self.close(client, at));
    }

    /// Whether nothing of this queue can be on its way to a consumer.
    fn is_still(&self, queue: usize) -> bool {
        let mut channels = self.clients.iter().flat_map(|client| &client.channels);
        !channels.any(|channel| channel.consumers.iter().any(|consumer| consumer.queue == queue))
    }

    fn got(&mut self, client: usize, at: usize, queue: usize, no_ack: bool, event: Event) -> Result<(), String> {
        let mut queued = self.queues[queue].iter().filter(|message| message.queued);
        let (first, more) = (queued.next().map(|message| message.id), queued.count());
        let ok = match &event.method {
            AMQPClass::Basic(basic::AMQPMethod::GetEmpty(_)) => {
                ensure!(first.is_none() || !self.is_still(queue), "got nothing, although message {first:?} waits");
                return Ok(());
            }
            AMQPClass::Basic(basic::AMQPMethod::GetOk(ok)) => ok,
            _ => return Err(format!("{event:?}")),
        };
        let id = id_of(&event)?;
        if self.is_still(queue) {
            ensure!(Some(id) == first, "got message {id}, not {first:?}");
            ensure!(ok.message_count as usize == more, "{} wait, not {more}", ok.message_count);
        }
        let delivery = Delivery { tag: ok.delivery_tag, queue, id, consumer: None };
        self.take(client, at, delivery, ok.redelivered, no_ack)
    }

    /// A message goes to a client.
    fn take(
        &mut self,
        client: usize,
        at: usize,
        delivery: Delivery,
        redelivered: bool,
        no_ack: bool,
    ) -> Result<(), String> {
        let Delivery { tag, queue, id, .. } = delivery;
        let messages = &mut self.queues[queue];
        let Some(place) = messages.iter().position(|message| message.id == id && message.queued) else {
            return Err(format!("message {id} is not in queue {queue}"));
        };
        ensure!(messages[place].redelivered == redelivered, "message {id}: redelivered {redelivered}");
        let channel = &mut self.clients[client].channels[at];
        ensure!(tag == channel.next_tag, "delivery tag {tag}, not {}", channel.next_tag);
        channel.next_tag += 1;
        if no_ack {
            messages.remove(place);
        } else {
            messages[place].queued = false;
            channel.outstanding.push(delivery);
        }
        Ok(())
    }

    /// Returns whether anything came.
    fn receive(&mut self, client: usize, items: usize) -> Result<bool, String> {
        let events = self.clients[client].peer.receive(items);
        for event in &events {
            self.deliver(client, event).map_err(|why| format!("{event:?}: {why}"))?;
        }
        Ok(!events.is_empty())
    }

    fn deliver(&mut self, client: usize, event: &Event) -> Result<(), String> {
        let AMQPClass::Basic(basic::AMQPMethod::Deliver(deliver)) = &event.method else {
            return Err("it is not a delivery".into());
        };
        let (id, at) = (id_of(event)?, usize::from(event.channel) - 1);
        let number: usize = deliver.consumer_tag.as_str().parse().map_err(|_| "an unknown consumer")?;
        let consumers = &mut self.clients[client].channels[at].consumers;
        let Some(consumer) = consumers.iter_mut().find(|consumer| consumer.number == number) else {
            return Err("the consumer was cancelled".into());
        };
        let (queue, no_ack, prefetch) = (consumer.queue, consumer.no_ack, consumer.prefetch);
        let late = self.queues[queue].iter().find(|message| message.id == id).is_none_or(|message| message.may_be_late);
        if !late {
            // Of staged messages the ids are not in the order of the queue.
            let place = |id| self.queues[queue].iter().position(|message| message.id == id);
            let in_order = consumer.last.is_none_or(|last| place(last).is_none_or(|last| Some(last) < place(id)));
            ensure!(in_order, "message {id} came after {:?}", consumer.last);
            consumer.last = Some(id);
        }
        let delivery = Delivery { tag: deliver.delivery_tag, queue, id, consumer: Some(number) };
        self.take(client, at, delivery, deliver.redelivered, no_ack)?;
        let channel = &self.clients[client].channels[at];
        let has = channel.credit_of(|consumer| consumer == number);
        ensure!(no_ack || prefetch == 0 || has <= prefetch, "it has {has} messages, and a prefetch of {prefetch}");
        let all = channel.credit_of(|_| true);
        let limit = usize::from(PREFETCH[at].1);
        ensure!(no_ack || limit == 0 || all <= limit, "its channel has {all} messages, and a limit of {limit}");
        Ok(())
    }

    /// With everything read, queues hold what nobody may have.
    fn receive_all(&mut self) -> Result<(), String> {
        loop {
            let mut any = false;
            for client in 0..CLIENTS {
                any |= self.receive(client, usize::MAX)?;
            }
            if !any {
                break;
            }
        }
        let vhost = self.broker.vhost("/").expect("the default virtual host");
        for (number, name) in QUEUES.iter().enumerate() {
            let queue = vhost.find_queue(name).expect("the queue lives");
            let waiting = self.queues[number].iter().filter(|message| message.queued).count();
            let unacked = self.queues[number].len() - waiting;
            let counts = (queue.counts().0 as usize, queue.unacked() as usize);
            ensure!(counts == (waiting, unacked), "{name} counts {counts:?}, not {:?}", (waiting, unacked));
            ensure!(waiting == 0 || !self.somebody_hungers(number), "messages wait in {name} that somebody could have");
        }
        Ok(())
    }

    fn somebody_hungers(&self, queue: usize) -> bool {
        let channels = || self.clients.iter().flat_map(|client| client.channels.iter().enumerate());
        channels().any(|(at, channel)| {
            let limit = usize::from(PREFETCH[at].1);
            let has_room = limit == 0 || channel.credit_of(|_| true) < limit;
            let hungers = |consumer: &Consumer| {
                let has = channel.credit_of(|of| of == consumer.number);
                consumer.queue == queue && (consumer.no_ack || consumer.prefetch == 0 || has < consumer.prefetch)
            };
            has_room && channel.consumers.iter().any(hungers)
        })
    }

    /// When all clients are gone, everything that was not settled is in its queue, in order.
    fn check_end(mut self) -> Result<(), String> {
        self.receive_all()?;
        (0..CLIENTS).for_each(|client| self.vanish(client));
        self.clients = vec![Client::new(&self.broker)];
        for (queue, name) in QUEUES.iter().enumerate() {
            for _ in 0..=self.queues[queue].len() {
                let events = self.clients[0].peer.send(&Frames::on(1).get(name, true).bytes);
                let event = events.into_iter().next().ok_or("no answer to a get")?;
                self.got(0, 0, queue, true, event)?;
            }
            ensure!(self.queues[queue].is_empty(), "messages are left that no get has found");
        }
        Ok(())
    }
}

impl Channel {
    fn check_confirmed(&self) -> Result<(), String> {
        let Channel { published, confirmed, .. } = self;
        ensure!(published == confirmed, "only {confirmed} of {published} are confirmed");
        Ok(())
    }

    /// Messages that hold credit of these consumers; one that a transaction settles does until it is committed.
    fn credit_of(&self, of: impl Fn(usize) -> bool) -> usize {
        let settled = self.settled.iter().map(|(_, delivery)| delivery);
        self.outstanding.iter().chain(settled).filter(|delivery| delivery.consumer.is_some_and(&of)).count()
    }

    fn roll_back(&mut self) {
        self.staged.clear();
        self.outstanding.extend(self.settled.drain(..).map(|(_, delivery)| delivery));
        self.outstanding.sort_by_key(|delivery| delivery.tag);
    }
}

impl Client {
    fn new(broker: &Arc<Broker>) -> Client {
        let mut client = Client { peer: Peer::new(broker), channels: Default::default() };
        for at in 0..CHANNELS.len() {
            let (frames, answers) = opening(at);
            assert_eq!(client.peer.send(&frames.bytes).len(), answers);
            client.channels[at].next_tag = 1;
        }
        client
    }

    /// Takes note of an event if it is a confirm.
    fn is_confirm(&mut self, event: &Event) -> Result<bool, String> {
        let AMQPClass::Basic(basic::AMQPMethod::Ack(ack)) = &event.method else { return Ok(false) };
        let channel = &mut self.channels[usize::from(event.channel) - 1];
        let fits = channel.confirmed < ack.delivery_tag && (ack.multiple || ack.delivery_tag == channel.confirmed + 1);
        ensure!(fits, "{event:?} comes after the confirm of {}", channel.confirmed);
        channel.confirmed = ack.delivery_tag;
        Ok(true)
    }
}

/// What opens a channel as it is meant to be, and how many answers come.
fn opening(at: usize) -> (Frames, usize) {
    let frames = Frames::on(at as u16 + 1).open();
    let (frames, answers) = match CHANNELS[at] {
        Mode::Plain => (frames, 1),
        Mode::Confirm => {
            let select = confirm::AMQPMethod::Select(confirm::Select { nowait: false });
            (frames.method(AMQPClass::Confirm(select)), 2)
        }
        Mode::Transaction => (frames.method(AMQPClass::Tx(tx::AMQPMethod::Select(tx::Select {}))), 2),
    };
    let (own, shared) = PREFETCH[at];
    (frames.basic(qos(own, false)).basic(qos(shared, true)), answers + 2)
}

fn qos(prefetch_count: u16, global: bool) -> basic::AMQPMethod {
    basic::AMQPMethod::Qos(basic::Qos { prefetch_count, global })
}

fn id_of(event: &Event) -> Result<u32, String> {
    let id = event.body.first_chunk().ok_or("a body without an id")?;
    Ok(u32::from_le_bytes(*id))
}

/// Turns actions into frames, and into steps of the model. Deliveries are settled and consumers cancelled once, and
/// only those that are known before anything is sent.
struct Plan<'a> {
    world: &'a mut World,
    bytes: Vec<u8>,
    steps: Vec<(usize, Step)>,
    tags: [Vec<u64>; 3],
    consumers: [Vec<usize>; 3],
    consumed: Vec<usize>,
}

impl<'a> Plan<'a> {
    fn new(world: &'a mut World, client: usize) -> Plan<'a> {
        let channels = &world.clients[client].channels;
        let tags = channels.each_ref().map(|c| c.outstanding.iter().map(|delivery| delivery.tag).collect());
        let consumers = channels.each_ref().map(|c| c.consumers.iter().map(|consumer| consumer.number).collect());
        Plan { world, bytes: Vec::new(), steps: Vec::new(), tags, consumers, consumed: Vec::new() }
    }

    fn add(&mut self, channel: usize, action: &Action) {
        let frames = Frames::on(channel as u16 + 1);
        if let Some((frames, step)) = self.plan(channel, action, frames) {
            self.bytes.extend_from_slice(&frames.bytes);
            self.steps.push((channel, step));
        }
    }

    fn plan(&mut self, channel: usize, action: &Action, frames: Frames) -> Option<(Frames, Step)> {
        Some(match *action {
            Action::Publish { route, count, body_bytes, mandatory, body_frames } => {
                let first = self.world.next_id;
                self.world.next_id += count as u32;
                let ids: Vec<u32> = (first..self.world.next_id).collect();
                let to = (ROUTES[route].0, ROUTES[route].1);
                let body_frames = body_frames.max(body_bytes.div_ceil(Peer::FRAME_MAX));
                let publish = |frames: Frames, id: &u32| {
                    let mut body = vec![0; body_bytes];
                    body[..4].copy_from_slice(&id.to_le_bytes());
                    frames.publish(to, mandatory, &body, body_frames)
                };
                (ids.iter().fold(frames, publish), Step::Publish { ids, route, mandatory })
            }
            Action::Settle { pick, multiple, outcome } => self.settle(channel, pick, multiple, outcome, frames)?,
            Action::Get { queue, no_ack } => (frames.get(QUEUES[queue], no_ack), Step::Get { queue, no_ack }),
            Action::Consume { queue, no_ack, prefetch } => {
                let number = self.world.next_consumer;
                self.world.next_consumer += 1;
                self.consumed.push(queue);
                let consume = basic::Consume {
                    queue: QUEUES[queue].into(),
                    consumer_tag: number.to_string().into(),
                    no_ack,
                    ..basic::Consume::default()
                };
                // A prefetch for the consumers to come would lift the one that all share.
                let (own, shared) = PREFETCH[channel];
                let prefetch = if shared == 0 { prefetch } else { own };
                let frames = if shared == 0 { frames.basic(qos(prefetch, false)) } else { frames };
                let consume = frames.basic(basic::AMQPMethod::Consume(consume));
                (consume, Step::Consume { number, queue, no_ack, prefetch })
            }
            Action::Cancel { pick } => {
                let known = &mut self.consumers[channel];
                let number = known.remove(pick.checked_rem(known.len())?);
                let cancel = basic::Cancel { consumer_tag: number.to_string().into(), nowait: false };
                (frames.basic(basic::AMQPMethod::Cancel(cancel)), Step::Cancel { number })
            }
            Action::Purge { queue } => {
                if !self.world.is_still(queue) || self.consumed.contains(&queue) {
                    return None;
                }
                let purge = queue::Purge { queue: QUEUES[queue].into(), nowait: false };
                (frames.method(AMQPClass::Queue(queue::AMQPMethod::Purge(purge))), Step::Purge { queue })
            }
            Action::Commit | Action::RollBack if CHANNELS[channel] != Mode::Transaction => return None,
            Action::Commit => (frames.method(AMQPClass::Tx(tx::AMQPMethod::Commit(tx::Commit {}))), Step::Commit),
            Action::RollBack => {
                // From here on "multiple" would settle what comes back as well.
                self.tags[channel].clear();
                (frames.method(AMQPClass::Tx(tx::AMQPMethod::Rollback(tx::Rollback {}))), Step::RollBack)
            }
            Action::Close => {
                self.tags[channel].clear();
                self.consumers[channel].clear();
                let close = channel::AMQPMethod::Close(channel::Close::default());
                let mut frames = frames.method(AMQPClass::Channel(close));
                frames.bytes.extend(opening(channel).0.bytes);
                (frames, Step::Close)
            }
        })
    }

    fn settle(
        &mut self,
        channel: usize,
        pick: usize,
        multiple: bool,
        outcome: Outcome,
        frames: Frames,
    ) -> Option<(Frames, Step)> {
        let known = &mut self.tags[channel];
        let at = pick.checked_rem(known.len())?;
        let delivery_tag = known[at];
        let tags: Vec<_> = known.drain(if multiple { 0 } else { at }..=at).collect();
        let requeue = outcome == Outcome::Requeued;
        let method = match outcome {
            Outcome::Acked => basic::AMQPMethod::Ack(basic::Ack { delivery_tag, multiple }),
            _ if multiple || pick.is_multiple_of(2) => {
                basic::AMQPMethod::Nack(basic::Nack { delivery_tag, multiple, requeue })
            }
            _ => basic::AMQPMethod::Reject(basic::Reject { delivery_tag, requeue }),
        };
        Some((frames.basic(method), Step::Settle { tags, outcome }))
    }
}

/// Each time on a new thread, so that a failure leaves nothing in the thread's buffers for the next.
fn run(commands: &[Command]) -> Result<(), String> {
    let carry_out = || {
        let mut world = World::new();
        commands.iter().try_for_each(|command| world.carry_out(command))?;
        world.check_end()
    };
    thread::scope(|scope| scope.spawn(carry_out).join()).unwrap_or_else(|panic| resume_unwind(panic))
}

#[test]
fn clients_see_what_a_plain_list_would_give_them() {
    check_seeds(0..150, commands, run);
}
