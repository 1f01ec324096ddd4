//! Users: added, changed, limited, deleted.

use serde_json::json;

use super::{ctl, ctl_in, list};
use crate::support::broker::{Broker, Launch};
use crate::support::peer::*;

/// A broker with a user `alice`, who may do everything in `/`.
fn with_alice() -> Broker {
    let broker = Broker::start(Launch::new());
    ctl(&broker, &["-q", "add_user", "alice", "secret"]).printed("");
    ctl(&broker, &["-q", "set_permissions", "alice", ".*", ".*", ".*"]).printed("");
    broker
}

#[test]
fn a_user_is_added_once_and_outlives_a_kill() {
    let mut broker = Broker::start(Launch::new());
    ctl(&broker, &["add_user", "alice", "secret"]).printed(
        "Adding user \"alice\" ...\n\
         Done. Don't forget to grant the user permissions to some virtual hosts! \
         See 'leveret ctl set_permissions --help' to learn more.\n",
    );
    ctl(&broker, &["add_user", "alice", "secret"]).failed(70, "User \"alice\" already exists");
    broker.crash();
    ctl(&broker, &["list_users"]).printed("Listing users ...\nuser\ttags\nalice\t[]\nguest\t[administrator]\n");
    ctl(&broker, &["authenticate_user", "alice", "secret"]).printed("Authenticating user \"alice\" ...\nSuccess\n");
    ctl(&broker, &["authenticate_user", "alice", "wrong"])
        .failed(65, "Error: failed to authenticate user \"alice\"\nuser 'alice' - invalid credentials");
}

#[test]
fn passwords_may_come_on_standard_input() {
    let broker = Broker::start(Launch::new());
    ctl_in(&broker.data_dir(), &["-q", "add_user", "alice"], "secret\n").printed("");
    ctl_in(&broker.data_dir(), &["-q", "authenticate_user", "alice"], "secret").printed("Success\n");
    ctl_in(&broker.data_dir(), &["-q", "change_password", "alice"], "other\n").printed("");
    ctl_in(&broker.data_dir(), &["-q", "authenticate_user", "alice"], "other\n").printed("Success\n");
    ctl_in(&broker.data_dir(), &["-q", "authenticate_user", "alice"], "").failed(64, "a password is needed");
}

#[test]
fn one_who_does_not_exist_is_67() {
    let broker = Broker::start(Launch::new());
    for args in [
        &["delete_user", "nobody"][..],
        &["change_password", "nobody", "x"],
        &["clear_password", "nobody"],
        &["set_user_tags", "nobody", "x"],
        &["set_permissions", "nobody", "", "", ""],
        &["clear_permissions", "nobody"],
        &["list_user_permissions", "nobody"],
        &["list_user_topic_permissions", "nobody"],
        &["set_permissions_globally", "nobody", "", "", ""],
        &["set_user_limits", "nobody", "{}"],
        &["clear_user_limits", "nobody", "all"],
        &["list_user_limits", "--user", "nobody"],
    ] {
        ctl(&broker, args).failed(67, "User \"nobody\" does not exist");
    }
}

#[test]
fn deleting_a_user_closes_the_connections() {
    let broker = with_alice();
    let mut peer = Login::new().user("alice", "secret").connect(broker.address);
    ctl(&broker, &["delete_user", "alice"]).printed("Deleting user \"alice\" ...\n");
    peer.expect_connection_close(320, "CONNECTION_FORCED - user 'alice' is deleted", (0, 0));
    assert_eq!(list(&broker, &["list_users"]), json!([{"user": "guest", "tags": ["administrator"]}]));
}

#[test]
fn passwords_and_tags_are_changed() {
    let broker = with_alice();
    ctl(&broker, &["change_password", "alice", "new"]).printed("Changing password for user \"alice\" ...\n");
    Login::new().user("alice", "new").connect(broker.address).close();
    ctl(&broker, &["clear_password", "alice"]).printed("Clearing password for user \"alice\" ...\n");
    ctl(&broker, &["-q", "authenticate_user", "alice", "new"]).failed(65, "failed to authenticate");
    ctl(&broker, &["set_user_tags", "alice", "management", "policymaker"])
        .printed("Setting tags for user \"alice\" to [management, policymaker] ...\n");
    ctl(&broker, &["-s", "list_users"]).printed("alice\t[management, policymaker]\nguest\t[administrator]\n");
    ctl(&broker, &["-q", "set_user_tags", "alice"]).printed("");
    assert_eq!(list(&broker, &["list_users"])[0]["tags"], json!([]));
}

#[test]
fn limits_of_a_user_are_set_shown_and_lifted() {
    let broker = with_alice();
    let limits = "{\"max-channels\":1}";
    ctl(&broker, &["set_user_limits", "alice", limits])
        .printed("Setting user limits to \"{\"max-channels\":1}\" for user \"alice\" ...\n");
    ctl(&broker, &["list_user_limits", "--user", "alice"])
        .printed("Listing limits for user \"alice\" ...\n{\"max-channels\":1}\n");
    ctl(&broker, &["-q", "list_user_limits", "--global"]).printed("user\tlimits\nalice\t{\"max-channels\":1}\n");
    ctl(&broker, &["set_user_limits", "alice", "{\"foo\":1}"]).failed(65, "foo");
    ctl(&broker, &["set_user_limits", "alice", "{nojson"]).failed(65, "JSON decoding error");
    ctl(&broker, &["clear_user_limits", "alice", "all"]).printed("Clearing all limits for user \"alice\" ...\n");
    ctl(&broker, &["-q", "list_user_limits", "--global"]).printed("");
    ctl(&broker, &["list_user_limits"]).failed(64, "--user");
}
