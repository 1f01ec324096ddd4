//! Definitions, out of one broker and into another.

use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use super::{ctl, ctl_in, list};
use crate::support::broker::{Broker, Launch};
use crate::support::peer::*;

#[test]
fn what_one_broker_exports_another_takes_in() {
    let (from, to) = (Broker::start(Launch::new()), Broker::start(Launch::new()));
    let mut peer = Login::new().connect(from.address);
    peer.call(1, &queue_declare("q").on("durable"));
    peer.call(1, &exchange_declare("x", "topic").on("durable"));
    peer.call(1, &queue_bind("q", "x", "a.#"));
    ctl(&from, &["-q", "add_vhost", "v"]).printed("");
    ctl(&from, &["-q", "add_user", "alice", "secret"]).printed("");

    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("definitions.json");
    let path = file.to_str().unwrap();
    ctl(&from, &["export_definitions", path])
        .printed(&format!("Exporting definitions in JSON to a file at \"{path}\" ...\n"));
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let text = std::fs::read_to_string(&file).unwrap();
    ctl(&from, &["export_definitions", "-"]).printed(&text);
    let document: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(document["queues"][0]["name"], "q");

    let imported = ctl(&to, &["import_definitions", path]);
    assert_eq!(imported.code, 0, "{imported:?}");
    let banner =
        format!("Importing definitions in JSON from a file at \"{path}\" ...\nSuccessfully imported definitions.\n");
    assert!(imported.out.starts_with(&banner), "{}", imported.out);
    assert_eq!(list(&to, &["list_queues", "name"]), json!([{"name": "q"}]));
    assert_eq!(list(&to, &["list_vhosts"]), json!([{"name": "/"}, {"name": "v"}]));
    ctl(&to, &["-q", "authenticate_user", "alice", "secret"]).printed("Success\n");
    // From standard input, and again.
    ctl_in(&to.data_dir(), &["-q", "import_definitions"], &text).printed("");
    ctl_in(&to.data_dir(), &["-q", "import_definitions", "-"], &text).printed("");
}

#[test]
fn what_cannot_be_read_or_understood_is_65_and_changes_nothing() {
    let broker = Broker::start(Launch::new());
    let import = |text: &str| ctl_in(&broker.data_dir(), &["import_definitions"], text);
    ctl(&broker, &["import_definitions", "/nowhere/x.json"]).failed(65, "/nowhere/x.json");
    ctl(&broker, &["export_definitions", "/nowhere/x.json"]).failed(65, "/nowhere/x.json");
    import("{bad").failed(65, "Failed to deserialise input");
    import("{\"vhosts\":[{\"name\":\"v\"}],\"queues\":[{\"name\":7,\"vhost\":\"/\"}]}").failed(65, "queues[0].name");
    assert_eq!(list(&broker, &["list_vhosts"]), json!([{"name": "/"}]));
}
