use amqprs::channel::Channel;
use amqprs::connection::Connection;
use amqprs::error::Error;
use interop_harness::{Outcome, equal, wrong};

use crate::events::{Event, Events};

/// Expects that what is attempted on a channel of its own makes the broker close that channel.
///
/// The callback is told why. A call that waits for an answer fails, and says no more than that no answer came.
pub async fn refused<T>(
    connection: &Connection,
    code: u16,
    text: &str,
    attempt: impl AsyncFnOnce(&Channel) -> Result<T, Error>,
) -> Outcome {
    let channel = connection.open_channel(None).await?;
    let mut events = Events::of_channel(&channel).await?;
    let attempted = attempt(&channel).await;
    check_closed(&mut events, code, text).await?;
    match attempted {
        Err(Error::InternalChannelError(_)) | Ok(_) => Ok(()),
        Err(other) => wrong(format!("the call failed with {other:?}")),
    }
}

/// Expects that what is attempted makes the broker close the connection.
pub async fn connection_refused<T>(
    connection: &Connection,
    code: u16,
    text: &str,
    attempt: impl AsyncFnOnce(&Channel) -> Result<T, Error>,
) -> Outcome {
    let channel = connection.open_channel(None).await?;
    let mut events = Events::of_connection(connection).await?;
    let attempted = attempt(&channel).await;
    check_closed(&mut events, code, text).await?;
    events.end().await;
    equal(attempted.is_err(), true, "the call failed")?;
    equal(connection.is_open(), false, "connection open")
}

pub async fn check_closed(events: &mut Events, code: u16, text: &str) -> Outcome {
    match events.next().await? {
        Event::Closed(reply_code, reply_text) => {
            equal((reply_code, reply_text.as_str()), (code, text), "what the broker closed it with")
        }
        other => wrong(format!("expected to be closed with {code} {text}, got {other:?}")),
    }
}

pub fn no_queue(queue: &str) -> String {
    format!("NOT_FOUND - no queue '{queue}' in vhost '/'")
}

pub fn no_exchange(exchange: &str) -> String {
    format!("NOT_FOUND - no exchange '{exchange}' in vhost '/'")
}

pub fn locked(queue: &str) -> String {
    let text = format!(
        "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '{queue}' in vhost '/'. It could be originally \
         declared on another connection or the exclusive property value does not match that of the original declaration."
    );
    text.chars().take(255).collect()
}
