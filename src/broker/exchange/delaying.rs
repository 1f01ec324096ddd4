//! Exchanges that hold messages back: of the type `x-delayed-message`, with the argument `x-delayed-exchange`, or because a
//! policy says so. A message with a delay goes to the exchange's intake instead of being routed; when its time has come it
//! is routed as if it were published then.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use amq_protocol::types::{AMQPValue, FieldTable};

use super::{Exchange, ExchangeDefinition, ExchangeKind};
use crate::broker::arguments::{Resource, type_name};
use crate::broker::definitions::HiddenOwner;
use crate::broker::delay::{Delays, Owner, RecoveredLevel};
use crate::broker::queue::{Queue, QueueDefinition, Surroundings};
use crate::error::Fault;

const DELAYED_TYPE: &str = "x-delayed-type";
const DELAYED_EXCHANGE: &str = "x-delayed-exchange";

/// What an exchange needs to hold messages back.
pub(super) struct Delaying {
    /// It was declared to.
    declared: bool,
    by_policy: AtomicBool,
    /// Where it is.
    home: OnceLock<Home>,
    intake: OnceLock<Intake>,
}

struct Home {
    exchange: Weak<Exchange>,
    vhost: Arc<str>,
    around: Surroundings,
}

struct Intake {
    queue: Arc<Queue>,
    delays: Arc<Delays>,
}

impl Delaying {
    pub fn new(definition: &ExchangeDefinition) -> Delaying {
        let by_argument = matches!(definition.arguments.inner().get(DELAYED_EXCHANGE), Some(AMQPValue::Boolean(true)));
        Delaying {
            declared: definition.kind == ExchangeKind::Delayed || by_argument,
            by_policy: AtomicBool::new(false),
            home: OnceLock::new(),
            intake: OnceLock::new(),
        }
    }
}

impl Exchange {
    /// The exchange belongs to this virtual host from now on.
    pub(in crate::broker) fn settle_in(self: &Arc<Self>, vhost: &Arc<str>, around: Surroundings) {
        let exchange = Arc::downgrade(self);
        self.delaying.home.get_or_init(|| Home { exchange, vhost: vhost.clone(), around });
    }

    /// Whether messages with a delay are held back.
    #[inline]
    pub fn holds_back(&self) -> bool {
        self.delaying.declared || self.delaying.by_policy.load(Ordering::Acquire)
    }

    /// Whether the policy that applies has messages with a delay held back, from now on; what is held back stays so.
    pub fn hold_back_by_policy(&self, holds_back: bool) {
        if self.delaying.by_policy.swap(holds_back, Ordering::AcqRel) != holds_back {
            self.invalidate_routes();
        }
    }

    /// Where messages with a delay go; `None` if the exchange belongs nowhere, or has been deleted.
    pub(in crate::broker) fn intake(&self) -> Option<Arc<Queue>> {
        let intake = self.intake_with(&[])?;
        if self.is_deleted() {
            intake.delays.kill();
        }
        Some(intake.queue.clone())
    }

    /// Takes in what was held back when the broker ended.
    pub(in crate::broker) fn restore_delays(&self, recovered: &[RecoveredLevel]) {
        self.intake_with(recovered);
    }

    /// Messages that are held back.
    pub fn messages_delayed(&self) -> u64 {
        self.delaying.intake.get().map_or(0, |intake| intake.delays.messages())
    }

    /// Drops what is held back: the exchange is deleted.
    pub(in crate::broker) fn end_delays(&self) {
        if let Some(intake) = self.delaying.intake.get() {
            intake.delays.kill();
        }
    }

    fn intake_with(&self, recovered: &[RecoveredLevel]) -> Option<&Intake> {
        let home = self.delaying.home.get()?;
        let make = || {
            let owner = Owner::Exchange(home.exchange.clone());
            let named = HiddenOwner::Exchange { vhost: home.vhost.clone(), name: self.name.clone() };
            let delays = Delays::new(owner, named, home.around.clone(), recovered);
            let definition = QueueDefinition {
                vhost: home.vhost.clone(),
                name: Arc::default(),
                durable: true,
                auto_delete: false,
                exclusive_owner: None,
                arguments: FieldTable::default(),
            };
            Intake { queue: Queue::intake(definition, &home.around.worker, delays.clone()), delays }
        };
        Some(self.delaying.intake.get_or_init(make))
    }
}

/// The argument `x-delayed-type`.
///
/// # Errors
/// 406 with the texts of RabbitMQ's plugin: if it is missing or no text, names no type, or this one.
pub fn delayed_type(arguments: &FieldTable) -> Result<ExchangeKind, Fault> {
    let Some(AMQPValue::LongString(name)) = arguments.inner().get(DELAYED_TYPE) else {
        let text = "Invalid argument, 'x-delayed-type' must be an existing exchange type";
        return Err(Fault::precondition_failed(text));
    };
    match ExchangeKind::parse(&String::from_utf8_lossy(name.as_bytes()))? {
        ExchangeKind::Delayed => {
            let text = "Invalid argument, 'x-delayed-message' can't be used for 'x-delayed-type'";
            Err(Fault::precondition_failed(text))
        }
        kind => Ok(kind),
    }
}

/// The argument `x-delayed-exchange`, which exchanges of every type may have.
///
/// # Errors
/// 406 if it is no boolean.
pub fn validate_delays(exchange: Resource<'_>, arguments: &FieldTable) -> Result<(), Fault> {
    match arguments.inner().get(DELAYED_EXCHANGE) {
        None | Some(AMQPValue::Boolean(_)) => Ok(()),
        Some(value) => {
            let value_type = type_name(value);
            let text = format!("invalid arg '{DELAYED_EXCHANGE}' for {exchange}: {{unacceptable_type,{value_type}}}");
            Err(Fault::precondition_failed(text))
        }
    }
}
