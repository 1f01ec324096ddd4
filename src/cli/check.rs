//! `leveret check`: what is in a data directory, for people and for programs.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use amq_protocol::types::FieldTable;
use clap::Args;
use serde::Serialize;

use crate::broker::definitions::{Definition, Flaw, HiddenOwner};
use crate::broker::queue::QueueDefinition;
use crate::broker::vhost::VHostMetadata;
use crate::storage::QueueId;
use crate::storage::check::{self, FileReport, FileRole, Mending, Report};
use crate::storage::disk::{Disk, StdDisk};
use crate::storage::lock::DirectoryLock;
use crate::storage::recovery::Damage;

const DAMAGED: u8 = 1;
const UNREADABLE: u8 = 2;

/// `leveret check`.
#[derive(Args, Debug)]
pub struct Check {
    #[arg(value_name = "DATA_DIR")]
    directory: PathBuf,

    /// Give up what cannot be read, so that the broker starts without complaint
    ///
    /// Says what it gives up, a line each. Copy the directory before.
    #[arg(long)]
    repair: bool,

    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

impl Check {
    /// Does it and prints what comes of it.
    pub fn run(&self) -> ExitCode {
        quiet_about_damaged_checkpoints();
        let summary = match self.summary() {
            Ok(summary) => summary,
            Err(error) => {
                eprintln!("leveret: {error}");
                return UNREADABLE.into();
            }
        };
        let text = if self.json { summary.to_json() } else { summary.to_text() };
        // Whoever closes the pipe early, as `head` does, has read enough.
        let _ = writeln!(std::io::stdout(), "{text}");
        if summary.sound { ExitCode::SUCCESS } else { DAMAGED.into() }
    }

    fn summary(&self) -> Result<Summary, String> {
        let path = self.directory.display();
        let directory = &self.directory;
        if !directory.is_dir() {
            return Err(format!("{path} is not a data directory: there is no such directory"));
        }
        let mut given_up = None;
        let _lock = if self.repair {
            check_for_files(directory)?;
            let lock = DirectoryLock::acquire(directory).map_err(|error| error.to_string())?;
            let disk: Arc<dyn Disk> = Arc::new(StdDisk::open(directory).map_err(|error| format!("{path}: {error}"))?);
            refuse_newer_rows(&check::check(&disk).map_err(|error| error.to_string())?)?;
            given_up = Some(check::repair(&disk, &mend).map_err(|error| error.to_string())?.given_up);
            Some(lock)
        } else {
            DirectoryLock::acquire_to_read(directory).map_err(|error| error.to_string())?
        };
        let disk: Arc<dyn Disk> = Arc::new(StdDisk::read_only(directory).map_err(|error| format!("{path}: {error}"))?);
        let report = check::check(&disk).map_err(|error| error.to_string())?;
        refuse_newer_rows(&report)?;
        Ok(Summary::new(path.to_string(), &report, given_up))
    }
}

/// So that no lock file comes to be in a directory that is something else.
fn check_for_files(directory: &Path) -> Result<(), String> {
    let disk: Arc<dyn Disk> =
        Arc::new(StdDisk::read_only(directory).map_err(|error| format!("{}: {error}", directory.display()))?);
    check::refuse_foreign(&disk).map_err(|error| error.to_string())
}

/// The embedded database panics over some damaged files; that is caught, and reported as damage.
fn quiet_about_damaged_checkpoints() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !panic.location().is_some_and(|location| location.file().contains("redb")) {
            report(panic);
        }
    }));
}

/// Rows of a newer version are not damaged, and nobody may take them for it.
fn refuse_newer_rows(report: &Report) -> Result<(), String> {
    let newer = report.definitions.iter().filter_map(|(key, value)| Definition::decode(key, value).err());
    let newer = newer.into_iter().find(|error| matches!(error.flaw, Flaw::UnknownVersion { .. }));
    newer.map_or(Ok(()), |error| Err(error.to_string()))
}

