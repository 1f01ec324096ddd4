//! What must be so: messages, consumers and channels as plain lists, and the rules that tell right from wrong.

use super::commands::Consume;
use crate::broker::queue::Relief;
use crate::model_testing::ensure;

/// An index into [`Model::consumers`], and the consumer's slot at its connection.
pub type ConsumerId = usize;

/// While fewer messages than this wait, consumers take turns message by message.
const BACKLOG_MESSAGES: usize = 512;
/// The largest block that is dealt from a longer backlog.
const BLOCK_MESSAGES: usize = 64;

/// Where a message is: in one place, since there is one of these for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Ready,
    /// On its way to a consumer, not written.
    Assigned(ConsumerId),
    /// Written, to be settled on that channel; `None` is `basic.get`.
    Unsettled {
        channel: usize,
        consumer: Option<ConsumerId>,
    },
}

pub struct Message {
    pub id: u32,
    pub bytes: usize,
    pub redelivered: bool,
    pub place: Place,
    /// Its position in the queue.
    pub seq: u64,
    pub persistent: bool,
}

#[derive(Default)]
pub struct QueueModel {
    pub auto_delete: bool,
    pub dead: bool,
    /// Of all messages that ever were there.
    pub ids: Vec<u32>,
    /// Whether messages are on their way from the disk.
    pub loading: bool,
    /// In the order of their positions, which is that of their ids.
    pub messages: Vec<Message>,
    pub drained_bytes: u64,
    /// Publishers, and what they wait for.
    pub paused: Vec<(usize, Relief)>,
    pub turns: Vec<Turns>,
}

/// How many messages consumers of one priority were given while none of them joined or left those that can take more.
pub struct Turns {
    priority: i64,
    given: Vec<(ConsumerId, usize)>,
}

pub struct ConsumerModel {
    pub queue: usize,
    pub channel: usize,
    pub how: Consume,
    /// Cancelled, by the client or by the queue's end.
    pub gone: bool,
    /// Bytes assigned, and not reported to be written.
    pub unsent_bytes: usize,
}

#[derive(Default)]
pub struct ChannelModel {
    /// `basic.qos` with `global`; 0 is none.
    pub prefetch: u32,
    /// Deliveries that hold credit of the channel.
    pub outstanding: u32,
    /// 0 is none.
    pub ceiling: u32,
}

impl ChannelModel {
    /// How many more it may have.
    pub fn room(&self) -> u32 {
        let limit = |n: u32| if n == 0 { u32::MAX } else { n };
        limit(self.prefetch).min(limit(self.ceiling)).saturating_sub(self.outstanding)
    }
}

/// A message as a consumer was given it.
#[derive(Clone, Copy, Debug)]
pub struct Given {
    pub id: u32,
    pub redelivered: bool,
}

#[derive(Default)]
pub struct Model {
    pub queues: Vec<QueueModel>,
    pub consumers: Vec<ConsumerModel>,
    pub channels: Vec<ChannelModel>,
}

impl QueueModel {
    pub fn ready(&self) -> impl Iterator<Item = &Message> {
        self.messages.iter().filter(|message| message.place == Place::Ready)
    }

    pub fn ready_bytes(&self) -> u64 {
        self.ready().map(|message| message.bytes as u64).sum()
    }

    fn at(&self, id: u32) -> usize {
        self.messages.binary_search_by_key(&id, |message| message.id).expect("the queue has this message")
    }

    pub fn message(&mut self, id: u32) -> &mut Message {
        let at = self.at(id);
        &mut self.messages[at]
    }

    pub fn forget(&mut self, id: u32) {
        self.messages.remove(self.at(id));
    }
}

impl Model {
    pub fn live_consumers(&self, queue: usize) -> impl Iterator<Item = ConsumerId> {
        let of_queue = move |c: &ConsumerModel| c.queue == queue && !c.gone;
        self.consumers.iter().enumerate().filter(move |(_, c)| of_queue(c)).map(|(id, _)| id)
    }

    /// Messages that hold credit of a consumer.
    pub fn unsettled_of(&self, id: ConsumerId) -> u32 {
        let holds = |place| match place {
            Place::Ready => false,
            Place::Assigned(consumer) => consumer == id,
            Place::Unsettled { consumer, .. } => consumer == Some(id),
        };
        let messages = &self.queues[self.consumers[id].queue].messages;
        messages.iter().filter(|message| holds(message.place)).count() as u32
    }

