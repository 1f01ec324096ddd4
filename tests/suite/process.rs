//! The life of the process: start, log, stop.

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use crate::support::broker::{Broker, Launch, Process};
use crate::support::peer::*;
use crate::support::props::NONE;
use crate::support::wire::*;

const FORCED: &str = "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'";

fn leveret(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_leveret")).args(args).output().expect("the binary can be started")
}

/// A start that must fail; what it says.
#[track_caller]
fn check_fails(launch: Launch, parts: &[&str]) {
    let mut process = Process::spawn(launch);
    let status = process.wait_for_exit();
    let output = process.output();
    assert!(!status.success(), "it should not have started:\n{output}");
    for part in parts {
        assert!(output.contains(part), "no {part:?} in:\n{output}");
    }
    assert!(!output.contains("Server startup complete") && !output.contains("panicked"), "{output}");
}

// ---- stop ----

#[test]
fn a_signal_closes_every_client_with_320_and_ends_the_process() {
    for signal in ["TERM", "INT"] {
        let mut broker = Broker::start(Launch::new());
        let mut idle = Login::new().connection(broker.address);
        let mut busy = Login::new().connect(broker.address);
        let queue = busy.exclusive_queue(1);
        busy.consume(1, &queue, "t");
        busy.publish(1, "", &queue, "unacknowledged");
        busy.expect_delivery(1);
        let mut publishing = Login::new().connect(broker.address);
        publishing.send(1, &publish("", &queue));
        publishing.send_raw(&header_frame(1, 100, NONE));
        publishing.send_raw(&body_frame(1, b"half a message"));
        broker.signal(signal);
        for peer in [&mut idle, &mut busy, &mut publishing] {
            peer.expect_connection_close(320, FORCED, (0, 0));
        }
        assert_eq!(broker.wait_for_exit().code(), Some(0), "after SIG{signal}");
        assert!(std::net::TcpStream::connect(broker.address).is_err(), "nobody listens");
        broker.wait_for_log(&[&format!("SIG{signal} received")]);
    }
}

#[test]
fn a_stop_without_clients() {
    let mut broker = Broker::start(Launch::new());
    broker.signal("TERM");
    assert_eq!(broker.wait_for_exit().code(), Some(0));
}

#[test]
fn the_listener_closes_before_the_clients_have_answered() {
    let mut broker = Broker::start(Launch::new());
    let mut peer = Login::new().connect(broker.address);
    broker.signal("TERM");
    let close = peer.expect(0, "connection.close");
    assert_eq!(close.number("reply-code"), 320);
    assert!(std::net::TcpStream::connect(broker.address).is_err(), "nobody new is let in");
    peer.send(0, &method("connection.close-ok"));
    assert_eq!(broker.wait_for_exit().code(), Some(0));
}

/// Clients that do not answer, do not read or have not even logged in do not hold up the stop for long.
#[test]
fn a_stop_does_not_wait_for_ever() {
    let mut broker = Broker::start(Launch::new().limit("shutdown_timeout_ms", 700));
    let silent = Login::new().connect(broker.address);
    let greeting = Peer::tcp(broker.address);
    let starting = Login::new().started(broker.address);
    let opening = Login::new().opening(broker.address);
    let refused = {
        let login = Login::new().user("guest", "wrong").capabilities(&[]);
        let mut peer = login.started(broker.address);
        peer.send(0, &login.start_ok());
        peer
    };
    // One whose answers fill every buffer.
    let mut deaf = Login::new().connect(broker.address);
    let queue = deaf.exclusive_queue(1);
    deaf.set_write_timeout(Duration::from_millis(300));
    let questions = method_frame(1, &queue_declare(&queue).on("passive")).repeat(1000);
    while deaf.send_raw_if_open(&questions).is_ok() {}
    let before = Instant::now();
    broker.signal("TERM");
    assert_eq!(broker.wait_for_exit().code(), Some(0));
    assert!(before.elapsed() < Duration::from_secs(5), "it took {:?}", before.elapsed());
    drop((silent, greeting, starting, opening, refused, deaf));
}

#[test]
fn a_second_signal_changes_nothing() {
    let mut broker = Broker::start(Launch::new().limit("shutdown_timeout_ms", 500));
    let _silent = Login::new().connect(broker.address);
    broker.signal("TERM");
    broker.wait_for_log(&["SIGTERM received"]);
    broker.signal("TERM");
    assert_eq!(broker.wait_for_exit().code(), Some(0));
}

// ---- start ----

#[test]
fn a_second_broker_on_the_same_port_says_so() {
    let broker = Broker::start(Launch::new());
    let address = broker.address.to_string();
    check_fails(Launch::new().listen(&address), &[&address, "in use"]);
    broker.assert_serves();
}

#[test]
fn a_listener_that_cannot_be() {
    check_fails(Launch::new().listen("127.0.0.1:notaport"), &["127.0.0.1:notaport"]);
    check_fails(Launch::new().listen("no.such.host.invalid:0"), &["no.such.host.invalid"]);
}

