//! What the channels of one connection share.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::broker::access::{Access, Caller};
use crate::broker::admission::Admission;
use crate::broker::connections::{Client, OpenConnection};
use crate::broker::outbox::{ConsumerSlot, Item, Outbox};
use crate::broker::queue::{ConsumerKey, HowReturned, Queue, Returned};
use crate::broker::quota::{ChannelSlot, ConnectionSlot};
use crate::broker::routes::Routes;
use crate::broker::user::User;
use crate::broker::vhost::{Place, VHost};
use crate::broker::{Broker, ConnectionId};
use crate::channel::timeout::Timeouts;
use crate::connection::handshake::Login;
use crate::connection::scratch::Scratch;
use crate::connection::waits::Waits;
use crate::error::Fault;
use crate::limits::Limits;
use crate::storage::Epoch;
use crate::storage::log::Log;
use crate::wire::table::TableLimits;

/// What the client said it understands (`capabilities` in its properties).
#[derive(Clone, Copy, Debug, Default)]
pub struct ClientCapabilities {
    pub consumer_cancel_notify: bool,
    pub connection_blocked: bool,
    pub authentication_failure_close: bool,
}

/// A consumer of this connection.
pub struct LocalConsumer {
    pub channel: u16,
    pub tag: Arc<str>,
    pub queue: Arc<Queue>,
    /// Its name at the queue; `None` until the queue has let it in.
    pub key: Option<ConsumerKey>,
    pub no_ack: bool,
    /// How long its deliveries may wait for their acknowledgement, if it says so itself; 0 is without end.
    pub timeout_ms: Option<u64>,
}

pub struct Session {
    pub id: ConnectionId,
    /// `127.0.0.1:40000 -> 127.0.0.1:5672`, and what the client calls itself, as logs name it.
    pub name: Arc<str>,
    pub broker: Arc<Broker>,
    pub vhost: Arc<VHost>,
    /// Its place in the virtual host, until it has ended there.
    pub place: Option<Place>,
    pub user: Arc<User>,
    access: Access,
    /// Of those that the user may have; until the connection has ended.
    pub slot: Option<ConnectionSlot>,
    pub capabilities: ClientCapabilities,
    /// Bytes of the largest frame, never 0.
    pub frame_max: usize,
    pub channel_max: u16,
    pub outbox: Arc<Outbox>,
    /// Taken from the outbox, to be written in this order.
    pub inbox: VecDeque<Item>,
    consumers: Vec<Option<LocalConsumer>>,
    pub routes: Routes,
    /// Queues that end with this connection.
    pub exclusive_queues: Vec<Arc<Queue>>,
    /// It is about to publish while an alarm is on, so it is to be blocked.
    pub published_during_alarm: bool,
    /// Whether what is published is copied to the trace exchange; looked at once for each read.
    pub is_tracing: bool,
    /// Channels that wait for the disk.
    pub waits: Waits,
    /// When deliveries are to be settled.
    pub timeouts: Timeouts,
}

impl Session {
    pub fn new(login: Login, id: ConnectionId) -> Session {
        let Login { name, broker, admission, capabilities, frame_max, channel_max, .. } = login;
        let Admission { vhost, user, access, slot, place } = admission;
        let routes = Routes::new(broker.store.clone());
        Session {
            id,
            name,
            broker,
            vhost,
            place: Some(place),
            user,
            access,
            slot: Some(slot),
            capabilities,
            frame_max,
            channel_max,
            outbox: Arc::default(),
            inbox: VecDeque::new(),
            consumers: Vec::new(),
            routes,
            exclusive_queues: Vec::new(),
            published_during_alarm: false,
            is_tracing: false,
            waits: Waits::default(),
            timeouts: Timeouts::default(),
        }
    }

    /// The entry for the broker's list of open connections.
    pub fn opened(&self, client: Client, heartbeat_s: u16) -> OpenConnection {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        OpenConnection {
            id: self.id,
            client,
            vhost: self.vhost.clone(),
            user: self.user.clone(),
            connected_at_ms: now.as_millis() as u64,
            frame_max: u32::try_from(self.frame_max).unwrap_or(u32::MAX),
            channel_max: self.channel_max,
            heartbeat_s,
            outbox: self.outbox.clone(),
        }
    }

