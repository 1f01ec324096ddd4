//! Policies, parameters and limits.

use serde_json::json;

use super::{ctl, list};
use crate::support::broker::{Broker, Launch};
use crate::support::peer::*;

#[test]
fn policies_are_set_listed_and_cleared() {
    let mut broker = Broker::start(Launch::new());
    let mut peer = Login::new().connect(broker.address);
    peer.call(1, &queue_declare("q1").on("durable"));
    ctl(&broker, &["set_policy", "p1", "^q", "{\"max-length\":5}"]).printed(
        "Setting policy \"p1\" for pattern \"^q\" to \"{\"max-length\":5}\" with priority \"0\" for vhost \"/\" ...\n",
    );
    ctl(
        &broker,
        &["-q", "set_policy", "--priority", "3", "--apply-to", "queues", "p2", "^q", "{\"message-ttl\":1000}"],
    )
    .printed("");
    ctl(&broker, &["-q", "set_operator_policy", "o", "q", "{\"message-ttl\":400,\"max-length\":9}"]).printed("");
    broker.crash();
    ctl(&broker, &["list_policies"]).printed(
        "Listing policies for vhost \"/\" ...\nvhost\tname\tpattern\tapply-to\tdefinition\tpriority\n\
         /\tp1\t^q\tall\t{\"max-length\":5}\t0\n/\tp2\t^q\tqueues\t{\"message-ttl\":1000}\t3\n",
    );
    let columns = ["list_queues", "name", "policy", "operator_policy", "effective_policy_definition"];
    assert_eq!(
        list(&broker, &columns),
        json!([{"name": "q1", "policy": "p2", "operator_policy": "o",
                "effective_policy_definition": {"message-ttl": 400, "max-length": 9}}])
    );
    assert_eq!(list(&broker, &["list_operator_policies"])[0]["name"], "o");
    ctl(&broker, &["clear_policy", "p2"]).printed("Clearing policy \"p2\" on vhost \"/\" ...\n");
    ctl(&broker, &["clear_operator_policy", "o"]).printed("Clearing operator policy \"o\" on vhost \"/\" ...\n");
    assert_eq!(
        list(&broker, &["list_queues", "policy", "operator_policy"]),
        json!([{"policy": "p1", "operator_policy": null}])
    );
    ctl(&broker, &["clear_policy", "p2"]).failed(65, "Parameter does not exist");
}

#[test]
fn a_policy_that_is_not_valid_is_65() {
    let broker = Broker::start(Launch::new());
    ctl(&broker, &["set_policy", "p", "(", "{\"max-length\":5}"]).failed(65, "pattern should be regular expression");
    ctl(&broker, &["set_policy", "p", "a", "{\"max-lenth\":5}"]).failed(65, "are not recognised policy settings");
    ctl(&broker, &["set_policy", "p", "a", "{nojson"]).failed(65, "JSON decoding error");
    ctl(&broker, &["set_policy", "-p", "none", "p", "a", "{}"]).failed(65, "Virtual host 'none' does not exist");
    ctl(&broker, &["set_policy", "p", "a"]).failed(64, "DEFINITION");
}

#[test]
fn parameters_are_set_listed_and_cleared() {
    let broker = Broker::start(Launch::new());
    ctl(&broker, &["-q", "set_parameter", "c", "n", "{\"a\":1}"]).printed("");
    ctl(&broker, &["list_parameters"])
        .printed("Listing runtime parameters for vhost \"/\" ...\ncomponent\tname\tvalue\nc\tn\t{\"a\":1}\n");
    ctl(&broker, &["clear_parameter", "c", "n"])
        .printed("Clearing runtime parameter \"n\" for component \"c\" on vhost \"/\" ...\n");
    ctl(&broker, &["clear_parameter", "c", "n"]).failed(65, "Parameter does not exist");
    ctl(&broker, &["set_global_parameter", "g", "[1]"])
        .printed("Setting global runtime parameter \"g\" to \"[1]\" ...\n");
    ctl(&broker, &["-s", "list_global_parameters"]).printed("g\t[1]\n");
    ctl(&broker, &["-q", "clear_global_parameter", "g"]).printed("");
    ctl(&broker, &["set_global_parameter", "g", "nojson"]).failed(65, "JSON decoding error");
}

#[test]
fn limits_of_a_virtual_host_are_set_shown_and_lifted() {
    let broker = Broker::start(Launch::new().arg("--vhost").arg("v"));
    ctl(&broker, &["set_vhost_limits", "-p", "v", "{\"max-queues\":1}"])
        .printed("Setting vhost limits to \"{\"max-queues\":1}\" for vhost \"v\" ...\n");
    ctl(&broker, &["list_vhost_limits", "-p", "v"]).printed("Listing limits for vhost \"v\" ...\n{\"max-queues\":1}\n");
    ctl(&broker, &["-q", "list_vhost_limits", "--global"]).printed("vhost\tlimits\nv\t{\"max-queues\":1}\n");
    ctl(&broker, &["set_vhost_limits", "{\"foo\":1}"]).failed(65, "Unrecognised terms");
    ctl(&broker, &["clear_vhost_limits", "-p", "v"]).printed("Clearing vhost \"v\" limits ...\n");
    ctl(&broker, &["-q", "list_vhost_limits", "-p", "v"]).printed("{}\n");
}
