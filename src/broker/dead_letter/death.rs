//! A message's deaths, as its header `x-death` tells them: one table for each queue and reason, the latest first.
//!
//! Layout and rules are RabbitMQ's: `original-expiration` (if it had one), `count`, `reason`, `queue`, `time` (of the first
//! death of its kind), `exchange`, `routing-keys`.

use crate::wire::table::{self, ValueView};

/// Kinds of death that are told of one message. Whoever has died in more ways is told the latest.
const DEATHS_MAX: usize = 1000;

/// Headers that say how a message died, and that nobody else may say.
const DEATH_HEADERS: [&[u8]; 7] =
    [b"x-death", FIRST_DEATH[0], FIRST_DEATH[1], FIRST_DEATH[2], LAST_DEATH[0], LAST_DEATH[1], LAST_DEATH[2]];

/// Why, in which queue, and having come through which exchange.
const FIRST_DEATH: [&[u8]; 3] = [b"x-first-death-reason", b"x-first-death-queue", b"x-first-death-exchange"];
const LAST_DEATH: [&[u8]; 3] = [b"x-last-death-reason", b"x-last-death-queue", b"x-last-death-exchange"];

/// How and where a message died now.
#[derive(Clone, Copy, Debug)]
pub struct Death<'a> {
    pub reason: &'a str,
    pub queue: &'a [u8],
    /// Seconds since 1970.
    pub time_s: u64,
    /// Through which exchange it had come, and by which keys.
    pub exchange: &'a [u8],
    pub routing_keys: &'a [&'a [u8]],
    pub original_expiration: Option<&'a [u8]>,
}

/// A queue in which a message has died, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Past<'a> {
    queue: &'a [u8],
    reason: &'a [u8],
    count: i64,
    /// The whole table, without its length.
    table: &'a [u8],
}

impl<'a> Past<'a> {
    fn read(value: ValueView<'a>) -> Option<Past<'a>> {
        let ValueView::Table(table) = value else { return None };
        let text = |key: &[u8]| match table::lookup(table, key) {
            Some(ValueView::LongString(text)) => Some(text),
            _ => None,
        };
        let count = table::lookup(table, b"count").and_then(|count| count.as_integer()).unwrap_or(1);
        Some(Past { queue: text(b"queue")?, reason: text(b"reason")?, count, table })
    }
}

/// The deaths that the headers tell, the latest first.
fn past(headers: &[u8]) -> impl Iterator<Item = Past<'_>> {
    let array = match table::lookup(headers, b"x-death") {
        Some(ValueView::Array(array)) => array,
        _ => &[],
    };
    table::values(array).filter_map(Past::read)
}

/// Whether a message that died for a reason other than rejection, and has these headers by now, would come back to
/// `queue` without anybody having rejected it on the way.
pub fn is_cycle(headers: &[u8], queue: &[u8]) -> bool {
    for death in past(headers) {
        if death.reason == b"rejected" {
            return false;
        }
        if death.queue == queue {
            return true;
        }
    }
    false
}

/// The headers of the dead letter: those of the message, without `dropped` and what clients may have said of deaths, and
/// what is to be said of them. `is_dead_letter` tells that the message has died before, and its headers are true.
pub fn headers_after(headers: &[u8], is_dead_letter: bool, dropped: Option<&[u8]>, death: &Death<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(headers.len() + 256);
    let is_kept = |key: &[u8]| !DEATH_HEADERS.contains(&key) && Some(key) != dropped;
    let walked = table::walk(headers, u8::MAX, |key, entry| {
        if is_kept(key) || (is_dead_letter && key.starts_with(b"x-first-death-")) {
            out.extend(entry);
        }
    });
    debug_assert_eq!(walked, Ok(()), "headers were checked when they came");
    let past: Vec<Past<'_>> = if is_dead_letter { past(headers).collect() } else { Vec::new() };
    if past.is_empty() {
        push_names(&mut out, FIRST_DEATH, death);
    }
    push_names(&mut out, LAST_DEATH, death);
    push_key(&mut out, b"x-death", b'A');
    push_prefixed(&mut out, |out| push_deaths(out, &past, death));
    out
}

fn push_names(out: &mut Vec<u8>, [reason, queue, exchange]: [&[u8]; 3], death: &Death<'_>) {
    push_text(out, reason, death.reason.as_bytes());
    push_text(out, queue, death.queue);
    push_text(out, exchange, death.exchange);
}

