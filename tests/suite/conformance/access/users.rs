//! Users that come, change and go while the broker runs.

use super::{FORCED, NOT_ALLOWED};
use crate::support::local::Local;
use crate::support::peer::*;

const LOGIN: &str =
    "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the broker logfile.";

#[track_caller]
fn expect_no_login(local: &Local, login: &Login) {
    let mut peer = login.started(local.address);
    peer.send(0, &login.start_ok());
    peer.expect_connection_close(403, LOGIN, (0, 0));
}

#[test]
fn passwords() {
    let local = Local::start();
    local.user("u", [".*", ".*", ".*"]);
    local.peer("u").close();
    local.broker.change_password("u", "other").unwrap();
    expect_no_login(&local, &local.login("u"));
    Login::new().user("u", "other").connect(local.address).close();
    local.broker.clear_password("u").unwrap();
    expect_no_login(&local, &Login::new().user("u", "other"));
    let local = local.restart();
    expect_no_login(&local, &Login::new().user("u", "other"));
    local.broker.change_password("u", "u").unwrap();
    let local = local.restart();
    local.peer("u").close();
}

#[test]
fn without_a_permission_there_is_no_way_in() {
    let local = Local::start();
    local.broker.add_user("u", "u").unwrap();
    let no_way = |local: &Local| {
        let login = local.login("u");
        let refused = "NOT_ALLOWED - access to vhost '/' refused for user 'u'";
        login.opening(local.address).fatal(0, &login.open(), NOT_ALLOWED, refused);
    };
    no_way(&local);
    // Any will do, even one for nothing.
    local.broker.set_permissions("/", "u", "", "", "").unwrap();
    local.peer("u").close();
    let local = local.restart();
    local.peer("u").close();
    local.broker.clear_permissions("/", "u").unwrap();
    no_way(&local.restart());
}

#[test]
fn a_deleted_user_is_shown_the_door() {
    let local = Local::start();
    local.user("u", [".*", ".*", ".*"]);
    let (mut first, mut second, mut guest) = (local.peer("u"), local.peer("u"), local.guest());
    let queue = first.exclusive_queue(1);
    local.broker.delete_user("u").unwrap();
    for peer in [&mut first, &mut second] {
        peer.expect_connection_close(FORCED, "CONNECTION_FORCED - user 'u' is deleted", (0, 0));
    }
    let text = format!("NOT_FOUND - no queue '{queue}' in vhost '/'");
    guest.refused(1, &queue_declare(&queue).on("passive"), 404, &text);
    expect_no_login(&local, &local.login("u"));
    expect_no_login(&local.restart(), &Login::new().user("u", "u"));
}

#[test]
fn tags_count_for_who_logs_in_later() {
    let local = Local::start();
    local.user("u", [".*", ".*", ".*"]);
    local.broker.set_user_tags("u", &["impersonator"]).unwrap();
    let local = local.restart();
    let mut peer = local.peer("u");
    let as_other = crate::support::props::props().text("user-id", "other").bytes();
    peer.call(1, &queue_declare("q"));
    peer.send_publish(1, &publish("", "q"), &as_other, b"");
    local.broker.set_user_tags::<&str>("u", &[]).unwrap();
    peer.send_publish(1, &publish("", "q"), &as_other, b"");
    assert_eq!(peer.drain(1, "q").len(), 2);
    let mut peer = local.peer("u");
    peer.send_publish(1, &publish("", "q"), &as_other, b"");
    let text = "PRECONDITION_FAILED - user_id property set to 'other' but authenticated user was 'u'";
    peer.expect_channel_close(1, 406, text, (60, 40));
}