    /// Messages of a queue that are to be settled.
    pub fn unacked(&self, queue: usize) -> u64 {
        let to_be_settled = |place| match place {
            Place::Ready => false,
            Place::Assigned(consumer) => !self.consumers[consumer].how.no_ack,
            Place::Unsettled { .. } => true,
        };
        self.queues[queue].messages.iter().filter(|message| to_be_settled(message.place)).count() as u64
    }

    /// Messages that hold credit of a channel: those that its consumers have, not those that it got.
    pub fn outstanding_of(&self, channel: usize) -> u32 {
        let holds = |place| match place {
            Place::Ready => false,
            Place::Assigned(id) => self.consumers[id].channel == channel && !self.consumers[id].how.no_ack,
            Place::Unsettled { channel: of, consumer } => of == channel && consumer.is_some(),
        };
        self.queues.iter().flat_map(|queue| &queue.messages).filter(|message| holds(message.place)).count() as u32
    }

    /// Whether a consumer could be given a message: it has credit, and half of its window.
    fn is_hungry(&self, id: ConsumerId) -> bool {
        let consumer = &self.consumers[id];
        let Consume { no_ack, prefetch, window_bytes, .. } = consumer.how;
        let free_bytes = window_bytes.saturating_sub(consumer.unsent_bytes);
        free_bytes > window_bytes / 2
            && (no_ack || prefetch == 0 || self.unsettled_of(id) < prefetch)
            && self.channels[consumer.channel].room() > 0
    }

    /// Ends a queue: what waited in it is gone, what is under way is not.
    pub fn kill(&mut self, queue: usize) {
        let queue = &mut self.queues[queue];
        queue.dead = true;
        queue.messages.retain(|message| message.place != Place::Ready);
    }

    /// Takes note of what one step of a queue has given to its consumers, if it was right to do so.
    pub fn given(&mut self, queue: usize, given: &[(ConsumerId, Vec<Given>)]) -> Result<(), String> {
        let waited = self.check_order(queue, given)?;
        for (id, messages) in given {
            self.check_capacity(queue, *id, messages)?;
        }
        self.check_priorities(given)?;
        for (id, messages) in given {
            self.assign(*id, messages)?;
        }
        self.check_limits(given)?;
        self.check_turns(queue, given, waited)?;
        self.check_nobody_hungers(queue)
    }

    /// Returns how many messages had waited.
    fn check_order(&self, queue: usize, given: &[(ConsumerId, Vec<Given>)]) -> Result<usize, String> {
        let waiting: Vec<u32> = self.queues[queue].ready().map(|message| message.id).collect();
        let mut taken = Vec::new();
        for (id, messages) in given {
            ensure!(messages.is_sorted_by_key(|given| given.id), "consumer {id} got {messages:?}");
            taken.extend(messages.iter().map(|given| given.id));
        }
        taken.sort_unstable();
        ensure!(waiting.starts_with(&taken), "{taken:?} were given while {waiting:?} waited");
        Ok(waiting.len())
    }

    fn check_capacity(&self, queue: usize, id: ConsumerId, messages: &[Given]) -> Result<(), String> {
        let consumer = &self.consumers[id];
        ensure!(consumer.queue == queue && !consumer.gone, "consumer {id} got what is not for it");
        let unsettled = self.unsettled_of(id) as usize + messages.len();
        let Consume { no_ack, prefetch, window_bytes, .. } = consumer.how;
        ensure!(no_ack || prefetch == 0 || unsettled <= prefetch as usize, "consumer {id} has {unsettled} messages");
        let all = &self.queues[queue];
        let bytes = |given: &Given| all.messages[all.at(given.id)].bytes;
        let but_the_last: usize = messages.iter().rev().skip(1).map(bytes).sum();
        let unsent = consumer.unsent_bytes + but_the_last;
        ensure!(unsent < window_bytes, "consumer {id} got more when it had {unsent} bytes of {window_bytes}");
        let free_bytes = window_bytes.saturating_sub(consumer.unsent_bytes);
        ensure!(free_bytes > window_bytes / 2, "consumer {id} got more when it had no more than half its window");
        let channel = &self.channels[consumer.channel];
        ensure!(!no_ack || channel.room() > 0, "consumer {id} got more on a channel that was full");
        Ok(())
    }

    /// Whoever is of a higher priority is served before.
    fn check_priorities(&self, given: &[(ConsumerId, Vec<Given>)]) -> Result<(), String> {
        for (one, ones) in given {
            for (other, others) in given {
                let lower = self.consumers[*one].how.priority < self.consumers[*other].how.priority;
                let before = ones[0].id < others[others.len() - 1].id;
                ensure!(!(lower && before), "consumer {one} was served before {other}, of a higher priority");
            }
        }
        Ok(())
    }

