//! Assembly of a message's content from its frames, for those that are not handled in one piece.
//!
//! ```text
//!             basic.publish          header            body, complete
//!   Nothing ───────────────▶ Header ────────▶ Body ─────────────────▶ Nothing
//!                              │ body size 0                            ▲
//!                              └────────────────────────────────────────┘
//! ```
//!
//! Every frame that does not fit is a connection error 505, or 501 where a body is too long; the texts are RabbitMQ's.

use crate::error::{Fault, ReplyCode};
use crate::limits::{Limits, MESSAGE_MAX_BYTES};
use crate::wire::hot::{CLASS_BASIC, ContentHeader, Publish};

/// Room for a body grows to so many times what has come of it: a size that is only announced costs nothing.
const RESERVED_TIMES: u64 = 4;

/// `basic.publish`, kept until its content has come.
#[derive(Debug)]
pub struct PendingPublish {
    exchange: Box<[u8]>,
    routing_key: Box<[u8]>,
    mandatory: bool,
    immediate: bool,
}

impl PendingPublish {
    pub fn publish(&self) -> Publish<'_> {
        Publish {
            exchange: &self.exchange,
            routing_key: &self.routing_key,
            mandatory: self.mandatory,
            immediate: self.immediate,
        }
    }
}

/// A message whose body is coming.
#[derive(Debug)]
pub struct Incoming {
    pub method: PendingPublish,
    /// Wire form.
    pub properties: Box<[u8]>,
    pub body: Vec<u8>,
    body_bytes: u64,
}

#[derive(Debug, Default)]
pub enum Content {
    #[default]
    Nothing,
    Header(PendingPublish),
    Body(Box<Incoming>),
}

impl Content {
    pub fn is_nothing(&self) -> bool {
        matches!(self, Content::Nothing)
    }

    /// A method frame came: allowed only between two contents.
    pub fn check_method_allowed(&self) -> Result<(), Fault> {
        match self {
            Content::Nothing => Ok(()),
            Content::Header(_) => {
                Err(unexpected("expected content header for class 60, got non content header frame instead"))
            }
            Content::Body(_) => Err(unexpected("expected content body, got non content body frame instead")),
        }
    }

    pub fn begin(&mut self, publish: Publish<'_>) {
        *self = Content::Header(PendingPublish {
            exchange: publish.exchange.into(),
            routing_key: publish.routing_key.into(),
            mandatory: publish.mandatory,
            immediate: publish.immediate,
        });
    }

    /// A content header came. Returns the message if it has no body.
    pub fn header(&mut self, header: &ContentHeader<'_>, limits: &Limits) -> Result<Option<Box<Incoming>>, Fault> {
        let method = match std::mem::take(self) {
            Content::Header(method) => method,
            Content::Nothing => return Err(unexpected("expected method frame, got non method frame instead")),
            Content::Body(_) => return Err(unexpected("expected content body, got non content body frame instead")),
        };
        check_header(header, limits)?;
        let incoming = Box::new(Incoming {
            method,
            properties: header.properties.into(),
            body: Vec::new(),
            body_bytes: header.body_bytes,
        });
        if header.body_bytes == 0 {
            return Ok(Some(incoming));
        }
        *self = Content::Body(incoming);
        Ok(None)
    }

    /// A body frame with `size` bytes of payload begins; its bytes follow through [`append`](Self::append).
    pub fn body(&mut self, size: usize) -> Result<(), Fault> {
        match self {
            Content::Body(incoming) => {
                let remaining = incoming.body_bytes - incoming.body.len() as u64;
                if size as u64 > remaining {
                    return Err(Fault::connection(
                        ReplyCode::FrameError,
                        "content body frame exceeds remaining content size",
                    ));
                }
                Ok(())
            }
            Content::Nothing => Err(unexpected("expected method frame, got non method frame instead")),
            Content::Header(_) => {
                Err(unexpected("expected content header for class 60, got non content header frame instead"))
            }
        }
    }

    /// Appends bytes of a body frame that was let in.
    pub fn append(&mut self, bytes: &[u8]) {
        if let Content::Body(incoming) = self {
            let have = incoming.body.len() + bytes.len();
            if incoming.body.capacity() < have {
                let room = (have as u64 * RESERVED_TIMES).min(incoming.body_bytes).max(have as u64);
                incoming.body.reserve_exact(room as usize - incoming.body.len());
            }
            incoming.body.extend_from_slice(bytes);
        }
    }

    /// A body frame has ended. Returns the message if that was its last.
    pub fn complete(&mut self) -> Option<Box<Incoming>> {
        match std::mem::take(self) {
            Content::Body(incoming) if incoming.body.len() as u64 == incoming.body_bytes => Some(incoming),
            other => {
                *self = other;
                None
            }
        }
    }
}

/// Checks that hold for every content header, in whatever way its message is handled.
pub fn check_header(header: &ContentHeader<'_>, limits: &Limits) -> Result<(), Fault> {
    if header.class_id != CLASS_BASIC {
        let text = format!("expected content header for class 60, got one for class {} instead", header.class_id);
        return Err(unexpected(&text));
    }
    if header.weight != 0 {
        return Err(unexpected("expected content header for class 60, got non content header frame instead"));
    }
    let size = header.body_bytes;
    if size > MESSAGE_MAX_BYTES {
        let text = format!("content body size {size} exceeds maximum allowed size {MESSAGE_MAX_BYTES}");
        return Err(Fault::connection(ReplyCode::FrameError, text));
    }
    let max_message_bytes = limits.max_message_bytes;
    if size > max_message_bytes {
        let text = format!("message size {size} is larger than configured max size {max_message_bytes}");
        return Err(Fault::precondition_failed(text));
    }
    let (header_bytes, max_header_bytes) = (header.properties.len(), limits.max_header_bytes);
    if header_bytes > max_header_bytes as usize {
        let text = format!("header size {header_bytes} is larger than configured max size {max_header_bytes}");
        return Err(Fault::precondition_failed(text));
    }
    Ok(())
}

fn unexpected(text: &str) -> Fault {
    Fault::connection(ReplyCode::UnexpectedFrame, text)
}
