//! Limits of users.

use serde_json::json;

use super::NOT_ALLOWED;
use crate::support::local::Local;

#[test]
fn connections() {
    let local = Local::start();
    local.user("u", [".*", ".*", ".*"]);
    local.broker.set_user_limits("u", &json!({"max-connections": 2})).unwrap();
    let local = local.restart();
    let login = local.login("u");
    let refused = |vhost: &str, text: &str| {
        let login = login.clone().vhost(vhost);
        login.opening(local.address).fatal(0, &login.open(), NOT_ALLOWED, text);
    };
    let reached =
        |max| format!("NOT_ALLOWED - connection refused for user 'u': user connection limit ({max}) is reached");
    let (first, second) = (local.peer("u"), local.peer("u"));
    refused("/", &reached(2));
    refused("no", "NOT_ALLOWED - vhost no not found");
    local.guest().close();
    for peer in [first, second] {
        peer.close();
        local.peer("u").close();
    }
    local.broker.set_user_limits("u", &json!({"max-connections": 0})).unwrap();
    refused("/", &reached(0));
    local.broker.clear_user_limits("u", "all").unwrap();
    local.peer("u").close();
}

/// Those of all connections count.
#[test]
fn channels() {
    let local = Local::start();
    local.user("u", [".*", ".*", ".*"]);
    local.broker.set_user_limits("u", &json!({"max-channels": 3})).unwrap();
    let (mut first, mut second) = (local.peer("u"), local.peer("u"));
    second.open_channel(2);
    second.close_channel(2);
    first.open_channel(2);
    second.send(3, &crate::support::wire::method("channel.open"));
    let text = "NOT_ALLOWED - number of channels opened for user 'u' has reached the maximum allowed user limit of (3)";
    second.expect_connection_close(NOT_ALLOWED, text, (0, 0));
    first.open_channel(3);
    local.broker.set_user_limits("u", &json!({"max-channels": -1})).unwrap();
    (4..20).for_each(|channel| first.open_channel(channel));
}
