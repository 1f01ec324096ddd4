//! Errors of the protocol: each carries its scope, AMQP reply code and text.
//!
//! The model raises a [`Fault`], which knows nothing of frames. The channel or connection that handles the
//! method adds the ids of the method that caused it, giving a [`Close`], and one place turns that into
//! `channel.close` or `connection.close` and logs it. Codes are those of the AMQP 0-9-1 specification,
//! section 1.2 (constants); texts are RabbitMQ's, because clients and their tests read them.

use std::fmt;

/// AMQP 0-9-1 reply codes (specification, constants; RabbitMQ uses no others).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum ReplyCode {
    Success = 200,
    ContentTooLarge = 311,
    NoRoute = 312,
    NoConsumers = 313,
    ConnectionForced = 320,
    InvalidPath = 402,
    AccessRefused = 403,
    NotFound = 404,
    ResourceLocked = 405,
    PreconditionFailed = 406,
    FrameError = 501,
    SyntaxError = 502,
    CommandInvalid = 503,
    ChannelError = 504,
    UnexpectedFrame = 505,
    ResourceError = 506,
    NotAllowed = 530,
    NotImplemented = 540,
    InternalError = 541,
}

impl ReplyCode {
    /// The name that RabbitMQ puts before the text of a close: `NOT_FOUND - no queue …`.
    pub fn name(self) -> &'static str {
        match self {
            ReplyCode::Success => "SUCCESS",
            ReplyCode::ContentTooLarge => "CONTENT_TOO_LARGE",
            ReplyCode::NoRoute => "NO_ROUTE",
            ReplyCode::NoConsumers => "NO_CONSUMERS",
            ReplyCode::ConnectionForced => "CONNECTION_FORCED",
            ReplyCode::InvalidPath => "INVALID_PATH",
            ReplyCode::AccessRefused => "ACCESS_REFUSED",
            ReplyCode::NotFound => "NOT_FOUND",
            ReplyCode::ResourceLocked => "RESOURCE_LOCKED",
            ReplyCode::PreconditionFailed => "PRECONDITION_FAILED",
            ReplyCode::FrameError => "FRAME_ERROR",
            ReplyCode::SyntaxError => "SYNTAX_ERROR",
            ReplyCode::CommandInvalid => "COMMAND_INVALID",
            ReplyCode::ChannelError => "CHANNEL_ERROR",
            ReplyCode::UnexpectedFrame => "UNEXPECTED_FRAME",
            ReplyCode::ResourceError => "RESOURCE_ERROR",
            ReplyCode::NotAllowed => "NOT_ALLOWED",
            ReplyCode::NotImplemented => "NOT_IMPLEMENTED",
            ReplyCode::InternalError => "INTERNAL_ERROR",
        }
    }
}

/// What an error ends: the channel that caused it ("soft" in RabbitMQ's words) or its connection ("hard").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    Channel,
    Connection,
}

/// A protocol error as the model raises it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub scope: Scope,
    pub code: ReplyCode,
    /// Without the code's name; see [`Fault::reply_text`].
    pub text: String,
}

impl Fault {
    pub fn channel(code: ReplyCode, text: impl Into<String>) -> Fault {
        Fault { scope: Scope::Channel, code, text: text.into() }
    }

    pub fn connection(code: ReplyCode, text: impl Into<String>) -> Fault {
        Fault { scope: Scope::Connection, code, text: text.into() }
    }

    pub fn access_refused(text: impl Into<String>) -> Fault {
        Fault::channel(ReplyCode::AccessRefused, text)
    }

    pub fn not_found(text: impl Into<String>) -> Fault {
        Fault::channel(ReplyCode::NotFound, text)
    }

    pub fn resource_locked(text: impl Into<String>) -> Fault {
        Fault::channel(ReplyCode::ResourceLocked, text)
    }

    pub fn precondition_failed(text: impl Into<String>) -> Fault {
        Fault::channel(ReplyCode::PreconditionFailed, text)
    }

    pub fn not_allowed(text: impl Into<String>) -> Fault {
        Fault::connection(ReplyCode::NotAllowed, text)
    }

    pub fn not_implemented(text: impl Into<String>) -> Fault {
        Fault::connection(ReplyCode::NotImplemented, text)
    }

    /// The reply-text of the close: `NAME - text`. A short string has 255 bytes; of a longer text RabbitMQ sends the
    /// first 252 and three dots.
    pub fn reply_text(&self) -> String {
        const SHORT_STRING_BYTES: usize = 255;
        let mut text = match self.text.as_str() {
            "" => self.code.name().to_owned(),
            text => format!("{} - {text}", self.code.name()),
        };
        if text.len() > SHORT_STRING_BYTES {
            text.truncate(text.floor_char_boundary(SHORT_STRING_BYTES - 3));
            text.push_str("...");
        }
        text
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code as u16, self.reply_text())
    }
}

/// A [`Fault`] together with the method that caused it, (0, 0) if none did: what a close frame says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Close {
    pub fault: Fault,
    pub class_id: u16,
    pub method_id: u16,
}

impl Fault {
    pub fn caused_by(self, class_id: u16, method_id: u16) -> Close {
        Close { fault: self, class_id, method_id }
    }
}
