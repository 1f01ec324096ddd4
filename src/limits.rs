//! Every limit of the broker: its name with the unit at the end, its default and its range, in this one file.
//!
//! [`Limits`] holds those that configuration can change (`limits.NAME` in the file, `LEVERET_LIMITS__NAME` in the
//! environment); the constants below it are the protocol's own or the hard caps that no setting lifts. A number
//! outside its range never gets into a [`Limits`] that came from configuration.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The smallest frame that a peer may negotiate (AMQP 0-9-1 specification, `frame-min-size`).
pub const FRAME_MIN_BYTES: u32 = 4096;

/// What a frame adds to its payload: type, channel, length, and the end octet.
pub const FRAME_OVERHEAD_BYTES: u32 = 8;

/// No message is larger than this, whatever is configured (RabbitMQ's hard cap, 512 MiB).
pub const MESSAGE_MAX_BYTES: u64 = 512 * MIB;

/// What an exchange of type `x-recent-history` keeps at most, in bytes of messages; then the oldest go, whatever its
/// length.
pub const RECENT_HISTORY_MAX_BYTES: usize = 64 * MIB as usize;

/// Messages that a queue or an exchange remembers at most to tell duplicates: so many keys take about a gigabyte.
pub const DEDUP_CACHE_SIZE_MAX: usize = 16 * 1024 * 1024;

/// The longest short string: names of exchanges, queues, consumers and virtual hosts, routing keys, reply texts.
pub const SHORT_STRING_MAX_BYTES: usize = 255;

/// The longest regular expression of a permission.
pub const PATTERN_MAX_BYTES: usize = 4096;

/// Steps back that matching one name against such an expression may take; more, and it does not match.
pub const PATTERN_BACKTRACKS_MAX: usize = 100_000;

/// Permissions that a connection remembers to have (RabbitMQ's channels remember as many).
pub const PERMISSION_CACHE_MAX: usize = 12;

/// Tags of one user or virtual host.
pub const TAGS_MAX: usize = 64;

/// The longest description of a virtual host.
pub const DESCRIPTION_MAX_BYTES: usize = 4096;

/// Size of a thread's read buffer: the most that one read takes from a socket.
pub const READ_BUFFER_BYTES: usize = 256 * 1024;

/// Connections to the local socket of `leveret ctl` at one time; more wait to be accepted.
pub const CTL_CONNECTIONS_MAX: usize = 32;

/// The longest line that goes over that socket, in bytes: a request with definitions to import.
pub const CTL_LINE_MAX_BYTES: usize = 64 * 1024 * 1024;

/// How long a client of that socket may take to send its request.
pub const CTL_REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// How long it may not read while there is something to read.
pub const CTL_WRITE_TIMEOUT: Duration = Duration::from_secs(60);

/// How long connections may take to tell their figures to who lists them.
pub const CTL_REPORT_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a check of a listener waits for its own connection.
pub const CTL_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;

/// Name, default and range of one limit, as the configuration's checks, its errors and its documentation use them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// The last part of its configuration key; the unit is its suffix.
    pub name: &'static str,
    pub default: u64,
    pub min: u64,
    pub max: u64,
    /// Whether 0 lifts the limit, besides the range; configuration then takes `"infinity"` for 0 as well.
    pub zero_is_none: bool,
}

impl Limit {
    /// The limit of that name, if there is one.
    pub fn named(name: &str) -> Option<&'static Limit> {
        LIMITS.iter().find(|limit| limit.name == name)
    }

    pub fn allows(&self, value: u64) -> bool {
        (self.min..=self.max).contains(&value) || (self.zero_is_none && value == 0)
    }

    /// Whether the value counts bytes, so that configuration takes `"64MiB"` for it.
    pub fn is_bytes(&self) -> bool {
        self.name.ends_with("_bytes")
    }
}

/// The range, as it ends the sentence "expected …".
impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a whole number from {} to {}", self.min, self.max)?;
        if self.zero_is_none && self.min > 0 {
            f.write_str(", or 0 for none")?;
        }
        Ok(())
    }
}