    fn assign(&mut self, id: ConsumerId, messages: &[Given]) -> Result<(), String> {
        let consumer = &mut self.consumers[id];
        let queue = &mut self.queues[consumer.queue];
        for given in messages {
            let message = queue.message(given.id);
            ensure!(message.redelivered == given.redelivered, "redelivered: {given:?}");
            message.place = Place::Assigned(id);
            consumer.unsent_bytes += message.bytes;
            let bytes = message.bytes as u64;
            queue.drained_bytes += bytes;
        }
        if !consumer.how.no_ack {
            self.channels[consumer.channel].outstanding += messages.len() as u32;
        }
        Ok(())
    }

    fn check_limits(&self, given: &[(ConsumerId, Vec<Given>)]) -> Result<(), String> {
        for (id, _) in given.iter().filter(|(id, _)| !self.consumers[*id].how.no_ack) {
            let channel = &self.channels[self.consumers[*id].channel];
            let beyond = ChannelModel { outstanding: channel.outstanding - 1, ..*channel };
            ensure!(beyond.room() > 0, "the channel of consumer {id} has {} messages", channel.outstanding);
        }
        Ok(())
    }

    /// Those that can take more have got as many messages as others of their priority, but for the one that is next,
    /// or for a block of a long backlog.
    fn check_turns(&mut self, queue: usize, given: &[(ConsumerId, Vec<Given>)], waited: usize) -> Result<(), String> {
        let mut priorities: Vec<i64> = self.live_consumers(queue).map(|id| self.consumers[id].how.priority).collect();
        priorities.sort_unstable();
        priorities.dedup();
        let of_one_priority = |priority| {
            let counts = given.iter().map(|(id, messages)| (*id, messages.len()));
            counts.filter(|(id, _)| self.consumers[*id].how.priority == priority).collect::<Vec<_>>()
        };
        let bound = if waited < BACKLOG_MESSAGES { 1 } else { BLOCK_MESSAGES };
        let mut turns = Vec::new();
        for priority in priorities {
            let now = of_one_priority(priority);
            let count_of = |id| now.iter().find(|(of, _)| *of == id).map_or(0, |(_, count)| *count);
            let hungry = self.live_consumers(queue).filter(|id| self.consumers[*id].how.priority == priority);
            let mut hungry: Vec<_> = hungry.filter(|id| self.is_hungry(*id)).map(|id| (id, count_of(id))).collect();
            let most = now.iter().map(|(_, count)| *count).max().unwrap_or(0);
            let least = hungry.iter().map(|(_, count)| *count).min().unwrap_or(most);
            ensure!(most <= least + bound, "of {waited} messages consumers got {now:?}, {hungry:?} could take more");
            let before = self.queues[queue].turns.iter().find(|turns| turns.priority == priority);
            if let Some(before) =
                before.filter(|before| before.given.iter().map(|b| b.0).eq(hungry.iter().map(|h| h.0)))
                && bound == 1
            {
                hungry.iter_mut().zip(&before.given).for_each(|(now, before)| now.1 += before.1);
            } else {
                hungry.iter_mut().for_each(|now| now.1 = 0);
            }
            let counts = || hungry.iter().map(|(_, count)| *count);
            let spread = counts().max().unwrap_or(0) - counts().min().unwrap_or(0);
            ensure!(spread <= 1, "consumers that could always take more got {hungry:?}");
            turns.push(Turns { priority, given: hungry });
        }
        self.queues[queue].turns = turns;
        Ok(())
    }

    /// No message waits while a consumer could have it.
    pub fn check_nobody_hungers(&self, queue: usize) -> Result<(), String> {
        if self.queues[queue].ready().next().is_some()
            && !self.queues[queue].loading
            && let Some(hungry) = self.live_consumers(queue).find(|id| self.is_hungry(*id))
        {
            return Err(format!("messages wait in queue {queue}, and consumer {hungry} could take them"));
        }
        Ok(())
    }

    /// Whether a publisher that waits for this may go on.
    pub fn is_relieved(&self, queue: usize, until: Relief) -> bool {
        let state = &self.queues[queue];
        let drained = state.ready_bytes() <= until.ready_bytes || state.drained_bytes >= until.drained_bytes;
        drained || state.dead || self.live_consumers(queue).next().is_none()
    }
}
