//! Section 1.7: what each type of exchange matches.

use crate::leveret_only;
use crate::support::peer::*;
use crate::support::props::{NONE, headers};
use crate::support::unique;
use crate::support::wire::*;

/// An exchange with one queue for each binding; the test says which bindings a message matches.
struct Router {
    peer: Peer,
    exchange: String,
    queues: Vec<String>,
}

impl Router {
    fn new(kind: &str, bindings: usize) -> Self {
        let mut peer = Peer::connect();
        let exchange = unique(kind);
        peer.call(1, &exchange_declare(&exchange, kind).on("auto-delete"));
        let queues = (0..bindings).map(|_| peer.exclusive_queue(1)).collect();
        Self { peer, exchange, queues }
    }

    fn with_keys(kind: &str, keys: &[&str]) -> Self {
        let mut router = Self::new(kind, keys.len());
        for (at, key) in keys.iter().enumerate() {
            let bind = queue_bind(&router.queues[at], &router.exchange, key);
            router.peer.call(1, &bind);
        }
        router
    }

    /// The numbers of the bindings whose queues get this message, each once.
    fn route(&mut self, key: &str, properties: &[u8]) -> Vec<usize> {
        self.peer.send_publish(1, &publish(&self.exchange, key), properties, b"x");
        let mut found = Vec::new();
        for (at, queue) in self.queues.iter().enumerate() {
            let count = self.peer.drain(1, queue).len();
            found.extend(std::iter::repeat_n(at, count));
        }
        found
    }
}

#[test]
fn direct_routes_by_the_whole_key() {
    let mut router = Router::with_keys("direct", &["a", "b", "a", "", "a.b"]);
    for (key, queues) in [
        ("a", vec![0, 2]),
        ("b", vec![1]),
        ("", vec![3]),
        ("a.b", vec![4]),
        ("c", vec![]),
        ("A", vec![]),
        ("#", vec![]),
    ] {
        assert_eq!(router.route(key, NONE), queues, "{key}");
    }
}

#[test]
fn fanout_routes_to_all() {
    let mut router = Router::with_keys("fanout", &["a", "b", ""]);
    for key in ["a", "", "anything"] {
        assert_eq!(router.route(key, NONE), [0, 1, 2]);
    }
}

#[test]
fn topic_routes_by_words() {
    let patterns = [
        "#",
        "*",
        "*.*",
        "a.b",
        "a.*",
        "a.#",
        "#.b",
        "*.b",
        "a.*.c",
        "a.#.c",
        "#.#",
        "#.x.#",
        "",
        "a..b",
        "a.*.b",
        "*.#",
        "#.*",
        "a.#.#.c",
        "A.B",
        "a*",
        "#.a.#.b.#",
    ];
    let mut router = Router::with_keys("topic", &patterns);
    let rows: [(&str, &[&str]); 16] = [
        ("", &["#", "#.#", ""]),
        ("a", &["#", "*", "a.#", "#.#", "*.#", "#.*"]),
        ("b", &["#", "*", "#.b", "#.#", "*.#", "#.*"]),
        ("a.b", &["#", "*.*", "a.b", "a.*", "a.#", "#.b", "*.b", "#.#", "*.#", "#.*", "#.a.#.b.#"]),
        ("a.c", &["#", "*.*", "a.*", "a.#", "a.#.c", "#.#", "*.#", "#.*", "a.#.#.c"]),
        ("x", &["#", "*", "#.#", "#.x.#", "*.#", "#.*"]),
        ("a.x.c", &["#", "a.#", "a.*.c", "a.#.c", "#.#", "#.x.#", "*.#", "#.*", "a.#.#.c"]),
        ("a.b.c.d.c", &["#", "a.#", "a.#.c", "#.#", "*.#", "#.*", "a.#.#.c", "#.a.#.b.#"]),
        ("a..b", &["#", "a.#", "#.b", "#.#", "a..b", "a.*.b", "*.#", "#.*", "#.a.#.b.#"]),
        ("a.x.b", &["#", "a.#", "#.b", "#.#", "#.x.#", "a.*.b", "*.#", "#.*", "#.a.#.b.#"]),
        (".", &["#", "*.*", "#.#", "*.#", "#.*"]),
        ("..", &["#", "#.#", "*.#", "#.*"]),
        ("a.", &["#", "*.*", "a.*", "a.#", "#.#", "*.#", "#.*"]),
        ("A.B", &["#", "*.*", "#.#", "*.#", "#.*", "A.B"]),
        ("a*", &["#", "*", "#.#", "*.#", "#.*", "a*"]),
        ("*.*", &["#", "*.*", "#.#", "*.#", "#.*"]),
    ];
    for (key, expected) in rows {
        let found: Vec<_> = router.route(key, NONE).into_iter().map(|at| patterns[at]).collect();
        assert_eq!(found, expected, "for the key {key:?}");
    }
}