/// Writes the struct, its defaults and the table of ranges from one list, so that they cannot disagree.
macro_rules! limits {
    (@zero) => { false };
    (@zero $none:ident) => { true };
    ($( $(#[$doc:meta])* $name:ident: $type:ty = $default:expr, in $min:expr, $max:expr $(, 0 is $none:ident)?; )*) => {
        /// The limits that configuration can change.
        #[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct Limits {
            $( $(#[$doc])* pub $name: $type, )*
            /// Memory held by messages from which publishers are blocked (`connection.blocked`, reason `low on memory`).
            pub memory_high_watermark: MemoryHighWatermark,
            /// The share of that, from 0.0 to 1.0, from which messages begin to leave memory.
            /// RabbitMQ: `vm_memory_high_watermark_paging_ratio`.
            pub memory_paging_share: f64,
            /// Free space on the disk of the data directory below which publishers are blocked (`connection.blocked`,
            /// reason `low on disk`).
            pub disk_free_limit: DiskFreeLimit,
        }

        /// All numeric limits, in the order of the struct.
        pub const LIMITS: &[Limit] = &[
            $( Limit {
                name: stringify!($name),
                default: $default,
                min: $min,
                max: $max,
                zero_is_none: limits!(@zero $($none)?),
            }, )*
        ];

        impl Default for Limits {
            fn default() -> Limits {
                Limits {
                    $( $name: $default, )*
                    memory_high_watermark: MemoryHighWatermark::default(),
                    memory_paging_share: 0.5,
                    disk_free_limit: DiskFreeLimit::default(),
                }
            }
        }
    };
}

limits! {
    /// Largest frame, in bytes with its 8 of overhead, offered in `connection.tune`. RabbitMQ: `frame_max`.
    frame_max_bytes: u32 = 131_072, in 4096, 128 * MIB;

    /// Largest frame before `tune-ok`, in bytes: the only large one is `start-ok`, whose response may be a token.
    /// RabbitMQ: `initial_frame_max`, there 8192.
    initial_frame_max_bytes: u32 = 65_536, in 4096, 16 * MIB;

    /// Highest channel number, offered in `connection.tune`; 0 offers no limit, which is 65535.
    /// RabbitMQ: `channel_max`.
    channel_max: u16 = 2047, in 1, 65_535, 0 is none;

    /// Heartbeat, in seconds, offered in `connection.tune`; 0 asks for none. The client's answer counts.
    /// RabbitMQ: `heartbeat`.
    heartbeat_s: u16 = 60, in 1, 65_535, 0 is none;

    /// From the accepted socket to `open-ok`, in milliseconds; then the socket is closed without a word.
    /// RabbitMQ: `handshake_timeout`.
    handshake_timeout_ms: u64 = 10_000, in 100, 3_600_000;

    /// How long a close that the broker sent waits for its `close-ok`, in milliseconds, before the socket is dropped.
    close_timeout_ms: u64 = 30_000, in 10, 3_600_000;

    /// How long a socket whose login failed, or that broke the protocol before `tune`, is held before it is
    /// closed, in milliseconds: it slows down those who guess passwords.
    silent_close_delay_ms: u64 = 3_000, in 0, 60_000;

    /// How long a graceful stop waits for the clients' `close-ok`, in milliseconds, before it drops their sockets.
    shutdown_timeout_ms: u64 = 5_000, in 0, 3_600_000;

    /// Open connections; more are refused at `connection.open`. RabbitMQ: `connection_max`.
    connections: u32 = 0, in 1, 10_000_000, 0 is none;

    /// Consumers on one channel; one more is a connection error 530. RabbitMQ: `consumer_max_per_channel`.
    consumers_per_channel: u32 = 0, in 1, 1_000_000, 0 is none;

    /// Deliveries on one channel that wait for their acknowledgement. At the limit the channel is assigned nothing
    /// more until some are settled; it is not closed.
    unacked_per_channel: u32 = 1_000_000, in 1, 4_000_000_000, 0 is none;

    /// How long a delivery may wait for its acknowledgement, in milliseconds, where neither its consumer nor its queue
    /// says; then its channel is closed with 406. RabbitMQ: `consumer_timeout`, there 30 minutes.
    consumer_timeout_ms: u64 = 0, in 100, 315_360_000_000, 0 is none;

    /// Largest message body, in bytes; a larger one is a channel error 406. RabbitMQ: `max_message_size`.
    max_message_bytes: u64 = 128 * MIB, in 1, MESSAGE_MAX_BYTES;

    /// Largest content header (the properties of one message), in bytes. A content header cannot be split, so
    /// `frame_max_bytes` limits it as well.
    max_header_bytes: u32 = 131_072, in 1024, 16 * MIB;

    /// How deep tables and arrays may be nested in each other, in levels.
    table_depth: u8 = 64, in 4, 255;

    /// Runtime parameters of one virtual host, policies among them, and global ones.
    parameters: u32 = 100_000, in 1, 10_000_000;

    /// Largest value of a runtime parameter, in bytes as JSON.
    parameter_bytes: u32 = 1_048_576, in 1024, 64 * MIB;

    /// Largest file of definitions, in bytes.
    definitions_bytes: u64 = 256 * MIB, in 1024, 16 * GIB;

    /// Ready bytes that a queue may hold in memory while its consumers do not read, before its publishers are
    /// not read any more.
    stalled_queue_bytes: u64 = 256 * MIB, in MIB, 1 << 40;

    /// Bytes of durable messages that may wait to be written; above it, publishers are not read.
    unwritten_bytes: u64 = 8 * MIB, in MIB, 1 << 40;

    /// Memory held by messages from which queues keep less of those that are on disk.
    durable_resident_bytes: u64 = 128 * MIB, in MIB, 1 << 40;

    /// Ready bytes that a deep queue keeps in memory of messages that are on disk.
    queue_resident_bytes: u64 = MIB, in 16 * KIB, 1 << 40;

    /// Direct replies that may wait for a requester who does not read them, in bytes; more are dropped.
    reply_queue_bytes: u64 = 16 * MIB, in 16 * KIB, 1 << 40;

    /// Ready bytes of a queue whose consumers do read, from which its publishers take their time.
    queue_flow_bytes: u64 = MIB, in 16 * KIB, 1 << 40;

    /// Bytes assigned to one consumer and not yet in its connection's output.
    consumer_window_bytes: u64 = 256 * KIB, in 4 * KIB, GIB;

    /// Bytes of unwritten output of a connection at which it takes no more deliveries.
    write_buffer_low_bytes: u64 = 256 * KIB, in 4 * KIB, GIB;

    /// Bytes of unwritten output of a connection at which it is not read any more: only replies, returns and
    /// confirms go so far.
    write_buffer_high_bytes: u64 = MIB, in 8 * KIB, GIB;
}

impl Limits {
    pub fn handshake_timeout(&self) -> Duration {
        Duration::from_millis(self.handshake_timeout_ms)
    }

    pub fn close_timeout(&self) -> Duration {
        Duration::from_millis(self.close_timeout_ms)
    }

    pub fn silent_close_delay(&self) -> Duration {
        Duration::from_millis(self.silent_close_delay_ms)
    }

    pub fn shutdown_timeout(&self) -> Duration {
        Duration::from_millis(self.shutdown_timeout_ms)
    }
}

/// The longest time to live, expiry or delay, in milliseconds: ten years, as in RabbitMQ.
pub const EXPIRY_MAX_MS: u64 = 315_360_000_000;

/// Attempts that the policy key `retry` may ask for, and delays that it may list.
pub const RETRY_ATTEMPTS_MAX: i64 = 1000;
pub const RETRY_BACKOFFS_MAX: usize = 32;

/// Arguments of one queue, exchange or binding that is imported, in bytes: as much as a frame could bring.
pub const ARGUMENTS_MAX_BYTES: usize = 131_072;

/// `storage.sync_interval_ms`: between two syncs of what is written, in milliseconds.
pub const SYNC_INTERVAL_MS: Limit =
    Limit { name: "sync_interval_ms", default: 200, min: 1, max: 3_600_000, zero_is_none: false };

/// How much memory messages may hold before publishers are blocked: a share of what the machine or its control
/// group has, or a number of bytes. Written `0.6` or `"4GiB"`. RabbitMQ: `vm_memory_high_watermark`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MemoryHighWatermark {
    /// From 0 (publishers are always blocked) to 1.
    Share(f64),
    Bytes(u64),
}

impl MemoryHighWatermark {
    /// What a value has to be, as it ends the sentence "expected …".
    pub const EXPECTED: &str = "a share from 0.0 to 1.0 of the memory, or bytes such as \"4GiB\"";

    /// Reads `0.6`, `4294967296` or `4GiB`.
    pub fn parse(text: &str) -> Option<MemoryHighWatermark> {
        match text.parse::<f64>() {
            Ok(share) if (0.0..=1.0).contains(&share) => Some(MemoryHighWatermark::Share(share)),
            _ => parse_bytes(text).map(MemoryHighWatermark::Bytes),
        }
    }

    /// The mark in bytes, where the machine or control group has `total_bytes` of memory.
    pub fn bytes_of(self, total_bytes: u64) -> u64 {
        match self {
            MemoryHighWatermark::Share(share) => (total_bytes as f64 * share) as u64,
            MemoryHighWatermark::Bytes(bytes) => bytes,
        }
    }
}

impl Default for MemoryHighWatermark {
    fn default() -> MemoryHighWatermark {
        MemoryHighWatermark::Share(0.6)
    }
}

impl<'de> Deserialize<'de> for MemoryHighWatermark {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<MemoryHighWatermark, D::Error> {
        let text = String::deserialize(deserializer)?;
        MemoryHighWatermark::parse(&text)
            .ok_or_else(|| serde::de::Error::custom(format!("expected {}", MemoryHighWatermark::EXPECTED)))
    }
}

impl Serialize for MemoryHighWatermark {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            MemoryHighWatermark::Share(share) => serializer.serialize_f64(*share),
            MemoryHighWatermark::Bytes(bytes) => serializer.serialize_u64(*bytes),
        }
    }
}