#[test]
fn several_listeners() {
    let broker = Broker::start(Launch::new().arg("--listen").arg("127.0.0.2:0"));
    broker.assert_serves();
    let line = broker.wait_for_log(&["started TCP listener on 127.0.0.2:"]);
    let address = line.rsplit(' ').next().expect("an address");
    Login::new().connect(address.parse().expect("an address with a port")).close();
}

#[test]
fn an_unknown_key_is_named_with_its_place() {
    check_fails(
        Launch::new().config("vhosts = [\"/\"]\n\nmax_mesage_size = 5\n"),
        &["max_mesage_size", "leveret.toml", "line 3"],
    );
    check_fails(Launch::new().config("[limits]\nnonsense = 5\n"), &["nonsense", "leveret.toml", "line 2"]);
    check_fails(Launch::new().env("LEVERET_NONSENSE", "5"), &["nonsense", "LEVERET_NONSENSE"]);
    check_fails(Launch::new().env("LEVERET_LIMITS__NONSENSE", "5"), &["nonsense", "LEVERET_LIMITS__NONSENSE"]);
    check_fails(Launch::new().arg("--nonsense"), &["--nonsense"]);
}

#[test]
fn a_bad_value_is_named_with_its_key_and_place() {
    check_fails(
        Launch::new().config("[limits]\nframe_max_bytes = \"many\"\n"),
        &["frame_max_bytes", "many", "leveret.toml", "line 2"],
    );
    check_fails(Launch::new().config("[limits]\nframe_max_bytes = 100\n"), &["frame_max_bytes", "100", "4096"]);
    check_fails(Launch::new().limit("channel_max", "-1"), &["channel_max", "-1", "LEVERET_LIMITS__CHANNEL_MAX"]);
    check_fails(Launch::new().config("this is no TOML"), &["leveret.toml", "line 1"]);
    check_fails(Launch::new().arg("--user").arg("nopassword"), &["--user", "NAME:PASSWORD"]);
    check_fails(
        Launch::new().arg("--config").arg("/nonexistent/file.toml"),
        &["/nonexistent/file.toml", "No such file"],
    );
}

#[test]
fn definitions_that_are_not_understood_stop_the_start() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("definitions.json");
    let launch = || Launch::new().env("LEVERET_LOAD_DEFINITIONS", path.to_str().expect("a path that is text"));
    for (document, problem) in [
        ("{\n  \"queues\": [}", "definitions.json: expected value at line 2 column 14"),
        ("{\"queues\": [{\"vhost\": \"/\"}]}", "definitions.json: queues[0].name: expected a text, there is none"),
        ("[]", "definitions.json: the document: expected an object, found []"),
    ] {
        std::fs::write(&path, document).expect("the file can be written");
        check_fails(launch(), &[problem]);
    }
    std::fs::remove_file(&path).expect("the file can be removed");
    check_fails(launch(), &["load_definitions", "definitions.json"]);
}

#[test]
fn a_password_is_not_shown_in_an_error() {
    let mut process =
        Process::spawn(Launch::new().config("[[users]]\nname = \"eve\"\npassword = [\"sesame\"]\nnonsense = 1\n"));
    assert!(!process.wait_for_exit().success());
    assert!(!process.output().contains("sesame"), "{}", process.output());
}

#[test]
fn flags_win_over_the_environment_and_the_environment_over_the_file() {
    let launch = || {
        Launch::new()
            .config("[limits]\nchannel_max = 10\nheartbeat_s = 11\nframe_max_bytes = 8192\n[log]\nlevel = \"none\"\n")
            .limit("channel_max", 20)
            .env("LEVERET_LOG__LEVEL", "error")
            .arg("--log-level")
            .arg("info")
    };
    let broker = Broker::start(launch()); // only with the flag is there a line to be seen
    let mut peer = Login::new().started(broker.address);
    peer.send(0, &Login::new().start_ok());
    let tune = peer.expect(0, "connection.tune");
    assert_eq!(["channel-max", "frame-max", "heartbeat"].map(|name| tune.number(name)), [20, 8192, 11]);
}

#[test]
fn help_and_version() {
    let help = leveret(&["--help"]);
    let text = String::from_utf8(help.stdout).expect("UTF-8");
    assert!(help.status.success());
    for flag in ["--listen", "--data-dir", "--config", "--user", "5672", "guest"] {
        assert!(text.contains(flag), "no {flag} in:\n{text}");
    }
    let version = leveret(&["--version"]);
    assert!(version.status.success());
    assert!(String::from_utf8_lossy(&version.stdout).starts_with("leveret "));
}

#[test]
fn ping_and_check_config() {
    let broker = Broker::start(Launch::new());
    let address = broker.address.to_string();
    let ping = leveret(&["ping", &address]);
    assert!(ping.status.success());
    assert!(String::from_utf8_lossy(&ping.stdout).contains("RabbitMQ"));
    drop(broker);
    let ping = leveret(&["ping", &address]);
    assert!(!ping.status.success());
    assert!(String::from_utf8_lossy(&ping.stderr).contains(&address));
    let config = leveret(&["check-config", "--user", "eve:sesame"]);
    assert!(config.status.success());
    let text = String::from_utf8(config.stdout).expect("UTF-8");
    assert!(text.contains("frame_max_bytes = 131072") && !text.contains("sesame"), "{text}");
}

