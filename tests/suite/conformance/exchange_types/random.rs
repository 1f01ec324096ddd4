//! `x-random` and `x-local-random`: each message goes to one queue, drawn evenly.

use super::{Bound, assert_shares};
use crate::leveret_only;
use crate::support::peer::*;
use crate::support::props::{NONE, headers};
use crate::support::unique;
use crate::support::wire::*;

const KIND: &str = "x-random";

#[test]
fn every_message_goes_to_one_queue_drawn_evenly() {
    let mut bound = Bound::new(KIND, [], &["", "a", "b.#"]);
    bound.publish_all(std::iter::repeat_n("key", 9_000));
    let counts = bound.take_counts();
    assert_eq!(counts.iter().sum::<u64>(), 9_000);
    assert_shares(&counts, &[1.0; 3]);
}

#[test]
fn a_queue_that_is_bound_twice_gets_twice_as_many() {
    let mut bound = Bound::new(KIND, [], &["", ""]);
    let again = queue_bind(&bound.queues[0], &bound.exchange, "again");
    bound.peer.call(1, &again);
    bound.publish_all(std::iter::repeat_n("key", 9_000));
    let counts = bound.take_counts();
    assert_eq!(counts.iter().sum::<u64>(), 9_000);
    assert_shares(&counts, &[2.0, 1.0]);
}

#[test]
fn bindings_that_come_and_go_count_at_once() {
    let mut bound = Bound::new(KIND, [], &[""]);
    bound.publish_all(["k"; 50]);
    assert_eq!(bound.take_counts(), [50]);
    bound.add("");
    bound.publish_all(["k"; 200]);
    let counts = bound.take_counts();
    assert!(counts.iter().all(|count| *count > 0) && counts.iter().sum::<u64>() == 200, "{counts:?}");
    let unbind = queue_unbind(&bound.queues[0], &bound.exchange, "");
    bound.peer.call(1, &unbind);
    bound.publish_all(["k"; 50]);
    assert_eq!(bound.take_counts(), [0, 50]);
    let delete = queue_delete(&bound.queues[1]);
    bound.peer.call(1, &queue_bind(&bound.queues[0], &bound.exchange, ""));
    bound.peer.call(1, &delete);
    bound.queues.pop();
    bound.publish_all(["k"; 50]);
    assert_eq!(bound.take_counts(), [50]);
}

#[test]
fn copies_do_not_make_more_of_it() {
    let mut bound = Bound::new(KIND, [], &[""; 3]);
    let copies = headers([("CC", Value::Array(vec![s("a"), s("b"), s("c")]))]);
    for _ in 0..20 {
        bound.place_of("key", &copies);
    }
}

#[test]
fn messages_of_all_kinds_are_drawn() {
    let mut bound = Bound::new(KIND, [], &[""; 2]);
    let large = vec![b'x'; 100_000];
    for _ in 0..40 {
        bound.peer.send_publish(1, &publish(&bound.exchange, "k"), NONE, &large);
    }
    bound.peer.call(1, &method("tx.select"));
    bound.publish_all(["k"; 40]);
    bound.peer.call(1, &method("tx.commit"));
    let counts = bound.take_counts();
    assert!(counts.iter().all(|count| *count > 0) && counts.iter().sum::<u64>() == 80, "{counts:?}");
}

#[test]
fn bindings_of_a_local_random_exchange() {
    leveret_only!("RabbitMQ has it from 4.0 on");
    let mut bound = Bound::new("x-local-random", [], &["", ""]);
    bound.publish_all(std::iter::repeat_n("key", 2_000));
    assert_shares(&bound.take_counts(), &[1.0, 1.0]);
    let Bound { mut peer, exchange, queues } = bound;
    let text = "PRECONDITION_FAILED - Non empty binding 'k' key not permitted";
    peer.refused(1, &queue_bind(&queues[0], &exchange, "k"), 406, text);
    let text = "PRECONDITION_FAILED - Destination not found";
    peer.refused(1, &exchange_bind("amq.fanout", &exchange, ""), 406, text);
    let quorum = unique("quorum");
    peer.call(1, &queue_declare(&quorum).on("durable").args([("x-queue-type", s("quorum"))]));
    let text = "PRECONDITION_FAILED - Queue type rabbit_quorum_queue not valid for this exchange type";
    peer.refused(1, &queue_bind(&quorum, &exchange, ""), 406, text);
    peer.call(1, &queue_delete(&quorum));
}
