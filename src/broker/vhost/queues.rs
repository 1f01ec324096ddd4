//! Declaring, finding and deleting queues.

use std::borrow::Cow;
use std::sync::Arc;

use amq_protocol::types::FieldTable;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::{Operation, VHost, check_reserved_prefix, strip_line_ends};
use crate::broker::ConnectionId;
use crate::broker::access::Caller;
use crate::broker::arguments::{
    QueueProperties, QueueType, Resource, assert_equivalent_queue, assert_same_properties, exchange_named_by,
    validate_queue, validate_server_named, with_default_queue_type,
};
use crate::broker::binding::DestinationId;
use crate::broker::definitions::Definition;
use crate::broker::policy::effective::Redeclare;
use crate::broker::queue::{Queue, QueueDefinition};
use crate::error::Fault;

/// The name under which a client consumes replies, and which it gives as `reply-to` of its requests.
pub const REPLY_TO: &str = "amq.rabbitmq.reply-to";

/// Another name for [`REPLY_TO`] that some clients use.
pub const REPLY_TO_ALIAS: &str = "amq.direct.reply-to";

/// What the names of queues of direct reply-to begin with, to which replies are published.
pub const REPLY_TO_PREFIX: &str = "amq.rabbitmq.reply-to.";

/// What the names begin with that the server chooses.
const GENERATED_PREFIX: &str = "amq.gen-";

/// The arguments of `queue.declare`.
#[derive(Clone, Debug)]
pub struct QueueDeclare<'a> {
    /// If empty, the server chooses a name.
    pub name: &'a str,
    pub passive: bool,
    pub durable: bool,
    pub exclusive: bool,
    pub auto_delete: bool,
    pub arguments: FieldTable,
}