fn push_deaths(out: &mut Vec<u8>, past: &[Past<'_>], death: &Death<'_>) {
    let is_same = |past: &Past<'_>| past.queue == death.queue && past.reason == death.reason.as_bytes();
    out.push(b'F');
    match past.iter().find(|past| is_same(past)) {
        Some(known) => push_prefixed(out, |out| push_again(out, known)),
        None => push_prefixed(out, |out| push_death(out, death)),
    }
    for other in past.iter().filter(|past| !is_same(past)).take(DEATHS_MAX - 1) {
        out.push(b'F');
        push_prefixed(out, |out| out.extend(other.table));
    }
}

/// A death of a kind that has been before: it counts one more, and all else is that of the first.
fn push_again(out: &mut Vec<u8>, known: &Past<'_>) {
    let walked = table::walk(known.table, u8::MAX, |key, entry| match key {
        b"count" => push_count(out, known.count.saturating_add(1)),
        _ => out.extend(entry),
    });
    debug_assert_eq!(walked, Ok(()), "headers were checked when they came");
}

fn push_death(out: &mut Vec<u8>, death: &Death<'_>) {
    if let Some(expiration) = death.original_expiration {
        push_text(out, b"original-expiration", expiration);
    }
    push_count(out, 1);
    push_text(out, b"reason", death.reason.as_bytes());
    push_text(out, b"queue", death.queue);
    push_key(out, b"time", b'T');
    out.extend(death.time_s.to_be_bytes());
    push_text(out, b"exchange", death.exchange);
    push_key(out, b"routing-keys", b'A');
    push_prefixed(out, |out| {
        for key in death.routing_keys {
            out.push(b'S');
            push_prefixed(out, |out| out.extend(*key));
        }
    });
}

fn push_count(out: &mut Vec<u8>, count: i64) {
    push_key(out, b"count", b'l');
    out.extend(count.to_be_bytes());
}

fn push_key(out: &mut Vec<u8>, key: &[u8], tag: u8) {
    table::push_short_string(out, key);
    out.push(tag);
}

fn push_text(out: &mut Vec<u8>, key: &[u8], text: &[u8]) {
    push_key(out, key, b'S');
    push_prefixed(out, |out| out.extend(text));
}

/// Appends what `push` appends, with its length before it.
fn push_prefixed(out: &mut Vec<u8>, push: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    out.extend([0; 4]);
    push(out);
    let length = (out.len() - at - 4) as u32;
    out[at..at + 4].copy_from_slice(&length.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Death<'static> = Death {
        reason: "expired",
        queue: b"q",
        time_s: 100,
        exchange: b"",
        routing_keys: &[b"q", b"cc"],
        original_expiration: Some(b"5"),
    };

    fn died(headers: &[u8], is_dead_letter: bool, death: &Death<'_>) -> Vec<u8> {
        let after = headers_after(headers, is_dead_letter, None, death);
        table::validate_entries(&after, 8).expect("what is written can be read");
        after
    }

    fn text<'a>(headers: &'a [u8], key: &str) -> Option<&'a [u8]> {
        match table::lookup(headers, key.as_bytes())? {
            ValueView::LongString(text) => Some(text),
            other => panic!("{other:?}"),
        }
    }

    fn story(headers: &[u8]) -> Vec<(String, String, i64)> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        past(headers).map(|death| (text(death.queue), text(death.reason), death.count)).collect()
    }

    #[test]
    fn the_first_death_is_told_field_by_field() {
        let headers = died(b"", false, &FIRST);
        assert_eq!(story(&headers), [("q".into(), "expired".into(), 1)]);
        let table = past(&headers).next().unwrap().table;
        let keys: Vec<_> = table::entries(table).map(|(key, _)| String::from_utf8(key.to_vec()).unwrap()).collect();
        assert_eq!(
            keys,
            ["original-expiration", "count", "reason", "queue", "time", "exchange", "routing-keys"].map(String::from)
        );
        assert_eq!(table::lookup(table, b"time"), Some(ValueView::Timestamp(100)));
        let Some(ValueView::Array(keys)) = table::lookup(table, b"routing-keys") else { panic!("an array") };
        let keys: Vec<_> = table::values(keys).collect();
        assert_eq!(keys, [ValueView::LongString(b"q"), ValueView::LongString(b"cc")]);
        for name in ["x-first-death-queue", "x-last-death-queue"] {
            assert_eq!(text(&headers, name), Some(&b"q"[..]));
        }
    }

    #[test]
    fn a_death_of_a_known_kind_counts_and_comes_first() {
        let other = Death { reason: "rejected", queue: b"r", time_s: 200, original_expiration: None, ..FIRST };
        let twice = died(&died(b"", false, &FIRST), true, &other);
        assert_eq!(story(&twice), [("r".into(), "rejected".into(), 1), ("q".into(), "expired".into(), 1)]);
        let thrice = died(&twice, true, &Death { time_s: 300, ..FIRST });
        assert_eq!(story(&thrice), [("q".into(), "expired".into(), 2), ("r".into(), "rejected".into(), 1)]);
        let first = past(&thrice).next().unwrap().table;
        assert_eq!(table::lookup(first, b"time"), Some(ValueView::Timestamp(100)), "of the first of its kind");
        assert_eq!(text(&thrice, "x-first-death-queue"), Some(&b"q"[..]));
        assert_eq!(text(&twice, "x-last-death-queue"), Some(&b"r"[..]));
    }

    #[test]
    fn what_a_client_says_of_deaths_is_forgotten_at_the_first() {
        let claimed = died(b"", false, &Death { queue: b"claimed", ..FIRST });
        let headers = died(&claimed, false, &FIRST);
        assert_eq!(story(&headers), [("q".into(), "expired".into(), 1)]);
        assert_eq!(text(&headers, "x-first-death-queue"), Some(&b"q"[..]));
    }

    #[test]
    fn a_circle_without_a_rejection_is_one() {
        let expired =
            |headers: &[u8], queue: &'static [u8]| died(headers, !headers.is_empty(), &Death { queue, ..FIRST });
        let in_b = expired(&expired(b"", b"a"), b"b");
        assert!(is_cycle(&in_b, b"a") && is_cycle(&in_b, b"b") && !is_cycle(&in_b, b"c"));
        let rejected = died(&in_b, true, &Death { reason: "rejected", queue: b"c", ..FIRST });
        let in_d = expired(&rejected, b"d");
        assert!(!is_cycle(&in_d, b"a"), "somebody rejected it on the way");
        assert!(is_cycle(&in_d, b"d"));
    }

    #[test]
    fn other_headers_stay_but_for_the_one_to_be_dropped() {
        let mut headers = Vec::new();
        push_text(&mut headers, b"mine", b"1");
        push_text(&mut headers, b"CC", b"2");
        let after = headers_after(&headers, false, Some(b"CC"), &FIRST);
        assert_eq!((text(&after, "mine"), text(&after, "CC")), (Some(&b"1"[..]), None));
    }
}
