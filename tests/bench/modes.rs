//! Whether `leveret bench` works; what it measures is of no interest here.

use std::process::{Command, Output};

fn bench(arguments: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_leveret"));
    command.arg("bench").args(arguments.split(' '));
    command.output().expect("the program runs")
}

/// Runs a mode with a broker of its own and returns what it prints.
fn measured(arguments: &str) -> String {
    let Output { status, stdout, stderr } = bench(arguments);
    assert!(status.success(), "{arguments}: {}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).expect("text")
}

#[test]
fn throughput_counts_deliveries() {
    let figures = measured("throughput -z 0.2 --json");
    assert!(figures.starts_with(r#"[{"name":"throughput","#), "{figures}");
    assert!(figures.contains(r#"{"figure":"delivered","unit":"/s","median":"#), "{figures}");
}

#[test]
fn loads_of_every_kind_go_through() {
    for load in [
        "-x 3 -y 2 -q 2 --random-keys --props varied",
        "-a 5 --prefetch 20 --durable -c 100",
        "--exchange topic --bindings 1000 --random-keys -s 0",
        "--exchange fanout -q 3 -y 3 -r 1000 -x 20",
        "--exchange direct -s 200000",
        "--arg x-max-priority=9 --priorities 10 --backlog 20000",
        "--arg x-message-ttl=60000 --arg x-overflow=reject-publish --arg x-max-length=1000000 --expirations 100",
        "--arg x-max-length=1000 --backlog 2000 -y 0 -r 1000 --priorities 256",
    ] {
        let lines = measured(&format!("throughput -z 0.2 {load}"));
        assert!(lines.starts_with("published"), "{load}: {lines}");
    }
}

#[test]
fn all_other_modes_measure_something() {
    for (mode, expected) in [
        ("latency -z 0.2 -r 1000", "p99"),
        ("rpc -z 0.2", "calls"),
        ("churn connections -z 0.2", "connections"),
        ("churn channels -z 0.2", "channels"),
        ("churn queues -z 0.2", "queues"),
        ("churn bindings -z 0.2", "bindings"),
        ("idle -n 10 --burst 10", "each after a burst"),
        ("stall --stall 0.5 -z 0.2", "the other queue, beside it"),
        ("dead-letters -n 5000 --ttl 0.5 -z 0.2", "the other queue's p99 meanwhile"),
        ("dead-letters -n 5000 --ttl 0.5 -z 0.2 --expirations 100 --durable", "dead letters"),
    ] {
        let lines = measured(mode);
        assert!(lines.contains(expected), "{mode}: {lines}");
    }
}

#[test]
fn the_suite_holds_figures_against_bars() {
    let table = measured("suite -z 0.2 --rounds 1 --only 16b,rpc");
    assert!(table.contains("≥ 0.6") && table.contains("≤ 3") && table.contains("(rpc)"), "{table}");
    assert!(table.contains(" met") || table.contains(" missed"), "{table}");
}

#[test]
fn a_broker_that_is_not_there_is_an_error() {
    let Output { status, stderr, .. } = bench("throughput --addr 127.0.0.1:1");
    let error = String::from_utf8_lossy(&stderr);
    assert_eq!(status.code(), Some(1));
    assert!(error.contains("cannot connect to 127.0.0.1:1"), "{error}");
}
