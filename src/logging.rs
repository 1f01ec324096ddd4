//! The log: events of `tracing` as lines on standard output, plain as RabbitMQ writes them, or JSON.

use std::fmt::{self, Write};
use std::io::{self, IsTerminal};
use std::sync::OnceLock;

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::{LookupSpan, Registry};
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{LogConfig, LogFormat, LogLevel};

/// Sends the log of this process to standard output from now on. A second call changes nothing.
///
/// A reader of the log that goes away does not stop the broker: lines that cannot be written are lost.
pub fn init(config: &LogConfig) {
    let has_colours = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let (level, handle) = reload::Layer::new(filter(config.level));
    let lines = tracing_subscriber::fmt::layer().with_ansi(has_colours).log_internal_errors(false);
    let leveled = Registry::default().with(level);
    // An error means that a subscriber is already there, which only happens inside of tests.
    let begun = match config.format {
        LogFormat::Plain => leveled.with(lines.event_format(PlainFormat)).try_init(),
        LogFormat::Json => leveled.with(lines.json().flatten_event(true).with_current_span(false)).try_init(),
    };
    if begun.is_ok() {
        let _ = LEVEL.set(handle);
    }
}

/// The least important level that is logged by this process, to be changed while it runs.
static LEVEL: OnceLock<reload::Handle<LevelFilter, Registry>> = OnceLock::new();

/// Changes what is logged from now on, if this process has a log.
pub fn set_level(level: LogLevel) {
    if let Some(handle) = LEVEL.get() {
        // It fails only when the subscriber has gone, as it does at the end of the process.
        let _ = handle.reload(filter(level));
    }
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::None => LevelFilter::OFF,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warning => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

/// `2026-01-31 12:00:00.123456+00:00 [info] text key=value`. Control characters are escaped: names come from clients,
/// and none of them may begin a line of its own or speak to the terminal.
struct PlainFormat;

impl<S, N> FormatEvent<S, N> for PlainFormat
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        write_time(&mut writer)?;
        let (name, colour) = level_name(*event.metadata().level());
        if writer.has_ansi_escapes() {
            write!(writer, " \x1b[{colour}m[{name}]\x1b[0m ")?;
        } else {
            write!(writer, " [{name}] ")?;
        }
        let mut text = Text::default();
        event.record(&mut text);
        write_escaped(&mut writer, &text.message)?;
        write_escaped(&mut writer, &text.fields)?;
        writer.write_char('\n')
    }
}

/// Now, in UTC, in microseconds.
fn write_time(writer: &mut Writer<'_>) -> fmt::Result {
    let mut rfc3339 = String::new();
    SystemTime.format_time(&mut Writer::new(&mut rfc3339))?;
    let (date, time) = rfc3339.split_once('T').ok_or(fmt::Error)?;
    write!(writer, "{date} {}+00:00", time.trim_end_matches('Z'))
}

/// RabbitMQ's name for the level, and its colour as an ANSI code.
fn level_name(level: Level) -> (&'static str, &'static str) {
    match level {
        Level::ERROR => ("error", "31"),
        Level::WARN => ("warning", "33"),
        Level::INFO => ("info", "32"),
        Level::DEBUG => ("debug", "36"),
        Level::TRACE => ("trace", "2"),
    }
}

fn write_escaped(writer: &mut Writer<'_>, text: &str) -> fmt::Result {
    let mut rest = text;
    while let Some(at) = rest.find(char::is_control) {
        let (clean, from) = rest.split_at(at);
        let mut characters = from.chars();
        let control = characters.next().ok_or(fmt::Error)?;
        write!(writer, "{clean}{}", control.escape_default())?;
        rest = characters.as_str();
    }
    writer.write_str(rest)
}

/// What an event says: its message, and its other fields each after a space.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string does not fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.message.push_str(value),
            _ => self.record_debug(field, &value),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::fmt::SubscriberBuilder;

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is logged while `act` runs, in the plain format.
    fn logged(act: impl FnOnce()) -> String {
        let sink = Sink::default();
        let writer = sink.clone();
        let subscriber = SubscriberBuilder::default()
            .with_ansi(false)
            .event_format(PlainFormat)
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, act);
        let bytes = sink.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_line_is_time_level_and_text() {
        let line = logged(|| tracing::warn!(channels = 3, name = "x", "connection {} closed", 7));
        let (time, text) = line.split_once(" [").unwrap();
        assert_eq!(text, "warning] connection 7 closed channels=3 name=\"x\"\n");
        let digits_as_zero: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        assert_eq!(digits_as_zero, "0000-00-00 00:00:00.000000+00:00");
    }

    #[test]
    fn a_name_cannot_begin_a_line_or_colour_the_terminal() {
        let line = logged(|| tracing::info!("user '{}' refused", "x\r\n2026 [info] all is well\x1b[2J"));
        assert!(line.ends_with("user 'x\\r\\n2026 [info] all is well\\u{1b}[2J' refused\n"), "{line:?}");
    }
}