impl VHost {
    /// Declares a queue, or with `passive` asks whether it exists. An exclusive queue belongs to the caller's connection
    /// and is not durable whatever is asked. The name of direct reply-to itself is no queue: see
    /// [`VHost::is_reply_to_declared`].
    ///
    /// # Errors
    /// 406 if the server shall name a quorum queue. 403 for a name that begins with `amq.`, and without the permission.
    /// If the queue exists: 405 unless it is as exclusive as declared, and to this connection; then 406 if it differs.
    /// If not: 403 without the permission to dead-letter, 406 for arguments that it cannot have. Passive: 404 if there
    /// is no such queue, 405 if it is another connection's. Names of direct reply-to queues, whatever else is asked:
    /// 404 if nobody waits there.
    pub fn queue_declare<'c>(
        &self,
        declare: QueueDeclare<'_>,
        caller: impl Into<Caller<'c>>,
    ) -> Result<Arc<Queue>, Fault> {
        let caller = caller.into();
        if declare.name.starts_with(REPLY_TO) {
            return self.reply_queue(declare.name);
        }
        let name = strip_line_ends(declare.name);
        if declare.passive {
            return self.queue(&name, caller.connection);
        }
        let name = self.name_to_declare(name, &declare.arguments)?;
        caller.configure_queue(&name)?;
        let definition = QueueDefinition {
            vhost: self.name.clone(),
            name: Arc::from(&*name),
            durable: declare.durable && !declare.exclusive,
            auto_delete: declare.auto_delete,
            exclusive_owner: declare.exclusive.then_some(caller.connection),
            arguments: declare.arguments,
        };
        match self.find_queue(&name) {
            Some(queue) => self.declare_again(queue, definition, None),
            None => self.create_queue(definition, caller),
        }
    }

    /// The queue of this name for whatever `connection` wants to do with it.
    ///
    /// # Errors
    /// 404 if there is no such queue, 405 if it is another connection's.
    pub fn queue(&self, name: &str, connection: ConnectionId) -> Result<Arc<Queue>, Fault> {
        let queue = self.find_queue(name).ok_or_else(|| Resource::queue(name, &self.name).not_found())?;
        check_exclusive_access(&queue, connection)?;
        Ok(queue)
    }

    /// Deletes a queue with its bindings and returns how many messages were ready in it. One that does not exist
    /// is as good as deleted, and had none.
    ///
    /// # Errors
    /// 403 without the permission, 405 if it is another connection's, 406 if it is not as empty or unused as asked.
    pub fn queue_delete<'c>(
        &self,
        name: &str,
        if_unused: bool,
        if_empty: bool,
        caller: impl Into<Caller<'c>>,
    ) -> Result<u32, Fault> {
        let (name, caller) = (strip_line_ends(name), caller.into());
        caller.configure_queue(&name)?;
        let Some(queue) = self.find_queue(&name) else { return Ok(0) };
        check_exclusive_access(&queue, caller.connection)?;
        let ready = queue.kill(if_unused, if_empty)?;
        self.remove_queue(&queue);
        Ok(ready.unwrap_or(0))
    }

    /// Frees the name of a queue that is marked dead and takes its bindings away, with the auto-delete exchanges
    /// that thereby lose their last one. Another queue that has the name by now stays. The queue's own row went when
    /// it was marked.
    pub fn remove_queue(&self, queue: &Arc<Queue>) {
        assert!(queue.is_dead(), "a queue is marked dead before it is removed");
        let mut operation = self.operation();
        self.queues.remove_if(queue.name(), |_, current| Arc::ptr_eq(current, queue));
        self.unlink(&mut operation, DestinationId::Queue(queue.id));
    }

    /// Deletes a queue that nobody has used for as long as it was to live unused, unless somebody has come meanwhile.
    pub(in crate::broker) fn expire_queue(&self, queue: &Arc<Queue>) {
        if let Ok(Some(_)) = queue.kill(true, false) {
            tracing::info!("deleted {}: it has expired", Resource::queue(queue.name(), &self.name));
            self.remove_queue(queue);
        }
    }

    /// Makes a queue of direct reply-to reachable for replies. Its name begins with [`REPLY_TO_PREFIX`].
    pub fn register_reply_queue(&self, queue: Arc<Queue>) {
        assert!(queue.name().starts_with(REPLY_TO_PREFIX), "replies are published to reply-to names");
        self.reply_queues.insert(queue.name().clone(), queue);
    }

    /// To be called once the queue is marked dead, so that no publisher holds a route to it.
    pub fn remove_reply_queue(&self, queue: &Arc<Queue>) {
        self.reply_queues.remove_if(queue.name(), |_, current| Arc::ptr_eq(current, queue));
    }

    /// The queue of direct reply-to under a name that begins with [`REPLY_TO_PREFIX`], if somebody waits there.
    pub fn find_reply_queue(&self, name: &str) -> Option<Arc<Queue>> {
        self.reply_queues.get(name).map(|entry| entry.value().clone()).filter(|queue| !queue.is_dead())
    }

    /// Whether a name is that of direct reply-to itself, under either name. To declare it always succeeds, with
    /// no message and one consumer, and declares nothing.
    pub fn is_reply_to_declared(name: &str) -> bool {
        matches!(&*strip_line_ends(name), REPLY_TO | REPLY_TO_ALIAS)
    }

    fn reply_queue(&self, name: &str) -> Result<Arc<Queue>, Fault> {
        let name = strip_line_ends(name);
        self.find_reply_queue(&name).ok_or_else(|| Resource::queue(&name, &self.name).not_found())
    }

    fn name_to_declare<'a>(&self, name: Cow<'a, str>, arguments: &FieldTable) -> Result<Cow<'a, str>, Fault> {
        if name.is_empty() {
            validate_server_named(arguments)?;
            return Ok(Cow::Owned(generated_name()));
        }
        check_reserved_prefix("queue", &name)?;
        Ok(name)
    }

    /// A queue that exists is declared: it has to be what is declared, unless a policy says otherwise.
    fn declare_again(
        &self,
        queue: Arc<Queue>,
        mut declared: QueueDefinition,
        operation: Option<&Operation<'_>>,
    ) -> Result<Arc<Queue>, Fault> {
        if queue.definition.exclusive_owner != declared.exclusive_owner {
            return Err(locked(&queue));
        }
        // A queue that had its type by default is the same when it is declared alike; one that was declared before there
        // was a default is, too.
        let current = queue.definition_now();
        if let Some(typed) = self.arguments_by_default(&declared).filter(|typed| is_same_type(typed, &current)) {
            declared.arguments = typed;
        }
        let resource = Resource::queue(queue.name(), &self.name);
        match queue.redeclare() {
            Redeclare::Strict => assert_equivalent_queue(resource, &current, properties(&declared))?,
            Redeclare::Keep => assert_same_properties(resource, &current, properties(&declared))?,
            Redeclare::Update => {
                assert_same_properties(resource, &current, properties(&declared))?;
                if current.arguments != declared.arguments {
                    validate_queue(resource, properties(&declared))?;
                    // One at a time, under the topology mutex.
                    let _operation = operation.is_none().then(|| self.operation());
                    queue.replace_arguments(declared.arguments);
                    // Some policies are for queues of one type only.
                    queue.apply_policies(self.policies_for_queue(&queue.definition_now()));
                }
            }
        }
        Ok(queue)
    }

    /// The arguments of a queue that is declared without a type, with that which is the default here, if it can be of it.
    fn arguments_by_default(&self, declared: &QueueDefinition) -> Option<FieldTable> {
        let queue_type = self.default_queue_type()?;
        let can_be = !declared.name.starts_with(GENERATED_PREFIX) || queue_type == QueueType::Classic;
        can_be.then(|| with_default_queue_type(queue_type, properties(declared))).flatten()
    }

    fn create_queue(&self, mut definition: QueueDefinition, caller: Caller<'_>) -> Result<Arc<Queue>, Fault> {
        let mut operation = self.operation();
        self.check_not_deleted(&operation)?;
        let current = self.queues.get(&definition.name).map(|entry| entry.value().clone());
        if let Some(queue) = current {
            if !queue.is_dead() {
                return self.declare_again(queue, definition, Some(&operation));
            }
            // Whoever marked it dead has not come to remove it: what it was bound to must not outlive its name.
            self.unlink(&mut operation, DestinationId::Queue(queue.id));
        }
        self.check_queue_limit(&definition.name, &operation)?;
        let resource = Resource::queue(&definition.name, &self.name);
        if let Some(dead_letters) = exchange_named_by(resource, &definition.arguments, "x-dead-letter-exchange")? {
            caller.read_queue(&definition.name)?;
            caller.write_exchange(&dead_letters)?;
        }
        if let Some(typed) = self.arguments_by_default(&definition) {
            definition.arguments = typed;
        }
        validate_queue(Resource::queue(&definition.name, &self.name), properties(&definition))?;
        let policies = self.policies_for_queue(&definition);
        let queue = self.new_queue(definition);
        queue.apply_policies(policies);
        if queue.definition.durable {
            operation.put(|| Definition::queue(&queue));
            // Before anyone can find the queue: what enters it, and its end, come after its row.
            operation.log_now();
        }
        self.queues.insert(queue.name().clone(), queue.clone());
        Ok(queue)
    }

    fn new_queue(&self, definition: QueueDefinition) -> Arc<Queue> {
        Queue::recovered(definition, Queue::new_id(), self.surroundings(), [])
    }
}