#[test]
fn topic_bindings_go_one_by_one() {
    let mut router = Router::with_keys("topic", &["a.#", "a.#.b", "a.*"]);
    assert_eq!(router.route("a.b", NONE), [0, 1, 2]);
    let unbind = queue_unbind(&router.queues[0], &router.exchange, "a.#");
    router.peer.call(1, &unbind);
    assert_eq!(router.route("a.b", NONE), [1, 2]);
    let unbind = queue_unbind(&router.queues[2], &router.exchange, "a.*");
    router.peer.call(1, &unbind);
    assert_eq!(router.route("a.b", NONE), [1]);
}

#[test]
fn many_hashes_are_matched_quickly() {
    leveret_only!("RabbitMQ takes time exponential in their number, or refuses more than two");
    let pattern = ["#"; 60].join(".a.");
    let mut router = Router::with_keys("topic", &[&pattern]);
    let key = format!("{}b", "a.".repeat(100));
    assert_eq!(router.route(&key, NONE), [0], "there are enough words");
    let key = format!("{}b", "a.".repeat(58));
    assert_eq!(router.route(&key, NONE), [] as [usize; 0], "one word is missing");
}

/// One binding with these arguments; whether messages with these headers match.
fn check_headers<const N: usize, const M: usize>(arguments: [(&str, Value); N], rows: [(Vec<(&str, Value)>, bool); M]) {
    let mut router = Router::new("headers", 1);
    let bind = queue_bind(&router.queues[0], &router.exchange, "ignored").args(arguments.clone());
    router.peer.call(1, &bind);
    for (entries, matches) in rows {
        let table: Table = entries.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        let properties = crate::support::props::props().raw_headers(&table_entries(&table)).bytes();
        let expected: &[usize] = if matches { &[0] } else { &[] };
        assert_eq!(router.route("", &properties), expected, "{arguments:?} against {entries:?}");
    }
}

#[test]
fn headers_with_all() {
    for all in [vec![], vec![("x-match", s("all"))]] {
        let mut router = Router::new("headers", 1);
        let mut arguments: Table = table([("a", s("1")), ("b", i(2)), ("x-ignored", s("never sent"))]);
        arguments.extend(all.into_iter().map(|(name, value)| (name.to_owned(), value)));
        let bind =
            queue_bind(&router.queues[0], &router.exchange, "").raw_table("arguments", &table_entries(&arguments));
        router.peer.call(1, &bind);
        for (properties, matches) in [
            (headers([("a", s("1")), ("b", i(2))]), true),
            (headers([("b", i(2)), ("c", s("more")), ("a", s("1"))]), true),
            (headers([("a", s("1"))]), false),
            (headers([("a", s("1")), ("b", i(3))]), false),
            (headers([("a", s("1")), ("b", s("2"))]), false),
            (headers([("A", s("1")), ("b", i(2))]), false),
            (headers([]), false),
            (NONE.to_vec(), false),
        ] {
            let expected: &[usize] = if matches { &[0] } else { &[] };
            assert_eq!(router.route("", &properties), expected);
        }
    }
}

#[test]
fn headers_with_any() {
    check_headers(
        [("x-match", s("any")), ("a", s("1")), ("b", i(2)), ("x-ignored", i(3))],
        [
            (vec![("a", s("1"))], true),
            (vec![("b", i(2))], true),
            (vec![("a", s("other")), ("b", i(2))], true),
            (vec![("a", s("other"))], false),
            (vec![("x-ignored", i(3))], false),
            (vec![], false),
        ],
    );
}

