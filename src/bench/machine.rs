//! What the machine makes of choices that a design has: measured apart from any broker.

use std::fs::{self, File, OpenOptions};
use std::hint::black_box;
use std::io::{IoSlice, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;

use super::error::Result;

/// How long each figure is measured.
const EACH: Duration = Duration::from_millis(500);

#[derive(Args, Debug)]
pub struct Machine {
    /// Where files are written and synced; a directory on the disk that is to be measured
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
}

impl Machine {
    pub fn run(&self) -> Result<()> {
        checksums();
        writes()?;
        syncs(&self.dir)
    }
}

/// Nanoseconds that one call takes, on average over [`EACH`].
fn nanos(mut call: impl FnMut()) -> f64 {
    let begun = Instant::now();
    let mut calls = 0u32;
    while begun.elapsed() < EACH {
        for _ in 0..16 {
            call();
        }
        calls += 16;
    }
    begun.elapsed().as_nanos() as f64 / f64::from(calls)
}

/// A checksum for each record, or one for each block of them.
fn checksums() {
    println!("CRC-32, nanoseconds for each message: a checksum for each record; one for a block of 256 KiB");
    const BLOCK: usize = 256 * 1024;
    let block = vec![0x5Au8; BLOCK];
    for (record, what) in [(44, "16 B"), (64 * 1024 + 28, "64 KiB")] {
        let records = BLOCK / record;
        let each =
            nanos(|| block.chunks_exact(record).for_each(|r| _ = black_box(crc32fast::hash(r)))) / records as f64;
        let once = nanos(|| _ = black_box(crc32fast::hash(&block[..records * record]))) / records as f64;
        println!("  {what:>7} bodies  {each:10.1} {once:10.1}");
    }
}

/// Bodies copied behind their frames' heads and written at once, or written from where they lie.
fn writes() -> Result<()> {
    println!(
        "1 MiB of deliveries to a socket, microseconds: bodies copied, one write; bodies in place, one vectored write"
    );
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut to = TcpStream::connect(listener.local_addr()?)?;
    let (mut from, _) = listener.accept()?;
    thread::spawn(move || {
        let mut sink = vec![0; 1 << 20];
        while let Ok(1..) = from.read(&mut sink) {}
    });
    let head = [1u8; 80];
    for body_bytes in [1024, 4096, 16 * 1024, 64 * 1024, 256 * 1024] {
        let count = (1 << 20) / body_bytes;
        let bodies = vec![2u8; count * body_bytes];
        let mut out = Vec::with_capacity(2 << 20);
        let copied = nanos(|| {
            out.clear();
            for body in bodies.chunks_exact(body_bytes) {
                out.extend_from_slice(&head);
                out.extend_from_slice(body);
            }
            let _ = to.write_all(&out);
        });
        let vectored = nanos(|| {
            let slices: Vec<IoSlice<'_>> =
                bodies.chunks_exact(body_bytes).flat_map(|body| [IoSlice::new(&head), IoSlice::new(body)]).collect();
            // The kernel takes at most 1024 slices at once.
            slices.chunks(1024).for_each(|part| write_all_vectored(&mut to, part));
        });
        println!("  {:>4} KiB bodies {:10.0} {:10.0}", body_bytes / 1024, copied / 1e3, vectored / 1e3);
    }
    Ok(())
}

fn write_all_vectored(to: &mut TcpStream, slices: &[IoSlice<'_>]) {
    let mut slices = slices.to_vec();
    let mut rest = &mut slices[..];
    while !rest.is_empty() {
        match to.write_vectored(rest) {
            Ok(written) => IoSlice::advance_slices(&mut rest, written),
            Err(_) => return,
        }
    }
}

/// What is durable for a number of queues, each with 4 KiB to keep: in one log, or in a file for each.
fn syncs(dir: &std::path::Path) -> Result<()> {
    println!(
        "4 KiB for each of N queues made durable, milliseconds: one log, one fdatasync; a file each, fdatasync each;"
    );
    println!("a file each, one syncfs");
    let dir = dir.join(format!("leveret-bench-{}", std::process::id()));
    fs::create_dir_all(&dir)?;
    let result = [1usize, 100, 1000].into_iter().try_for_each(|queues| {
        let create = |name: String| OpenOptions::new().create(true).append(true).open(dir.join(name));
        let part = [3u8; 4096];
        let mut log = create("log".into())?;
        let mut files = (0..queues).map(|n| create(format!("queue-{n}"))).collect::<std::io::Result<Vec<File>>>()?;
        let together = median_millis(|| {
            (0..queues).try_for_each(|_| log.write_all(&part))?;
            log.sync_data()
        })?;
        let each = median_millis(|| {
            files.iter_mut().try_for_each(|file| file.write_all(&part))?;
            files.iter().try_for_each(File::sync_data)
        })?;
        let all = median_millis(|| {
            files.iter_mut().try_for_each(|file| file.write_all(&part))?;
            Ok(rustix::fs::syncfs(&log)?)
        })?;
        println!("  {queues:>4} queues {together:10.2} {each:10.2} {all:10.2}");
        Ok(())
    });
    fs::remove_dir_all(&dir)?;
    result
}

fn median_millis(mut call: impl FnMut() -> std::io::Result<()>) -> std::io::Result<f64> {
    const TIMES: usize = 15;
    let mut millis = Vec::with_capacity(TIMES);
    for _ in 0..TIMES {
        let begun = Instant::now();
        call()?;
        millis.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    millis.sort_by(f64::total_cmp);
    Ok(millis[TIMES / 2])
}
