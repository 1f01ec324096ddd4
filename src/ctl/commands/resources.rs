//! Memory and disk: from where on they are short, and alarms by hand.

use clap::{Subcommand, ValueEnum};
use serde::{Deserialize, Serialize};

use super::{Context, Group, Reply, Target};
use crate::broker::alarm::Resource;
use crate::ctl::request::Refusal;
use crate::limits::{DiskFreeLimit, MemoryHighWatermark};

#[derive(Debug, Subcommand, Serialize, Deserialize)]
#[command(rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum Resources {
    /// Change how much memory messages may hold
    SetVmMemoryHighWatermark {
        /// A fraction from 0.0 to 1.0, or `absolute` and a number of bytes such as 2GiB
        #[arg(value_name = "FRACTION | absolute BYTES", required = true, num_args = 1..=2)]
        value: Vec<String>,
    },
    /// Change the share of that from which messages leave memory
    SetMemoryPagingRatio {
        #[arg(value_name = "FRACTION")]
        share: String,
    },
    /// Change how much of the disk has to be free
    SetDiskFreeLimit {
        /// A number of bytes such as 2GB, or `mem_relative` and a factor such as 1.0
        #[arg(value_name = "BYTES | mem_relative FACTOR", required = true, num_args = 1..=2)]
        value: Vec<String>,
    },
    /// Raise an alarm by hand: clients that publish are blocked
    SetAlarm {
        #[arg(value_name = "RESOURCE")]
        resource: AlarmOf,
    },
    /// Clear an alarm that was raised by hand
    ClearAlarm {
        #[arg(value_name = "RESOURCE")]
        resource: AlarmOf,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlarmOf {
    Memory,
    Disk,
}

impl AlarmOf {
    fn resource(self) -> Resource {
        match self {
            AlarmOf::Memory => Resource::Memory,
            AlarmOf::Disk => Resource::Disk,
        }
    }
}

impl Group for Resources {
    fn check(&self) -> Result<(), Refusal> {
        match self {
            Resources::SetVmMemoryHighWatermark { value } => watermark(value).map(drop),
            Resources::SetMemoryPagingRatio { share } => paging_share(share).map(drop),
            Resources::SetDiskFreeLimit { value } => disk_free_limit(value).map(drop),
            _ => Ok(()),
        }
    }

    fn banner(&self, _: &Target<'_>) -> Option<String> {
        Some(match self {
            Resources::SetVmMemoryHighWatermark { value } => match value.as_slice() {
                [_, bytes] => format!("Setting memory threshold to {bytes} bytes ..."),
                _ => format!("Setting memory threshold to {} ...", value.join(" ")),
            },
            Resources::SetMemoryPagingRatio { share } => {
                format!("Setting memory paging ratio to {share} ...")
            }
            Resources::SetDiskFreeLimit { value } => match value.as_slice() {
                [_, factor] => format!("Setting disk free limit to {factor} times the total RAM ..."),
                _ => format!("Setting disk free limit to {} bytes ...", value.join(" ")),
            },
            Resources::SetAlarm { resource } => format!("Setting the {} alarm ...", resource.resource().name()),
            Resources::ClearAlarm { resource } => format!("Clearing the {} alarm ...", resource.resource().name()),
        })
    }

    fn carry_out(&self, context: &Context) -> Result<Reply, Refusal> {
        let alarm = &context.broker.alarm;
        match self {
            Resources::SetVmMemoryHighWatermark { value } => {
                let watermark = watermark(value)?;
                alarm.change_marks(|marks| marks.memory_high_watermark = watermark);
            }
            Resources::SetMemoryPagingRatio { share } => {
                let share = paging_share(share)?;
                alarm.change_marks(|marks| marks.memory_paging_share = share);
            }
            Resources::SetDiskFreeLimit { value } => {
                let limit = disk_free_limit(value)?;
                alarm.change_marks(|marks| marks.disk_free_limit = limit);
            }
            Resources::SetAlarm { resource } => context.broker.set_alarm_by_hand(resource.resource(), true),
            Resources::ClearAlarm { resource } => context.broker.set_alarm_by_hand(resource.resource(), false),
        }
        Ok(Reply::Done)
    }
}

fn watermark(value: &[String]) -> Result<MemoryHighWatermark, Refusal> {
    let bad = || Refusal::data(format!("Bad argument: expected {}", MemoryHighWatermark::EXPECTED));
    match value {
        [fraction] => match MemoryHighWatermark::parse(fraction) {
            Some(share @ MemoryHighWatermark::Share(_)) => Ok(share),
            _ => Err(Refusal::data("Bad argument: The threshold should be a fraction between 0.0 and 1.0")),
        },
        [absolute, bytes] if absolute == "absolute" => match crate::limits::parse_bytes(bytes) {
            Some(bytes) => Ok(MemoryHighWatermark::Bytes(bytes)),
            None => Err(bad()),
        },
        _ => Err(Refusal::usage("expected FRACTION, or absolute BYTES")),
    }
}

fn paging_share(text: &str) -> Result<f64, Refusal> {
    match text.parse::<f64>() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err(Refusal::data("Bad argument: The ratio should be a fraction between 0.0 and 1.0")),
    }
}

fn disk_free_limit(value: &[String]) -> Result<DiskFreeLimit, Refusal> {
    let parsed = match value {
        [bytes] => DiskFreeLimit::parse(bytes),
        // It is told from bytes by its decimal point.
        [relative, factor] if relative == "mem_relative" => match factor.contains('.') {
            true => DiskFreeLimit::parse(factor),
            false => DiskFreeLimit::parse(&format!("{factor}.0")),
        },
        _ => return Err(Refusal::usage("expected BYTES, or mem_relative FACTOR")),
    };
    parsed.ok_or_else(|| Refusal::data(format!("Bad argument: expected {}", DiskFreeLimit::EXPECTED)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn the_watermark_is_a_fraction_or_absolute_bytes() {
        assert_eq!(watermark(&words("0.5")), Ok(MemoryHighWatermark::Share(0.5)));
        assert_eq!(watermark(&words("absolute 1GiB")), Ok(MemoryHighWatermark::Bytes(1 << 30)));
        for bad in ["1.5", "2GiB", "absolute much", "relative 0.5", "0.5 0.6"] {
            assert!(watermark(&words(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_disk_limit_is_bytes_or_relative_to_the_memory() {
        assert_eq!(disk_free_limit(&words("2GB")), Ok(DiskFreeLimit::Bytes(2_000_000_000)));
        assert_eq!(disk_free_limit(&words("mem_relative 1.5")), Ok(DiskFreeLimit::OfMemory(1.5)));
        assert_eq!(disk_free_limit(&words("mem_relative 2")), Ok(DiskFreeLimit::OfMemory(2.0)));
        for bad in ["abc", "12", "mem_relative x", "absolute 5GB"] {
            assert!(disk_free_limit(&words(bad)).is_err(), "{bad}");
        }
    }
}
