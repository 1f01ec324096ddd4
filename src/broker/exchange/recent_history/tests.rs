use super::*;
use crate::storage::record;

/// A message with a body and headers in wire form.
struct Sent<'a> {
    properties: PropertiesView<'a>,
    body: Vec<u8>,
}

impl<'a> Sent<'a> {
    fn new(properties: &'a [u8], body: &str) -> Sent<'a> {
        Sent { properties: PropertiesView::parse(properties, 4).unwrap(), body: body.into() }
    }
}

impl Message for Sent<'_> {
    fn headers(&mut self) -> Option<FieldTable> {
        None
    }

    fn properties(&self) -> Option<&PropertiesView<'_>> {
        Some(&self.properties)
    }

    fn record(&self) -> Option<Vec<u8>> {
        let mut record = Vec::new();
        record::append_prefix(&mut record, 0, b"x", b"k", self.properties.as_bytes(), self.body.len() as u32);
        record.extend(&self.body);
        Some(record)
    }
}

fn of_length(length: i32) -> RecentHistory {
    let mut arguments = FieldTable::default();
    arguments.insert("x-recent-history-length".into(), AMQPValue::LongInt(length));
    RecentHistory::new(&arguments)
}

fn bodies(history: &RecentHistory) -> Vec<String> {
    let body = |message: &Remembered| String::from_utf8(message.chunk.record(0).body().to_vec()).unwrap();
    history.history().iter().map(body).collect()
}

#[test]
fn the_last_messages_are_kept_in_order() {
    let history = of_length(3);
    for n in 0..5 {
        history.remember(&[b"k"], &Sent::new(&[0, 0], &n.to_string()));
    }
    assert_eq!(bodies(&history), ["2", "3", "4"]);
}

#[test]
fn twenty_are_kept_by_default() {
    let history = RecentHistory::new(&FieldTable::default());
    (0..30).for_each(|n| history.remember(&[b"k"], &Sent::new(&[0, 0], &n.to_string())));
    assert_eq!(bodies(&history).len(), 20);
}

#[test]
fn only_a_header_that_is_true_keeps_a_message_out() {
    let history = of_length(9);
    let no_store = |value: &[u8]| {
        let entries = [&[25], &b"x-recent-history-no-store"[..], value].concat();
        [&b"\x20\0"[..], &(entries.len() as u32).to_be_bytes(), &entries].concat()
    };
    history.remember(&[b"k"], &Sent::new(&no_store(b"t\x01"), "true"));
    history.remember(&[b"k"], &Sent::new(&no_store(b"t\0"), "false"));
    history.remember(&[b"k"], &Sent::new(&no_store(b"S\0\0\0\x04true"), "text"));
    assert_eq!(bodies(&history), ["false", "text"]);
}

#[test]
fn bytes_are_bounded_whatever_the_length() {
    let history = of_length(i32::MAX);
    let one = {
        history.remember(&[b"k"], &Sent::new(&[0, 0], "0"));
        history.lock().bytes
    };
    history.lock().max_bytes = 4 * one;
    (1..9).for_each(|n| history.remember(&[b"k"], &Sent::new(&[0, 0], &n.to_string())));
    assert_eq!(bodies(&history), ["5", "6", "7", "8"]);
    history.remember(&[b"k"], &Sent::new(&[0, 0], &"long".repeat(100)));
    assert_eq!((bodies(&history).len(), history.lock().bytes), (0, 0), "what is larger than all of it is not kept");
}

#[test]
fn the_length_is_checked() {
    let of = |value: AMQPValue| {
        let mut arguments = FieldTable::default();
        arguments.insert("x-recent-history-length".into(), value);
        length(&arguments).map_err(|fault| fault.reply_text())
    };
    assert_eq!(of(AMQPValue::LongLongInt(1 << 40)), Ok(1 << 40));
    for (value, printed) in [
        (AMQPValue::LongInt(0), "0"),
        (AMQPValue::LongInt(-1), "-1"),
        (AMQPValue::LongString("5".into()), "<<\"5\">>"),
        (AMQPValue::Void, "undefined"),
    ] {
        let text = format!(
            "PRECONDITION_FAILED - Invalid argument {printed}, 'x-recent-history-length' must be a positive integer"
        );
        assert_eq!(of(value), Err(text));
    }
}
