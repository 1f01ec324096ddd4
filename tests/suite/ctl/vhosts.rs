//! Virtual hosts: added, described, protected, deleted.

use serde_json::json;

use super::{ctl, list};
use crate::support::broker::{Broker, Launch};
use crate::support::peer::*;

#[test]
fn a_virtual_host_is_added_and_outlives_a_kill() {
    let mut broker = Broker::start(Launch::new());
    ctl(&broker, &["add_vhost", "v", "--description", "mine", "--tags", "a,b", "--default-queue-type", "quorum"])
        .printed("Adding vhost \"v\" ...\n");
    // Again changes nothing, as in RabbitMQ.
    ctl(&broker, &["-q", "add_vhost", "v"]).printed("");
    broker.crash();
    ctl(&broker, &["list_vhosts"]).printed("Listing vhosts ...\nname\n/\nv\n");
    let columns = ["list_vhosts", "name", "description", "tags", "default_queue_type", "tracing"];
    assert_eq!(
        list(&broker, &columns)[1],
        json!({"name": "v", "description": "mine", "tags": ["a", "b"], "default_queue_type": "quorum", "tracing": false})
    );
    ctl(&broker, &["-q", "trace_on", "-p", "v"]).printed("Trace enabled for vhost v\n");
    assert_eq!(list(&broker, &["list_vhosts", "tracing"])[1], json!({"tracing": true}));
    ctl(&broker, &["list_vhosts", "bogus"]).failed(64, "Info key(s) bogus are not supported");
}

#[test]
fn what_is_known_of_it_is_changed() {
    let broker = Broker::start(Launch::new().arg("--vhost").arg("v"));
    ctl(&broker, &["set_vhost_tags", "v", "x", "y"]).printed("Setting tags for virtual host \"v\" to [x, y] ...\n");
    ctl(&broker, &["-q", "update_vhost_metadata", "v", "--description", "new"]).printed("");
    let found = list(&broker, &["list_vhosts", "description", "tags"]);
    assert_eq!(found[1], json!({"description": "new", "tags": ["x", "y"]}));
    for command in ["set_vhost_tags", "update_vhost_metadata", "delete_vhost", "enable_vhost_deletion_protection"] {
        ctl(&broker, &[command, "none"]).failed(65, "Virtual host 'none' does not exist");
    }
}

#[test]
fn deleting_it_closes_its_connections_unless_it_is_protected() {
    let broker = Broker::start(Launch::new().arg("--vhost").arg("v"));
    let mut peer = Login::new().vhost("v").connect(broker.address);
    peer.call(1, &queue_declare("q"));
    ctl(&broker, &["-q", "enable_vhost_deletion_protection", "v"]).printed("");
    ctl(&broker, &["delete_vhost", "v"]).failed(70, "protected from deletion");
    peer.expect_counts(1, "q", (0, 0));
    ctl(&broker, &["-q", "disable_vhost_deletion_protection", "v"]).printed("");
    ctl(&broker, &["delete_vhost", "v"]).printed("Deleting vhost \"v\" ...\n");
    let (code, text, _) = close_values(&peer.expect(0, "connection.close"));
    assert_eq!((code, text.starts_with("CONNECTION_FORCED - ")), (320, true), "{text}");
    assert_eq!(list(&broker, &["list_vhosts"]), json!([{"name": "/"}]));
}
