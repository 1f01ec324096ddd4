//! What is done to queues.

use super::{ctl, list};
use crate::support::broker::{Broker, Launch};
use crate::support::peer::*;

#[test]
fn purge_queue_drops_what_is_ready() {
    let broker = Broker::start(Launch::new());
    let mut peer = Login::new().connect(broker.address);
    peer.call(1, &queue_declare("q"));
    for body in ["a", "b", "c"] {
        peer.publish(1, "", "q", body);
    }
    peer.wait_for_counts(1, "q", (3, 0));
    assert_eq!(peer.get(1, "q").unwrap().body_text(), "a");
    ctl(&broker, &["purge_queue", "q"]).printed("Purging queue 'q' in vhost '/' ...\n");
    let queues = list(&broker, &["list_queues", "messages_ready", "messages_unacknowledged"]);
    assert_eq!(queues, serde_json::json!([{"messages_ready": 0, "messages_unacknowledged": 1}]));
    ctl(&broker, &["purge_queue", "none"]).failed(65, "Queue 'none' does not exist");
    ctl(&broker, &["purge_queue", "-p", "none", "q"]).failed(65, "Virtual host 'none' does not exist");
}

#[test]
fn delete_queue_looks_whether_it_is_empty_and_unused_if_told_so() {
    let broker = Broker::start(Launch::new());
    let mut peer = Login::new().connect(broker.address);
    for queue in ["full", "used"] {
        peer.call(1, &queue_declare(queue).on("durable"));
    }
    peer.publish(1, "", "full", "x");
    peer.wait_for_counts(1, "full", (1, 0));
    peer.consume(1, "used", "t");
    ctl(&broker, &["delete_queue", "--if-empty", "full"]).failed(65, "not empty");
    ctl(&broker, &["delete_queue", "-u", "used"]).failed(65, "in use");
    ctl(&broker, &["delete_queue", "full", "--if-unused"]).printed(
        "Deleting queue 'full' on vhost '/' if queue is unused ...\n\
         Queue was successfully deleted with 1 ready messages\n",
    );
    ctl(&broker, &["-q", "delete_queue", "-e", "used"])
        .printed("Queue was successfully deleted with 0 ready messages\n");
    ctl(&broker, &["delete_queue", "used"]).failed(65, "Queue 'used' does not exist");
    assert_eq!(list(&broker, &["list_queues"]), serde_json::json!([]));
}

/// The exclusive queue of somebody else, too: an operator may.
#[test]
fn delete_queue_takes_what_clients_may_not() {
    let broker = Broker::start(Launch::new());
    let mut peer = Login::new().connect(broker.address);
    peer.call(1, &queue_declare("mine").on("exclusive"));
    ctl(&broker, &["-q", "delete_queue", "mine"]).printed("Queue was successfully deleted with 0 ready messages\n");
    peer.refused(1, &queue_declare("mine").on("passive"), 404, "NOT_FOUND - no queue 'mine' in vhost '/'");
}
