//! How much of the broker a user may use at once: connections and channels, counted over all of its connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};

use serde_json::Value;

/// What a user is limited to; negative numbers and none are no limit (RabbitMQ: `set_user_limits`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UserLimits {
    pub max_connections: Option<i64>,
    pub max_channels: Option<i64>,
}

impl UserLimits {
    pub const MAX_CONNECTIONS: &str = "max-connections";
    pub const MAX_CHANNELS: &str = "max-channels";

    /// Reads what definitions have as `limits`: an object with a whole number under any of the two names.
    ///
    /// # Errors
    /// In RabbitMQ's words, if it is anything else.
    pub fn from_json(limits: &Value) -> Result<UserLimits, String> {
        let Value::Object(limits) = limits else { return Err("User limits have to be a JSON object".to_owned()) };
        let mut read = UserLimits::default();
        for (name, value) in limits {
            let limit = match name.as_str() {
                UserLimits::MAX_CONNECTIONS => &mut read.max_connections,
                UserLimits::MAX_CHANNELS => &mut read.max_channels,
                _ => return Err(format!("Unrecognised terms [{{<<\"{name}\">>,{value}}}] in user-limits")),
            };
            let number = value.as_i64().ok_or_else(|| format!("{name} should be a number, actually was {value}"))?;
            *limit = Some(number);
        }
        Ok(read)
    }

    pub fn to_json(self) -> Value {
        let limits =
            [(UserLimits::MAX_CONNECTIONS, self.max_connections), (UserLimits::MAX_CHANNELS, self.max_channels)];
        limits.into_iter().filter_map(|(name, limit)| Some((name.to_owned(), Value::from(limit?)))).collect()
    }
}

/// What a user has open now, and its limits.
#[derive(Default)]
pub struct Quota {
    connections: Counted,
    channels: Counted,
}

struct Counted {
    open: AtomicU32,
    /// Negative if there is none.
    max: AtomicI64,
}

const NO_LIMIT: i64 = -1;

impl Default for Counted {
    fn default() -> Counted {
        Counted { open: AtomicU32::new(0), max: AtomicI64::new(NO_LIMIT) }
    }
}

impl Counted {
    /// Takes one more, or returns the limit.
    fn take(&self) -> Result<(), i64> {
        let max = self.max.load(Ordering::Relaxed);
        let one_more = |open: u32| (max < 0 || i64::from(open) < max).then_some(open + 1);
        self.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).map(drop).map_err(|_| max)
    }

    fn give_back(&self) {
        let before = self.open.fetch_sub(1, Ordering::Relaxed);
        debug_assert!(before > 0, "only what was taken is given back");
    }
}

impl Quota {
    /// In force for what is opened from now on.
    pub fn set_limits(&self, limits: UserLimits) {
        self.connections.max.store(limits.max_connections.unwrap_or(NO_LIMIT), Ordering::Relaxed);
        self.channels.max.store(limits.max_channels.unwrap_or(NO_LIMIT), Ordering::Relaxed);
    }

    /// Takes a connection, or returns the limit that is reached.
    pub fn connect(self: &Arc<Quota>) -> Result<ConnectionSlot, i64> {
        self.connections.take()?;
        Ok(ConnectionSlot(self.clone()))
    }
}

/// One of the connections that a user may have, given back when dropped.
pub struct ConnectionSlot(Arc<Quota>);

impl ConnectionSlot {
    /// Takes a channel, or returns the limit that is reached.
    pub fn open_channel(&self) -> Result<ChannelSlot, i64> {
        self.0.channels.take()?;
        Ok(ChannelSlot(self.0.clone()))
    }

    pub fn is_of(&self, quota: &Arc<Quota>) -> bool {
        Arc::ptr_eq(&self.0, quota)
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        self.0.connections.give_back();
    }
}

/// One of the channels that a user may have, given back when dropped.
pub struct ChannelSlot(Arc<Quota>);

impl Drop for ChannelSlot {
    fn drop(&mut self) {
        self.0.channels.give_back();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quota(max_connections: Option<i64>, max_channels: Option<i64>) -> Arc<Quota> {
        let quota = Arc::new(Quota::default());
        quota.set_limits(UserLimits { max_connections, max_channels });
        quota
    }

    #[test]
    fn what_is_closed_makes_room() {
        let quota = quota(Some(2), Some(1));
        let (first, second) = (quota.connect().unwrap(), quota.connect().unwrap());
        assert_eq!(quota.connect().err(), Some(2));
        let channel = first.open_channel().unwrap();
        assert_eq!(second.open_channel().err(), Some(1), "channels of all connections count");
        drop(channel);
        assert!(second.open_channel().is_ok());
        drop(first);
        assert!(quota.connect().is_ok());
    }

    #[test]
    fn none_and_negative_are_no_limit_and_zero_is_one() {
        for max in [None, Some(-1), Some(-5)] {
            let quota = quota(max, max);
            let slots: Vec<_> = (0..10).map(|_| quota.connect().unwrap()).collect();
            assert!(slots[0].open_channel().is_ok());
        }
        assert_eq!(quota(Some(0), None).connect().err(), Some(0));
    }

    #[test]
    fn a_lower_limit_closes_nothing_and_refuses_more() {
        let quota = quota(None, None);
        let _open = [quota.connect().unwrap(), quota.connect().unwrap()];
        quota.set_limits(UserLimits { max_connections: Some(1), max_channels: None });
        assert_eq!(quota.connect().err(), Some(1));
    }
}
