//! The other end of the local socket: sends a request and reads its answer.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use super::request::{Line, Refusal, Request, Status};
use super::socket::check_path;
use crate::limits::CTL_LINE_MAX_BYTES;

/// A request that has been sent.
pub struct Answer {
    lines: BufReader<UnixStream>,
    timing: Timing,
}

/// How long a command may take.
#[derive(Clone, Copy)]
pub struct Timing {
    timeout: Option<Duration>,
    deadline: Option<Instant>,
}

impl Timing {
    /// From now on; for ever if there is no timeout.
    pub fn new(timeout: Option<Duration>) -> Timing {
        Timing { timeout, deadline: timeout.and_then(|timeout| Instant::now().checked_add(timeout)) }
    }

    /// What is left; `None` if there is no end.
    ///
    /// # Errors
    /// [`Status::TimedOut`] if nothing is left.
    pub fn left(&self) -> Result<Option<Duration>, Refusal> {
        let left = self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            let after = self.timeout.map_or_else(String::new, |timeout| format!(" after {} ms", timeout.as_millis()));
            return Err(Refusal::new(Status::TimedOut, format!("the operation timed out{after}")));
        }
        Ok(left)
    }
}

impl Answer {
    /// Sends a request to the broker whose socket this is.
    ///
    /// # Errors
    /// [`Status::Unavailable`] if nobody listens there.
    pub fn to(socket: &Path, request: &Request, timing: Timing) -> Result<Answer, Refusal> {
        let failed = |error: io::Error| unavailable(socket, &error);
        check_path(socket)
            .map_err(|error| Refusal::new(Status::Configuration, format!("{}: {error}", socket.display())))?;
        let mut stream = UnixStream::connect(socket).map_err(failed)?;
        let mut line = serde_json::to_vec(request).map_err(Refusal::software)?;
        line.push(b'\n');
        if line.len() > CTL_LINE_MAX_BYTES {
            return Err(Refusal::data(format!("a request of more than {CTL_LINE_MAX_BYTES} bytes")));
        }
        stream.write_all(&line).map_err(failed)?;
        Ok(Answer { lines: BufReader::new(stream), timing })
    }

    /// The next line.
    pub fn line(&mut self) -> Result<Line, Refusal> {
        let mut line = Vec::new();
        loop {
            self.limit_read()?;
            let found = self.lines.by_ref().take(CTL_LINE_MAX_BYTES as u64).read_until(b'\n', &mut line);
            match found {
                Ok(_) if line.ends_with(b"\n") => break,
                Ok(_) => return Err(Refusal::new(Status::Unavailable, "the broker has hung up")),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => {
                    return Err(Refusal::new(Status::Unavailable, format!("the broker has hung up: {error}")));
                }
            }
        }
        serde_json::from_slice(&line).map_err(|error| Refusal::software(format!("not an answer: {error}")))
    }

    /// Waits until the broker has ended.
    pub fn wait_for_end(&mut self) -> Result<(), Refusal> {
        loop {
            self.limit_read()?;
            match self.lines.read(&mut [0; 64]) {
                Ok(1..) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // However it ended.
                Ok(0) | Err(_) => return Ok(()),
            }
        }
    }

    /// Lets a read take what is left of the time.
    fn limit_read(&self) -> Result<(), Refusal> {
        self.lines.get_ref().set_read_timeout(self.timing.left()?).map_err(Refusal::software)
    }
}

fn unavailable(socket: &Path, error: &io::Error) -> Refusal {
    let why = match error.kind() {
        io::ErrorKind::NotFound => {
            "there is no such socket; is the broker running, and this its data directory?".into()
        }
        io::ErrorKind::ConnectionRefused => "no broker listens there any more".into(),
        io::ErrorKind::PermissionDenied => "only the user that runs the broker may use it".into(),
        _ => error.to_string(),
    };
    Refusal::new(Status::Unavailable, format!("unable to reach the broker at {}: {why}", socket.display()))
}