/// How much of the disk has to be free, or publishers are blocked: a number of bytes, or a multiple of the memory of the
/// machine or its control group, told by its decimal point. Written `"50MB"` or `1.5`. RabbitMQ: `disk_free_limit`, with
/// `absolute` and `relative`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum DiskFreeLimit {
    /// None if 0.
    Bytes(u64),
    /// From 0 to 100.
    OfMemory(f64),
}

impl DiskFreeLimit {
    /// What a value has to be, as it ends the sentence "expected …".
    pub const EXPECTED: &str =
        "bytes such as \"50MB\" (at least 1 MB, or 0 for none), or a multiple of the memory from 0.0 to 100.0";

    /// So that who leaves out the decimal point of a multiple is told.
    const MIN_BYTES: u64 = 1_000_000;
    const MAX_OF_MEMORY: f64 = 100.0;

    /// Reads `1.5`, `50000000` or `50MB`.
    pub fn parse(text: &str) -> Option<DiskFreeLimit> {
        match text.parse::<f64>() {
            Ok(share) if text.contains('.') => {
                (0.0..=Self::MAX_OF_MEMORY).contains(&share).then_some(DiskFreeLimit::OfMemory(share))
            }
            _ => {
                let bytes = parse_bytes(text)?;
                (bytes == 0 || bytes >= Self::MIN_BYTES).then_some(DiskFreeLimit::Bytes(bytes))
            }
        }
    }