#[test]
fn headers_all_with_x_counts_names_that_begin_with_x() {
    check_headers(
        [("x-match", s("all-with-x")), ("a", s("1")), ("x-b", i(2))],
        [(vec![("a", s("1")), ("x-b", i(2))], true), (vec![("a", s("1"))], false), (vec![("x-b", i(2))], false)],
    );
}

#[test]
fn headers_any_with_x_counts_names_that_begin_with_x() {
    check_headers(
        [("x-match", s("any-with-x")), ("a", s("1")), ("x-b", i(2))],
        [
            (vec![("a", s("1"))], true),
            (vec![("x-b", i(2))], true),
            (vec![("x-b", i(3))], false),
            (vec![("x-match", s("any-with-x"))], false),
        ],
    );
}

#[test]
fn headers_without_arguments() {
    let nothing_and_something = || [(vec![], true), (vec![("a", i(1))], true)];
    check_headers([], nothing_and_something());
    check_headers([("x-match", s("all"))], nothing_and_something());
    check_headers([("x-match", s("all")), ("x-other", i(1))], nothing_and_something());
    check_headers([("x-match", s("any"))], [(vec![], false), (vec![("a", i(1))], false)]);
}

#[test]
fn headers_void_asks_for_presence() {
    check_headers(
        [("a", Value::Void)],
        [
            (vec![("a", s("anything"))], true),
            (vec![("a", i(1))], true),
            (vec![("a", Value::Void)], true),
            (vec![("b", i(1))], false),
        ],
    );
}

#[test]
fn headers_compare_integers_by_value() {
    check_headers(
        [("n", i(5))],
        [
            (vec![("n", Value::I64(5))], true),
            (vec![("n", Value::I8(5))], true),
            (vec![("n", Value::U8(5))], true),
            (vec![("n", Value::I16(5))], true),
            (vec![("n", Value::U32(5))], true),
            (vec![("n", Value::I64(6))], false),
            (vec![("n", s("5"))], false),
            (vec![("n", Value::Bool(true))], false),
        ],
    );
}

#[test]
fn headers_do_not_take_a_float_for_an_integer() {
    leveret_only!("before 4.0 the integer 5 matched the float 5.0");
    check_headers([("n", i(5))], [(vec![("n", Value::F64(5.0))], false)]);
    check_headers([("n", Value::F64(5.0))], [(vec![("n", i(5))], false)]);
}

#[test]
fn headers_compare_values_not_types() {
    check_headers(
        [("text", s("abc"))],
        [(vec![("text", Value::Bytes(b"abc".to_vec()))], true), (vec![("text", s("abd"))], false)],
    );
    check_headers(
        [("number", Value::F64(1.5))],
        [(vec![("number", Value::F32(1.5))], true), (vec![("number", Value::F32(1.25))], false)],
    );
    check_headers(
        [("flag", Value::Bool(true))],
        [(vec![("flag", Value::Bool(true))], true), (vec![("flag", Value::Bool(false))], false)],
    );
    check_headers(
        [("table", Value::Table(table([("k", i(1))])))],
        [
            (vec![("table", Value::Table(table([("k", i(1))])))], true),
            (vec![("table", Value::Table(table([("k", i(2))])))], false),
        ],
    );
}

#[test]
fn headers_with_a_wrong_match() {
    let mut peer = Peer::connect();
    let queue = peer.exclusive_queue(1);
    peer.refused(
        1,
        &queue_bind(&queue, "amq.headers", "").args([("x-match", s("foo"))]),
        406,
        "PRECONDITION_FAILED - Invalid x-match field value <<\"foo\">>; expected all, any, all-with-x, or any-with-x",
    );
    peer.refused(
        1,
        &queue_bind(&queue, "amq.headers", "").args([("x-match", i(1))]),
        406,
        "PRECONDITION_FAILED - Invalid x-match field type signedint (value 1); expected longstr",
    );
}