fn is_same_type(arguments: &FieldTable, queue: &QueueDefinition) -> bool {
    let queue_type = |arguments: &FieldTable| arguments.inner().get("x-queue-type").cloned();
    queue_type(arguments) == queue_type(&queue.arguments)
}

fn properties(definition: &QueueDefinition) -> QueueProperties<'_> {
    QueueProperties {
        durable: definition.durable,
        exclusive: definition.exclusive_owner.is_some(),
        auto_delete: definition.auto_delete,
        arguments: &definition.arguments,
    }
}

/// Whether a name is direct reply-to's, or that of one of its queues.
pub(super) fn is_volatile(name: &str) -> bool {
    name.starts_with(REPLY_TO) || name == REPLY_TO_ALIAS
}

/// 405 if the queue is another connection's.
pub(super) fn check_exclusive_access(queue: &Queue, connection: ConnectionId) -> Result<(), Fault> {
    match queue.definition.exclusive_owner {
        Some(owner) if owner != connection => Err(locked(queue)),
        _ => Ok(()),
    }
}

fn locked(queue: &Queue) -> Fault {
    let resource = Resource::queue(queue.name(), &queue.definition.vhost);
    Fault::resource_locked(format!(
        "cannot obtain exclusive access to locked {resource}. It could be originally declared on another \
         connection or the exclusive property value does not match that of the original declaration."
    ))
}

/// Unique for all practical purposes: 128 random bits.
fn generated_name() -> String {
    format!("{GENERATED_PREFIX}{}", URL_SAFE_NO_PAD.encode(rand::random::<[u8; 16]>()))
}