    /// The limit in bytes, where the machine or control group has `memory_bytes` of memory.
    pub fn bytes_of(self, memory_bytes: u64) -> u64 {
        match self {
            DiskFreeLimit::Bytes(bytes) => bytes,
            DiskFreeLimit::OfMemory(share) => (memory_bytes as f64 * share) as u64,
        }
    }
}

impl Default for DiskFreeLimit {
    fn default() -> DiskFreeLimit {
        DiskFreeLimit::Bytes(50_000_000)
    }
}

impl<'de> Deserialize<'de> for DiskFreeLimit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<DiskFreeLimit, D::Error> {
        let text = String::deserialize(deserializer)?;
        DiskFreeLimit::parse(&text)
            .ok_or_else(|| serde::de::Error::custom(format!("expected {}", DiskFreeLimit::EXPECTED)))
    }
}

impl Serialize for DiskFreeLimit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            DiskFreeLimit::Bytes(bytes) => serializer.serialize_u64(*bytes),
            DiskFreeLimit::OfMemory(share) => serializer.serialize_f64(*share),
        }
    }
}

/// Reads a number of bytes: plain, or with a unit of 1000 (`kB`, `MB`, `GB`, `TB`) or 1024 (`KiB`, `MiB`, `GiB`,
/// `TiB`). The case of the unit does not matter.
pub fn parse_bytes(text: &str) -> Option<u64> {
    let digits_end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(digits_end);
    let factor = match unit.trim_start().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        "kib" => KIB,
        "mib" => MIB,
        "gib" => GIB,
        "tib" => 1024 * GIB,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_in_its_range() {
        for limit in LIMITS {
            assert!(limit.allows(limit.default), "{}", limit.name);
            assert!(limit.min <= limit.max, "{}", limit.name);
        }
    }

    #[test]
    fn defaults_are_those_of_rabbitmq_where_it_has_them() {
        let limits = Limits::default();
        assert_eq!(
            (limits.frame_max_bytes, limits.channel_max, limits.heartbeat_s, limits.handshake_timeout_ms),
            (131_072, 2047, 60, 10_000)
        );
        assert_eq!(limits.max_message_bytes, 134_217_728);
        assert_eq!(limits.memory_high_watermark, MemoryHighWatermark::Share(0.6));
        assert_eq!((limits.memory_paging_share, limits.disk_free_limit), (0.5, DiskFreeLimit::Bytes(50_000_000)));
    }

    #[test]
    fn zero_lifts_a_limit_only_where_it_says_so() {
        assert!(Limit::named("connections").unwrap().allows(0));
        assert!(!Limit::named("frame_max_bytes").unwrap().allows(0));
        assert!(!Limit::named("frame_max_bytes").unwrap().allows(4095));
    }

    #[test]
    fn bytes_have_units() {
        let cases = [
            ("0", Some(0)),
            ("4096", Some(4096)),
            ("64MiB", Some(64 << 20)),
            ("64 mib", Some(64 << 20)),
            ("1kB", Some(1000)),
            ("2GB", Some(2_000_000_000)),
            ("1TiB", Some(1 << 40)),
            ("", None),
            ("MiB", None),
            ("-1", None),
            ("1.5GiB", None),
            ("1 apple", None),
            ("99999999999TiB", None),
        ];
        for (text, bytes) in cases {
            assert_eq!(parse_bytes(text), bytes, "{text:?}");
        }
    }

    #[test]
    fn the_disk_limit_is_bytes_or_with_a_decimal_point_a_multiple_of_the_memory() {
        for (text, limit) in [
            ("50MB", DiskFreeLimit::Bytes(50_000_000)),
            ("2GiB", DiskFreeLimit::Bytes(2 << 30)),
            ("0", DiskFreeLimit::Bytes(0)),
            ("1.0", DiskFreeLimit::OfMemory(1.0)),
            ("0.25", DiskFreeLimit::OfMemory(0.25)),
        ] {
            assert_eq!(DiskFreeLimit::parse(text), Some(limit), "{text}");
        }
        for bad in ["1", "2", "-1.0", "100.5", "1.5GB", "nan", "inf", "much", ""] {
            assert_eq!(DiskFreeLimit::parse(bad), None, "{bad}");
        }
        assert_eq!(DiskFreeLimit::OfMemory(1.5).bytes_of(1000), 1500);
        assert_eq!(DiskFreeLimit::Bytes(7).bytes_of(1000), 7);
    }

    #[test]
    fn the_watermark_is_a_share_or_bytes() {
        assert_eq!(MemoryHighWatermark::parse("0.4"), Some(MemoryHighWatermark::Share(0.4)));
        assert_eq!(MemoryHighWatermark::parse("1"), Some(MemoryHighWatermark::Share(1.0)));
        assert_eq!(MemoryHighWatermark::parse("2GiB"), Some(MemoryHighWatermark::Bytes(2 << 30)));
        for bad in ["1.5", "-0.1", "nan", "much"] {
            assert_eq!(MemoryHighWatermark::parse(bad), None, "{bad}");
        }
        assert_eq!(MemoryHighWatermark::Share(0.5).bytes_of(1000), 500);
        assert_eq!(MemoryHighWatermark::Bytes(7).bytes_of(1000), 7);
    }
}
