//! `leveret ctl status` for people: in sections, as RabbitMQ's tools print it.

use serde_json::Value;

use crate::ctl::table::cell;

/// A line of a section: what it says, and where in the status that is.
type Entry = (&'static str, &'static str);

const SECTIONS: [(&str, &[Entry]); 5] = [
    (
        "Runtime",
        &[
            ("OS PID", "/pid"),
            ("OS", "/os"),
            ("Uptime (seconds)", "/uptime"),
            ("Leveret version", "/product_version"),
            ("RabbitMQ version", "/rabbitmq_version"),
            ("Cluster name", "/cluster_name"),
        ],
    ),
    ("Data directory", &[("Node data directory", "/data_directory")]),
    (
        "Memory",
        &[
            ("Total memory used (bytes)", "/memory/total"),
            ("Memory held by messages (bytes)", "/memory/messages"),
            ("Memory high watermark setting", "/vm_memory_high_watermark_setting"),
            ("Computed to (bytes)", "/vm_memory_high_watermark_limit"),
            ("Messages leave memory from (bytes)", "/memory_paging_limit"),
        ],
    ),
    (
        "Free Disk Space",
        &[("Low free disk space watermark (bytes)", "/disk_free_limit"), ("Free disk space (bytes)", "/disk_free")],
    ),
    (
        "Totals",
        &[
            ("Connection count", "/totals/connection_count"),
            ("Queue count", "/totals/queue_count"),
            ("Virtual host count", "/totals/virtual_host_count"),
        ],
    ),
];

pub fn as_text(status: &Value) -> String {
    let mut text = String::new();
    for (title, entries) in SECTIONS {
        text.push_str(&format!("{title}\n\n"));
        for (name, at) in entries {
            text.push_str(&format!("{name}: {}\n", status.pointer(at).map(cell).unwrap_or_default()));
        }
        text.push('\n');
    }
    for (title, at) in [("Alarms", "/alarms"), ("Listeners", "/listeners")] {
        text.push_str(&format!("{title}\n\n{}\n", lines(status.pointer(at))));
    }
    text.trim_end().to_owned()
}

fn lines(items: Option<&Value>) -> String {
    match items.and_then(Value::as_array) {
        Some(items) if !items.is_empty() => items.iter().map(|item| format!("{}\n", cell(item))).collect(),
        _ => "(none)\n".to_owned(),
    }
}
