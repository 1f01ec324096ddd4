use std::any::Any;
use std::collections::hash_map::RandomState;
use std::future::Future;
use std::hash::{BuildHasher, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::outcome::{Failure, Outcome};

const SCENARIO_TIMEOUT: Duration = Duration::from_secs(45);
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// One scenario's view of the broker: its connections, closed behind it, and names that nothing else uses.
pub trait Session: Clone + 'static {
    fn new(run: Run) -> Self;

    /// Closes what is still open and deletes what would be left.
    fn close(self) -> impl Future<Output = ()>;
}

/// What a session is about.
pub struct Run {
    pub url: String,
    scenario: &'static str,
    token: String,
}

impl Run {
    fn new(scenario: &'static str, url: &str) -> Self {
        let random = RandomState::new().build_hasher().finish() as u32;
        Self { url: url.to_owned(), scenario, token: format!("{random:08x}") }
    }

    pub fn name(&self, label: &str) -> String {
        format!("interop.{}.{label}.{}", self.scenario, self.token)
    }

    /// Asks the runner to do something to the broker: stop, restart, block or unblock.
    pub fn ask(&self, what: &str) {
        report(json!({"scenario": self.scenario, "event": what}));
    }
}

type Play<S> = dyn Fn(S) -> Pin<Box<dyn Future<Output = Outcome>>>;

pub struct Scenario<S> {
    name: &'static str,
    play: Box<Play<S>>,
}

impl<S> Scenario<S> {
    pub fn new<F: Future<Output = Outcome> + 'static>(name: &'static str, play: impl Fn(S) -> F + 'static) -> Self {
        Self { name, play: Box::new(move |session| Box::pin(play(session))) }
    }
}

/// Plays the scenarios named as arguments against the broker at AMQP_URL, a line of JSON for each event.
pub fn play_arguments<S: Session>(scenarios: &[Scenario<S>]) {
    let url = std::env::var("AMQP_URL").expect("AMQP_URL is set");
    let runtime = Runtime::new().expect("a runtime starts");
    for name in std::env::args().skip(1) {
        report(json!({"scenario": name, "event": "started"}));
        let started = Instant::now();
        let outcome = match scenarios.iter().find(|scenario| scenario.name == name) {
            Some(scenario) => play(&runtime, scenario, &url),
            None => Err(Failure::Failed("the client has no such scenario".to_owned())),
        };
        report(result(&name, started.elapsed(), outcome));
    }
    runtime.shutdown_background();
}

fn play<S: Session>(runtime: &Runtime, scenario: &Scenario<S>, url: &str) -> Outcome {
    let session = runtime.block_on(async { S::new(Run::new(scenario.name, url)) });
    let playing = async {
        let deadline = tokio::time::timeout(SCENARIO_TIMEOUT, (scenario.play)(session.clone()));
        deadline.await.unwrap_or_else(|_| Err(Failure::Failed(format!("not done after {SCENARIO_TIMEOUT:?}"))))
    };
    let outcome = catch_unwind(AssertUnwindSafe(|| runtime.block_on(playing)))
        .unwrap_or_else(|panic| Err(Failure::Failed(format!("panicked: {}", panic_message(&*panic)))));
    let _ = runtime.block_on(async { tokio::time::timeout(CLOSE_TIMEOUT, session.close()).await });
    outcome
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("with no message")
}

fn result(name: &str, took: Duration, outcome: Outcome) -> Value {
    let seconds = took.as_secs_f64();
    match outcome {
        Ok(()) => json!({"scenario": name, "event": "passed", "seconds": seconds}),
        Err(Failure::Failed(message)) => {
            json!({"scenario": name, "event": "failed", "seconds": seconds, "message": message})
        }
        Err(Failure::Lacking(reason)) => json!({"scenario": name, "event": "lacking", "message": reason}),
    }
}

fn report(event: Value) {
    println!("{event}");
}
