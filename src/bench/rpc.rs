//! Request and response over direct reply-to, one call at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;

use super::client::Client;
use super::endpoint::Endpoint;
use super::error::{BenchError, Result};
use super::latency::Latencies;
use super::message::{Message, Properties};
use super::process;
use super::seconds;
use super::topology::Topology;
use crate::wire::frame::{BODY, HEADER};
use crate::wire::hot::ContentHeader;
use crate::wire::properties::PropertiesView;

const REPLY_TO: &str = "amq.rabbitmq.reply-to";
const WARM_UP: Duration = Duration::from_millis(500);
const LOOK: Duration = Duration::from_millis(100);

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Load")]
pub struct Rpc {
    /// Body of request and response, in bytes
    #[arg(short = 's', long = "size", value_name = "BYTES", default_value_t = 16,
          value_parser = clap::value_parser!(u32).range(1..))]
    pub body_bytes: u32,

    /// Seconds to measure, after half a second of warming up
    #[arg(short = 'z', long, value_name = "S", default_value_t = 5.0, value_parser = seconds)]
    pub seconds: f64,
}

#[derive(Clone, Copy, Debug)]
pub struct Calls {
    pub per_s: f64,
    pub latencies: Latencies,
}

impl Rpc {
    pub fn run(&self, endpoint: &Endpoint) -> Result<Calls> {
        let topology = Topology::one_queue("bench-rpc");
        topology.declare(endpoint)?;
        let queue = topology.queue(0);
        let mut responder = Client::open(endpoint)?;
        responder.consume(&queue, true)?;
        responder.set_read_wait(LOOK)?;
        let over = Arc::new(AtomicBool::new(false));
        let (until, body_bytes) = (over.clone(), self.body_bytes);
        let responding = thread::spawn(move || respond(responder, body_bytes, &until));
        let called = self.call(&queue, endpoint);
        over.store(true, Relaxed);
        let responded = responding.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        // If the responder failed, that is why calls did.
        responded?;
        let calls = called?;
        topology.delete(endpoint)?;
        Ok(calls)
    }

    fn call(&self, queue: &str, endpoint: &Endpoint) -> Result<Calls> {
        let mut client = Client::open(endpoint)?;
        client.consume(REPLY_TO, true)?;
        let properties = Properties::None.of(0).with_reply_to(REPLY_TO.into());
        let body = vec![b'?'; self.body_bytes as usize];
        let mut request = Vec::new();
        Message { exchange: "", routing_key: queue, properties, body: &body }.publish(&mut request, client.frame_max);
        call_for(WARM_UP, &mut client, &request, body.len())?;
        let cpu_s = || endpoint.pid.and_then(process::cpu_s);
        let (began, cpu_before) = (Instant::now(), cpu_s());
        let nanos = call_for(Duration::from_secs_f64(self.seconds), &mut client, &request, body.len())?;
        let seconds = began.elapsed().as_secs_f64();
        let cpu_s_per_s = cpu_s().zip(cpu_before).map(|(after, before)| (after - before) / seconds);
        client.close()?;
        Ok(Calls { per_s: nanos.len() as f64 / seconds, latencies: Latencies::of(nanos, cpu_s_per_s)? })
    }
}

fn call_for(time: Duration, client: &mut Client, request: &[u8], body_bytes: usize) -> Result<Vec<u64>> {
    let mut nanos = Vec::new();
    let began = Instant::now();
    while began.elapsed() < time {
        let sent = Instant::now();
        client.send(request)?;
        let mut missing = body_bytes;
        while missing > 0 {
            let frame = client.next_frame()?;
            missing -= if frame.kind == BODY { frame.payload.len().min(missing) } else { 0 };
        }
        nanos.push(sent.elapsed().as_nanos() as u64);
    }
    Ok(nanos)
}

/// Sends a body to where each request wants it.
fn respond(mut client: Client, body_bytes: u32, over: &AtomicBool) -> Result<()> {
    let body = vec![b'!'; body_bytes as usize];
    let (mut reply_to, mut missing) = (String::new(), 0);
    let mut response = Vec::new();
    while !over.load(Relaxed) {
        let Some(frame) = client.poll_frame()? else { continue };
        match frame.kind {
            HEADER => {
                missing = body.len();
                let header = ContentHeader::read(frame.payload);
                let view = header.and_then(|header| PropertiesView::parse(header.properties, 64).ok());
                let name = view.as_ref().and_then(|view| view.reply_to());
                let name = name.ok_or_else(|| BenchError::new("a request came without reply-to"))?;
                // Most calls come from where the last one came from.
                if reply_to.as_bytes() != name {
                    reply_to = String::from_utf8_lossy(name).into_owned();
                    response.clear();
                }
            }
            BODY => missing -= frame.payload.len().min(missing),
            _ => continue,
        }
        if missing > 0 {
            continue;
        }
        if response.is_empty() {
            let properties = Properties::None.of(0);
            let message = Message { exchange: "", routing_key: &reply_to, properties, body: &body };
            message.publish(&mut response, client.frame_max);
        }
        client.send(&response)?;
    }
    // Calls have been measured by now.
    let _ = client.close();
    Ok(())
}
