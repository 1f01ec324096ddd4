//! Frames: the envelope of everything after the protocol header (specification, section 2.3.5).
//!
//! ```text
//! type u8 | channel u16 | size u32 | payload, `size` bytes | 0xCE
//! ```

use super::method::frame_text;
use crate::error::{Fault, ReplyCode};

pub const METHOD: u8 = 1;
pub const HEADER: u8 = 2;
pub const BODY: u8 = 3;
pub const HEARTBEAT: u8 = 8;

/// The byte that ends each frame.
pub const END: u8 = 0xCE;
/// Bytes before the payload.
pub const HEAD_BYTES: usize = 7;
/// Bytes of a frame that are not payload.
pub const OVERHEAD_BYTES: usize = HEAD_BYTES + 1;

/// A heartbeat frame.
pub const HEARTBEAT_FRAME: [u8; OVERHEAD_BYTES] = [HEARTBEAT, 0, 0, 0, 0, 0, 0, END];

/// What comes before a frame's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHead {
    pub kind: u8,
    pub channel: u16,
    /// Bytes of payload.
    pub size: usize,
}

impl FrameHead {
    /// Reads a head from the front of `bytes`, if all of it is there.
    #[inline]
    pub fn read(bytes: &[u8]) -> Option<FrameHead> {
        let [kind, c1, c0, s3, s2, s1, s0, ..] = *bytes else { return None };
        let size = u32::from_be_bytes([s3, s2, s1, s0]) as usize;
        Some(FrameHead { kind, channel: u16::from_be_bytes([c1, c0]), size })
    }

    /// Bytes of the whole frame.
    #[inline]
    pub fn frame_bytes(&self) -> usize {
        self.size + OVERHEAD_BYTES
    }

    /// Refuses a frame that is longer than was negotiated: 501. Like RabbitMQ, `frame_max` counts the payload alone,
    /// so a client that forgets the eight bytes of overhead is served. 0 is no limit.
    #[inline]
    pub fn check_size(&self, frame_max: usize) -> Result<(), Fault> {
        if frame_max == 0 || self.size <= frame_max {
            return Ok(());
        }
        Err(self.frame_error(&[], &format!("{{frame_too_large,{},{}}}", self.size, frame_max - OVERHEAD_BYTES)))
    }

    /// A frame error in RabbitMQ's words, with the first octets of the payload.
    pub fn frame_error(&self, payload: &[u8], why: &str) -> Fault {
        Fault::connection(ReplyCode::FrameError, frame_text(self.kind, payload, why))
    }
}

/// Starts a frame whose size [`finish`] fills in. Returns where it begins.
#[inline]
pub fn begin(out: &mut Vec<u8>, kind: u8, channel: u16) -> usize {
    let at = out.len();
    let [c1, c0] = channel.to_be_bytes();
    out.extend_from_slice(&[kind, c1, c0, 0, 0, 0, 0]);
    at
}

/// Ends the frame begun at `at`.
#[inline]
pub fn finish(out: &mut Vec<u8>, at: usize) {
    let size = (out.len() - at - HEAD_BYTES) as u32;
    out[at + 3..at + 7].copy_from_slice(&size.to_be_bytes());
    out.push(END);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_has_the_size_of_its_payload() {
        let mut out = Vec::new();
        let at = begin(&mut out, METHOD, 0x0102);
        out.extend_from_slice(b"payload");
        finish(&mut out, at);
        assert_eq!(out, b"\x01\x01\x02\0\0\0\x07payload\xCE");
        let head = FrameHead::read(&out).unwrap();
        assert_eq!(head, FrameHead { kind: METHOD, channel: 0x0102, size: 7 });
        assert_eq!(head.frame_bytes(), out.len());
        assert_eq!(FrameHead::read(&out[..6]), None);
    }
}
