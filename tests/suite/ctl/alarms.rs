//! Memory and disk: marks that are changed, alarms that are raised by hand.

use serde_json::json;

use super::{ctl, list};
use crate::support::broker::{Broker, Launch};
use crate::support::peer::*;

#[test]
fn an_alarm_raised_by_hand_blocks_publishers_until_it_is_cleared() {
    let broker = Broker::start(Launch::new());
    let mut peer = Login::new().capabilities(&["connection.blocked"]).connect(broker.address);
    peer.call(1, &queue_declare("q"));
    ctl(&broker, &["set_alarm", "disk"]).printed("Setting the disk alarm ...\n");
    assert_eq!(list(&broker, &["list_connections", "state"]), json!([{"state": "blocking"}]));
    assert_eq!(list(&broker, &["status"])["alarms"], json!(["disk (raised by hand)"]));
    peer.publish(1, "", "q", "x");
    assert_eq!(peer.expect(0, "connection.blocked").text("reason"), "low on disk");
    assert_eq!(list(&broker, &["list_connections", "state"]), json!([{"state": "blocked"}]));
    ctl(&broker, &["-q", "clear_alarm", "disk"]).printed("");
    peer.expect(0, "connection.unblocked");
    peer.expect_counts(1, "q", (1, 0));
    ctl(&broker, &["set_alarm", "time"]).failed(64, "time");
}

#[test]
fn a_changed_watermark_counts_at_once() {
    let broker = Broker::start(Launch::new());
    let mut peer = Login::new().capabilities(&["connection.blocked"]).connect(broker.address);
    peer.call(1, &queue_declare("q"));
    ctl(&broker, &["set_vm_memory_high_watermark", "0.0"]).printed("Setting memory threshold to 0.0 ...\n");
    broker.wait_for_log(&["memory resource limit alarm set"]);
    peer.publish(1, "", "q", "x");
    assert_eq!(peer.expect(0, "connection.blocked").text("reason"), "low on memory");
    ctl(&broker, &["set_vm_memory_high_watermark", "absolute", "1GiB"])
        .printed("Setting memory threshold to 1GiB bytes ...\n");
    peer.expect(0, "connection.unblocked");
    let status = list(&broker, &["status"]);
    assert_eq!(status["vm_memory_high_watermark_limit"], 1 << 30);
    ctl(&broker, &["-q", "set_memory_paging_ratio", "0.25"]).printed("");
    assert_eq!(list(&broker, &["status"])["memory_paging_limit"], 1 << 28);
    ctl(&broker, &["set_vm_memory_high_watermark", "1.5"]).failed(65, "between 0.0 and 1.0");
    ctl(&broker, &["set_vm_memory_high_watermark", "absolute", "1GiBx"]).failed(65, "Bad argument");
}

#[test]
fn a_changed_disk_limit_counts_soon() {
    let broker = Broker::start(Launch::new());
    ctl(&broker, &["set_disk_free_limit", "mem_relative", "100"])
        .printed("Setting disk free limit to 100 times the total RAM ...\n");
    broker.wait_for_log(&["disk resource limit alarm set"]);
    assert_eq!(list(&broker, &["status"])["alarms"], json!(["disk"]));
    ctl(&broker, &["set_disk_free_limit", "1MB"]).printed("Setting disk free limit to 1MB bytes ...\n");
    broker.wait_for_log(&["disk resource limit alarm cleared"]);
    ctl(&broker, &["set_disk_free_limit", "abc"]).failed(65, "Bad argument");
}