#[test]
fn users_come_from_the_command_line_and_the_file() {
    let broker = Broker::start(
        Launch::new().arg("--user").arg("alice:won:der").config("[[users]]\nname = \"bob\"\npassword = \"builder\"\n"),
    );
    for (name, password) in [("alice", "won:der"), ("bob", "builder"), ("guest", "guest")] {
        Login::new().user(name, password).connect(broker.address).close();
    }
    for (name, password) in [("alice", "builder"), ("bob", ""), ("carol", "x")] {
        let login = Login::new().user(name, password);
        let mut peer = login.started(broker.address);
        peer.send(0, &login.start_ok());
        assert_eq!(peer.expect(0, "connection.close").number("reply-code"), 403);
    }
}

#[test]
fn anonymous_only_where_it_is_configured() {
    let broker = Broker::start(
        Launch::new().config("auth_mechanisms = [\"PLAIN\", \"ANONYMOUS\"]\nanonymous_login_user = \"guest\"\n"),
    );
    let mut peer = Peer::tcp(broker.address);
    peer.send_raw(PROTOCOL_HEADER);
    assert_eq!(peer.expect(0, "connection.start").text("mechanisms"), "PLAIN ANONYMOUS");
    Login::new().mechanism("ANONYMOUS", b"").connect(broker.address).close();
    Login::new().mechanism("ANONYMOUS", b"whoever").connect(broker.address).close();
}

#[test]
fn the_product_and_its_version_are_configurable() {
    let broker = Broker::start(
        Launch::new().config("[server]\nproduct = \"Leveret\"\nversion = \"1.2.3\"\ncluster_name = \"burrow\"\n"),
    );
    let mut peer = Peer::tcp(broker.address);
    peer.send_raw(PROTOCOL_HEADER);
    let start = peer.expect(0, "connection.start");
    for (name, value) in [("product", "Leveret"), ("version", "1.2.3"), ("cluster_name", "burrow")] {
        assert_eq!(lookup(start.table("server-properties"), name), &s(value));
    }
}

// ---- log ----

#[test]
fn the_log_tells_of_a_connection_in_words_that_operators_know() {
    let broker = Broker::start(Launch::new());
    let peer = Login::new().connect(broker.address);
    let name = format!("{} -> {}", peer.local_address(), broker.address);
    broker.wait_for_log(&["accepting AMQP connection", &name]);
    broker.wait_for_log(&[&name, "user 'guest' authenticated and granted access to vhost '/'"]);
    peer.close();
    broker.wait_for_log(&["closing AMQP connection", &name]);
}

#[test]
fn the_log_tells_why_a_connection_ended() {
    let broker = Broker::start(Launch::new());
    let check = |peer: Peer, parts: &[&str]| {
        let name = format!("{} -> {}", peer.local_address(), broker.address);
        drop(peer);
        broker.wait_for_log(&[&["closing AMQP connection", &name], parts].concat());
    };
    check(Login::new().connect(broker.address), &["client unexpectedly closed TCP connection"]);

    let mut late = Login::new().heartbeat(1).connect(broker.address);
    late.expect_eof();
    check(late, &["missed heartbeats from client, timeout: 1s"]);

    let login = Login::new().user("guest", "wrong");
    let mut refused = login.started(broker.address);
    refused.send(0, &login.start_ok());
    refused.expect(0, "connection.close");
    broker.wait_for_log(&["PLAIN login refused: user 'guest' - invalid credentials"]);

    let mut peer = Login::new().connect(broker.address);
    peer.send(1, &queue_declare("q").on("passive"));
    peer.expect(1, "channel.close");
    broker.wait_for_log(&["channel 1", "no queue 'q' in vhost '/'"]);
    peer.send(0, &Login::new().open());
    peer.expect(0, "connection.close");
    broker.wait_for_log(&["unexpected method in connection state running"]);
}

#[test]
fn a_connection_is_logged_with_the_name_that_its_client_gave() {
    let broker = Broker::start(Launch::new());
    let mut login = Login::new();
    login.properties.push(("connection_name".to_owned(), s("the warren")));
    let peer = login.connect(broker.address);
    broker.wait_for_log(&["the warren", "authenticated"]);
    peer.close();
}

/// Names that clients choose cannot write lines of their own into the log.
#[test]
fn the_log_is_a_line_for_each_event() {
    let broker = Broker::start(Launch::new());
    let mut login = Login::new();
    login.properties.push(("connection_name".to_owned(), s("a\nforged line\r\x1b[31m")));
    login.connect(broker.address).close();
    broker.wait_for_log(&["authenticated"]);
    assert!(broker.log().iter().all(|line| !line.starts_with("forged")), "{:?}", broker.log());
    assert!(broker.log().iter().all(|line| !line.contains('\x1b')), "{:?}", broker.log());
}

#[test]
fn the_log_can_be_json() {
    let broker = Broker::start(Launch::new().arg("--log-format").arg("json"));
    broker.assert_serves();
    for line in broker.log() {
        assert!(line.starts_with('{') && line.ends_with('}'), "{line}");
    }
}