    /// The connection as one who asks for something, with what it may do.
    pub fn caller(&self) -> Caller<'_> {
        Caller::new(self.id, &self.access)
    }

    /// Takes one of the channels that the user may have.
    pub fn open_channel(&self) -> Result<ChannelSlot, Fault> {
        let slot = self.slot.as_ref().expect("channels are opened while the connection is open");
        slot.open_channel().map_err(|max| {
            let user = &self.user.name;
            Fault::not_allowed(format!(
                "number of channels opened for user '{user}' has reached the maximum allowed user limit of ({max})"
            ))
        })
    }

    /// Whether permissions have not changed since they were last looked at.
    #[inline]
    pub fn is_access_current(&self) -> bool {
        self.access.is_current(&self.broker.permissions)
    }

    /// Looks at permissions anew. What was routed by the old ones has been applied.
    pub fn renew_access(&mut self) {
        self.access = Access::new(&self.broker.permissions, self.vhost.name(), &self.user);
        self.routes.forget();
    }

    /// Name, virtual host and user, as logs tell them.
    pub fn described(&self) -> String {
        format!("{}, vhost: '{}', user: '{}'", self.name, self.vhost.name(), self.user.name)
    }

    pub fn table_limits(&self) -> TableLimits {
        TableLimits { max_depth: self.limits().table_depth }
    }

    pub fn limits(&self) -> &Limits {
        &self.broker.config.limits
    }

    pub fn log(&self) -> Option<&Log> {
        self.broker.store.as_ref().map(|store| &*store.log)
    }

    /// The epoch with which all definitions are kept as they are now.
    pub fn defined(&self) -> Epoch {
        self.log().map_or(Epoch::NONE, Log::defined)
    }

    /// Has the connection woken when an epoch is kept or refused. Epochs that publishes of one connection wait for grow,
    /// whatever their channels, so each is registered once.
    pub fn wait_until_settled(&mut self, epoch: Epoch) {
        if self.waits.settled < epoch
            && let Some(store) = &self.broker.store
        {
            self.waits.settled = epoch;
            store.log.wait_until_settled(epoch, self.outbox.clone());
        }
    }

    /// Has the connection woken when an epoch is kept, however long the disk has no room for it.
    pub fn wait_until_kept(&mut self, epoch: Epoch) {
        if self.waits.kept != epoch
            && let Some(store) = &self.broker.store
        {
            self.waits.kept = epoch;
            store.log.wait_until_kept(epoch, self.outbox.clone());
        }
    }

    /// Makes everything that this turn has published and settled so far visible in the queues.
    pub fn apply(&mut self, scratch: &mut Scratch) {
        scratch.apply(&mut self.routes);
    }

    pub fn consumer(&self, slot: ConsumerSlot) -> Option<&LocalConsumer> {
        self.consumers.get(slot as usize)?.as_ref()
    }

    pub fn consumer_mut(&mut self, slot: ConsumerSlot) -> Option<&mut LocalConsumer> {
        self.consumers.get_mut(slot as usize)?.as_mut()
    }

    pub fn add_consumer(&mut self, consumer: LocalConsumer) -> ConsumerSlot {
        let slot = match self.consumers.iter().position(Option::is_none) {
            Some(free) => free,
            None => {
                self.consumers.push(None);
                self.consumers.len() - 1
            }
        };
        self.consumers[slot] = Some(consumer);
        slot as ConsumerSlot
    }

    pub fn remove_consumer(&mut self, slot: ConsumerSlot) -> Option<LocalConsumer> {
        let consumer = self.consumers.get_mut(slot as usize)?.take();
        while let Some(None) = self.consumers.last() {
            self.consumers.pop();
        }
        consumer
    }

    /// Takes back, from outbox and inbox, what was assigned to one of this connection's consumers and is not written.
    pub fn take_unsent(&mut self, slot: ConsumerSlot, into: &mut Vec<Returned>) {
        let Some(Some(consumer)) = self.consumers.get(slot as usize) else { return };
        self.outbox.take(&mut self.inbox);
        for item in std::mem::take(&mut self.inbox) {
            match item {
                Item::Deliver { slot: of, run } if of == slot => into.push(Returned {
                    run,
                    consumer: consumer.key,
                    to_be_acked: !consumer.no_ack,
                    how: HowReturned::Unsent,
                }),
                Item::Cancelled { slot: of } if of == slot => {}
                other => self.inbox.push_back(other),
            }
        }
    }

    /// Takes a queue that has ended out of its virtual host.
    pub fn remove_queue(&self, queue: &Arc<Queue>) {
        self.vhost.remove_queue(queue);
    }
}