/// What the broker would not start over becomes what it does; queues whose messages are there and whose definition is
/// lost with the checkpoint get another name.
fn mend(rows: &BTreeMap<Vec<u8>, Vec<u8>>, orphans: &[QueueId], is_without_checkpoint: bool) -> Vec<Mending> {
    let mut mendings = Vec::new();
    let mut vhosts = Vec::new();
    let mut wanted: Vec<Arc<str>> = Vec::new();
    let mut hidden: Vec<QueueId> = Vec::new();
    for (key, value) in rows {
        match Definition::decode(key, value) {
            Ok(Definition::VHost { name, .. }) => vhosts.push(name),
            Ok(Definition::User(_)) => {}
            Ok(Definition::Permission(permission)) => wanted.push(permission.vhost),
            Ok(Definition::TopicPermission(topic)) => wanted.push(topic.vhost),
            Ok(Definition::Exchange { vhost, .. }) => wanted.push(vhost),
            Ok(Definition::Queue { definition, .. }) => wanted.push(definition.vhost),
            Ok(Definition::Binding(binding)) => wanted.push(binding.vhost),
            Ok(Definition::Delays { id, .. }) => hidden.push(id),
            Ok(Definition::Window { id, .. }) => hidden.push(id),
            Ok(Definition::Parameter(parameter)) => wanted.push(parameter.vhost),
            Ok(Definition::GlobalParameter { .. }) => {}
            Err(error) => {
                let change = crate::storage::log::Change { key: key.clone(), value: None };
                mendings.push(Mending { change, why: format!("{error}; it is deleted") });
            }
        }
    }
    for &id in orphans.iter().filter(|id| is_without_checkpoint && !hidden.contains(id)) {
        let definition = recovered_queue(id);
        let why = format!(
            "the definition of queue {id}: its messages are now in queue '{name}' in vhost '/'",
            id = id.0,
            name = definition.name
        );
        wanted.push(definition.vhost.clone());
        mendings.push(Mending { change: Definition::Queue { id, definition }.put(), why });
    }
    wanted.sort_unstable();
    wanted.dedup();
    for name in wanted.into_iter().filter(|name| !vhosts.contains(name)) {
        let why = format!("the definition of virtual host '{name}', which is made anew");
        let metadata = VHostMetadata::default();
        mendings.push(Mending { change: Definition::VHost { name, metadata }.put(), why });
    }
    mendings
}

fn recovered_queue(id: QueueId) -> QueueDefinition {
    QueueDefinition {
        vhost: "/".into(),
        name: format!("recovered.{}", id.0).into(),
        durable: true,
        auto_delete: false,
        exclusive_owner: None,
        arguments: FieldTable::default(),
    }
}

/// All that is printed.
#[derive(Debug, Serialize)]
struct Summary {
    directory: String,
    sound: bool,
    /// What a repair gave up; none if none was asked for.
    given_up: Option<Vec<String>>,
    without_checkpoint: bool,
    totals: Totals,
    queues: Vec<QueueLine>,
    files: Vec<FileLine>,
    damage: Vec<DamageLine>,
    harmless_damage: Vec<DamageLine>,
    torn: Option<Torn>,
}

#[derive(Debug, Default, Serialize)]
struct Totals {
    vhosts: u64,
    users: u64,
    exchanges: u64,
    queues: u64,
    bindings: u64,
    parameters: u64,
    messages: u64,
    message_bytes: u64,
    lost: u64,
    files: u64,
    file_bytes: u64,
}

#[derive(Clone, Debug, Serialize)]
struct QueueLine {
    id: u64,
    /// None if the queue is not defined; its messages go at the next start.
    vhost: Option<String>,
    name: Option<String>,
    messages: u64,
    bytes: u64,
    lost: u64,
}

#[derive(Debug, Serialize)]
struct FileLine {
    name: String,
    bytes: u64,
    waiting_bytes: u64,
    role: &'static str,
}

#[derive(Debug, Serialize)]
struct DamageLine {
    file: String,
    offset: u64,
    what: String,
    lost: Vec<LostLine>,
}

#[derive(Debug, Serialize)]
struct LostLine {
    queue: u64,
    vhost: Option<String>,
    name: Option<String>,
    messages: u64,
}

