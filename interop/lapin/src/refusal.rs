use std::pin::pin;
use std::time::Duration;

use interop_harness::{Outcome, equal, wrong};
use lapin::{Channel, Connection, Error, ErrorKind, Event};
use tokio_stream::{Stream, StreamExt};

const ERROR_TIMEOUT: Duration = Duration::from_secs(5);

/// Expects that what is attempted on a channel of its own makes the broker close that channel, or the connection.
///
/// The connection's events tell it, whether or not the attempt itself had to wait for an answer. A call that waits fails
/// with the same error; one that comes after the broker's answer fails because the channel is closed.
pub async fn refused<T>(
    connection: &Connection,
    code: u16,
    text: &str,
    attempt: impl AsyncFnOnce(&Channel) -> lapin::Result<T>,
) -> Outcome {
    let events = pin!(connection.events_listener());
    let channel = connection.create_channel().await?;
    let outcome = attempt(&channel).await;
    let error = tokio::time::timeout(ERROR_TIMEOUT, error_event(events)).await;
    let Ok(error) = error else {
        return wrong(format!("expected the broker to refuse with {code} {text}, but {:?}", outcome.err()));
    };
    let expected = Some((code, text.to_owned()));
    equal(reply(&error?), expected.clone(), "what the broker closed it with")?;
    match outcome {
        Err(error) if error.is_amqp_error() => equal(reply(&error), expected, "what the call failed with"),
        _ => Ok(()),
    }
}

pub async fn error_event(mut events: impl Stream<Item = Event> + Unpin) -> Outcome<Error> {
    while let Some(event) = events.next().await {
        if let Event::Error(error) = event {
            return Ok(error);
        }
    }
    wrong("the connection's events ended")
}

/// The code and text with which the broker closed something.
pub fn reply(error: &Error) -> Option<(u16, String)> {
    match error.kind() {
        ErrorKind::ProtocolError(error) => Some((error.get_id(), error.get_message().to_string())),
        _ => None,
    }
}

pub fn no_queue(queue: impl ToString) -> String {
    format!("NOT_FOUND - no queue '{}' in vhost '/'", queue.to_string())
}

pub fn no_exchange(exchange: impl ToString) -> String {
    format!("NOT_FOUND - no exchange '{}' in vhost '/'", exchange.to_string())
}

pub fn locked(queue: impl ToString) -> String {
    let text = format!(
        "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '{}' in vhost '/'. It could be originally \
         declared on another connection or the exclusive property value does not match that of the original declaration.",
        queue.to_string()
    );
    text.chars().take(255).collect()
}
