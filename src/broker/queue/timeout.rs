//! How long consumers of a queue may take.

use super::Queue;
use crate::broker::arguments;

impl Queue {
    /// In ms, how long a delivery from this queue may wait for its acknowledgement; 0 is without end, `None` what the
    /// broker is configured to. It is asked for each run that is delivered, so what it says holds from then on.
    pub fn consumer_timeout_ms(&self) -> Option<u64> {
        let value = self.definition.arguments.inner().get("x-consumer-timeout")?;
        arguments::integer(value).and_then(|ms| u64::try_from(ms).ok())
    }
}
