//! What users may do.

use serde_json::json;

use super::{ctl, list};
use crate::support::broker::{Broker, Launch};

fn with_alice() -> Broker {
    let broker = Broker::start(Launch::new().arg("--vhost").arg("other"));
    ctl(&broker, &["-q", "add_user", "alice", "secret"]).printed("");
    broker
}

#[test]
fn permissions_are_set_listed_and_cleared() {
    let broker = with_alice();
    ctl(&broker, &["set_permissions", "-p", "/", "alice", "^c", "", ".*"])
        .printed("Setting permissions for user \"alice\" in vhost \"/\" ...\n");
    ctl(&broker, &["list_permissions"]).printed(
        "Listing permissions for vhost \"/\" ...\n\
         user\tconfigure\twrite\tread\nalice\t^c\t\t.*\nguest\t.*\t.*\t.*\n",
    );
    ctl(&broker, &["list_user_permissions", "alice"])
        .printed("Listing permissions for user \"alice\" ...\nvhost\tconfigure\twrite\tread\n/\t^c\t\t.*\n");
    ctl(&broker, &["-q", "set_permissions_globally", "alice", "a", "b", "c"]).printed("");
    assert_eq!(
        list(&broker, &["list_user_permissions", "alice"]),
        json!([{"vhost": "/", "configure": "a", "write": "b", "read": "c"},
               {"vhost": "other", "configure": "a", "write": "b", "read": "c"}])
    );
    ctl(&broker, &["clear_permissions", "alice"])
        .printed("Clearing permissions for user \"alice\" in vhost \"/\" ...\n");
    assert_eq!(list(&broker, &["list_user_permissions", "alice"]).as_array().unwrap().len(), 1);
}

#[test]
fn what_is_no_regular_expression_or_no_virtual_host_is_65() {
    let broker = with_alice();
    ctl(&broker, &["set_permissions", "alice", "(", "", ""]).failed(65, "(");
    ctl(&broker, &["set_permissions", "-p", "none", "alice", "", "", ""])
        .failed(65, "Virtual host 'none' does not exist");
    ctl(&broker, &["list_permissions", "-p", "none"]).failed(65, "Virtual host 'none' does not exist");
    ctl(&broker, &["clear_permissions", "-p", "none", "alice"]).failed(65, "Virtual host 'none' does not exist");
}

#[test]
fn topic_permissions_are_set_listed_and_cleared() {
    let broker = with_alice();
    ctl(&broker, &["set_topic_permissions", "alice", "amq.topic", "^a", ".*"])
        .printed("Setting topic permissions on \"amq.topic\" for user \"alice\" in vhost \"/\" ...\n");
    ctl(&broker, &["list_topic_permissions"]).printed(
        "Listing topic permissions for vhost \"/\" ...\nuser\texchange\twrite\tread\nalice\tamq.topic\t^a\t.*\n",
    );
    ctl(&broker, &["-q", "list_user_topic_permissions", "alice"])
        .printed("vhost\texchange\twrite\tread\n/\tamq.topic\t^a\t.*\n");
    ctl(&broker, &["clear_topic_permissions", "alice", "amq.topic"])
        .printed("Clearing topic permissions on \"amq.topic\" for user \"alice\" in vhost \"/\" ...\n");
    ctl(&broker, &["-q", "list_topic_permissions"]).printed("");
}