#[derive(Debug, Serialize)]
struct Torn {
    file: String,
    bytes: u64,
}

impl Summary {
    fn new(directory: String, report: &Report, given_up: Option<Vec<String>>) -> Summary {
        let mut totals = Totals::default();
        let mut names: BTreeMap<QueueId, (String, String)> = BTreeMap::new();
        let (mut hidden, mut unreadable) = (Vec::new(), Vec::new());
        for (key, value) in &report.definitions {
            match Definition::decode(key, value) {
                Ok(Definition::VHost { .. }) => totals.vhosts += 1,
                Ok(Definition::User(_)) => totals.users += 1,
                Ok(Definition::Exchange { .. }) => totals.exchanges += 1,
                Ok(Definition::Binding(_)) => totals.bindings += 1,
                Ok(Definition::Permission(_) | Definition::TopicPermission(_)) => {}
                Ok(Definition::Window { id, .. }) => hidden.push(id),
                Ok(Definition::Parameter(_) | Definition::GlobalParameter { .. }) => totals.parameters += 1,
                Ok(Definition::Queue { id, definition }) => {
                    names.insert(id, (definition.vhost.to_string(), definition.name.to_string()));
                }
                Ok(Definition::Delays { id, owner, .. }) => {
                    let owner = match owner {
                        HiddenOwner::Queue(queue) => names.get(&queue).cloned(),
                        HiddenOwner::Exchange { vhost, name } => {
                            Some((vhost.to_string(), format!("exchange '{name}'")))
                        }
                    };
                    names.extend(owner.map(|(vhost, name)| (id, (vhost, format!("{name} (delayed)")))));
                }
                Err(error) => unreadable.push(error.to_string()),
            }
        }
        let queues = queue_lines(report, &names, &hidden);
        let damage_line = |damage: &Damage| DamageLine::new(damage, &names);
        let mut damage: Vec<DamageLine> = report.damage.iter().map(damage_line).collect();
        let of_row = |what| DamageLine { file: check::checkpoint_path(&directory), offset: 0, what, lost: Vec::new() };
        damage.extend(unreadable.into_iter().map(of_row));
        totals.queues = queues.len() as u64;
        totals.messages = queues.iter().map(|queue| queue.messages).sum();
        totals.message_bytes = queues.iter().map(|queue| queue.bytes).sum();
        totals.lost = queues.iter().map(|queue| queue.lost).sum();
        totals.files = report.files.len() as u64;
        totals.file_bytes = report.files.iter().map(|file| file.bytes).sum();
        Summary {
            sound: report.is_sound() && damage.is_empty(),
            given_up,
            without_checkpoint: report.is_without_checkpoint,
            totals,
            queues,
            files: report.files.iter().map(FileLine::new).collect(),
            damage,
            harmless_damage: report.harmless.iter().map(damage_line).collect(),
            torn: report.torn.clone().map(|(file, bytes)| Torn { file, bytes }),
            directory,
        }
    }

    fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("names are text, and numbers are numbers")
    }

    fn to_text(&self) -> String {
        let mut text = String::new();
        for line in self.given_up.iter().flatten() {
            let _ = writeln!(text, "given up: {line}");
        }
        self.queues_text(&mut text);
        self.files_text(&mut text);
        for damage in &self.damage {
            let _ = writeln!(text, "damage: {damage}");
        }
        for damage in &self.harmless_damage {
            let _ = writeln!(text, "damage, but nothing that waits is there: {damage}");
        }
        if let Some(Torn { file, bytes }) = &self.torn {
            let _ =
                writeln!(text, "torn: {file}: the last {bytes} bytes were never confirmed; the next start cuts them");
        }
        let verdict = if self.sound { "sound" } else { "damaged" };
        let _ = write!(text, "{} is {verdict}", self.directory);
        text
    }

    fn queues_text(&self, text: &mut String) {
        let _ = writeln!(text, "{:>12} {:>15} {:>10}  vhost  queue", "messages", "bytes", "lost");
        for queue in &self.queues {
            let QueueLine { messages, bytes, lost, .. } = queue;
            let name = named(queue.id, queue.vhost.as_deref(), queue.name.as_deref());
            let _ = writeln!(text, "{messages:>12} {bytes:>15} {lost:>10}  {name}");
        }
        let Totals { messages, message_bytes, lost, queues, exchanges, bindings, vhosts, users, .. } = &self.totals;
        let _ = writeln!(text, "{messages:>12} {message_bytes:>15} {lost:>10}  in all, in {queues} queues");
        let _ = writeln!(text, "{vhosts} virtual hosts, {users} users, {exchanges} exchanges, {bindings} bindings\n");
    }

    fn files_text(&self, text: &mut String) {
        let _ = writeln!(text, "{:>15} {:>15}  file", "bytes", "that wait");
        for FileLine { name, bytes, waiting_bytes, role } in &self.files {
            let role = if *role == "needed" { String::new() } else { format!("  ({role})") };
            let _ = writeln!(text, "{bytes:>15} {waiting_bytes:>15}  {name}{role}");
        }
        let _ = writeln!(text, "{:>15} {:>15}  in all, in {} files\n", self.totals.file_bytes, "", self.totals.files);
    }
}

/// A line of the table; control characters are escaped, so that it stays one.
fn named(id: u64, vhost: Option<&str>, name: Option<&str>) -> String {
    match (vhost, name) {
        (Some(vhost), Some(name)) => format!("{}  {}", vhost.escape_debug(), name.escape_debug()),
        _ => format!("(queue {id}, which is not defined)"),
    }
}

/// Hidden queues are there only if they have lost something.
fn queue_lines(report: &Report, names: &BTreeMap<QueueId, (String, String)>, hidden: &[QueueId]) -> Vec<QueueLine> {
    let line = |id: QueueId| {
        let waiting = report.queues.get(&id).cloned().unwrap_or_default();
        let (vhost, name) = names.get(&id).cloned().unzip();
        QueueLine { id: id.0, vhost, name, messages: waiting.messages, bytes: waiting.bytes, lost: waiting.lost }
    };
    let nameless = report.queues.iter().filter(|(id, queue)| {
        !names.contains_key(id) && queue.messages + queue.lost > 0 && (queue.lost > 0 || !hidden.contains(id))
    });
    let mut lines: Vec<QueueLine> = names.keys().chain(nameless.map(|(id, _)| id)).map(|&id| line(id)).collect();
    lines.sort_by(|a, b| (&a.vhost, &a.name, a.id).cmp(&(&b.vhost, &b.name, b.id)));
    lines
}

impl FileLine {
    fn new(file: &FileReport) -> FileLine {
        let role = match file.role {
            FileRole::Needed => "needed",
            FileRole::Unneeded => "unneeded: the next start removes it",
            FileRole::SetAside => "set aside by a repair",
            FileRole::Unknown => "not of the broker",
        };
        FileLine { name: file.name.clone(), bytes: file.bytes, waiting_bytes: file.waiting_bytes, role }
    }
}

impl DamageLine {
    fn new(damage: &Damage, names: &BTreeMap<QueueId, (String, String)>) -> DamageLine {
        let lost = |(&id, &messages): (&QueueId, &u64)| {
            let (vhost, name) = names.get(&id).cloned().unzip();
            LostLine { queue: id.0, vhost, name, messages }
        };
        let Damage { path, offset, what, .. } = damage;
        DamageLine {
            file: path.clone(),
            offset: *offset,
            what: what.clone(),
            lost: damage.lost.iter().map(lost).collect(),
        }
    }
}

impl std::fmt::Display for DamageLine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} at byte {}: {}", self.file, self.offset, self.what)?;
        for LostLine { queue, vhost, name, messages } in &self.lost {
            match (vhost, name) {
                (Some(vhost), Some(name)) => {
                    write!(
                        f,
                        "; {messages} messages of queue '{}' in vhost '{}' are lost",
                        name.escape_debug(),
                        vhost.escape_debug()
                    )?;
                }
                _ => write!(f, "; {messages} messages of queue {queue} are lost")?,
            }
        }
        Ok(())
    }
}
