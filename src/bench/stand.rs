//! Where measurements are taken: a broker and the limit, side by side, measured in turn.

use std::path::PathBuf;

use super::endpoint::{BrokerArgs, Endpoint};
use super::error::Result;
use super::load::{Load, Throughput};
use super::server::Server;

/// The servers of one row of the suite; new for each, so that none sees what another left behind.
pub struct Stand {
    broker: Server,
    limit: Server,
    /// Another broker to compare with.
    pub peer: Option<Endpoint>,
    /// Another build of this program to compare with.
    pub base: Option<PathBuf>,
    pub seconds: f64,
    pub rounds: Option<usize>,
}

/// Measurements of a subject with those of a reference before, between and after: one more of the second.
pub struct Turns<R, S> {
    references: Vec<R>,
    subjects: Vec<S>,
}

impl Stand {
    pub fn new(args: &BrokerArgs, peer: Option<Endpoint>, seconds: f64, rounds: Option<usize>) -> Result<Stand> {
        Ok(Stand { broker: Server::of(args)?, limit: Server::limit()?, peer, base: None, seconds, rounds })
    }

    pub fn broker(&self) -> &Endpoint {
        &self.broker.endpoint
    }

    pub fn limit(&self) -> &Endpoint {
        &self.limit.endpoint
    }

    /// How often a row is measured whose results vary as much as most do.
    pub fn rounds(&self) -> usize {
        self.rounds.unwrap_or(3)
    }

    /// The plain load, for as long as is asked for: what others are variations of.
    pub fn load(&self) -> Load {
        Load { seconds: self.seconds, ..Load::default() }
    }

    /// A load through the broker, and between that what it is to be compared with.
    pub fn broker_beside(
        &self,
        reference: (&Load, &Endpoint),
        subject: &Load,
    ) -> Result<Turns<Throughput, Throughput>> {
        let (reference, at) = reference;
        in_turn(self.rounds(), || reference.run(at), || subject.run(self.broker()))
    }
}

pub fn in_turn<R, S>(
    rounds: usize,
    mut reference: impl FnMut() -> Result<R>,
    mut subject: impl FnMut() -> Result<S>,
) -> Result<Turns<R, S>> {
    let mut turns = Turns { references: vec![reference()?], subjects: Vec::new() };
    for _ in 0..rounds {
        turns.subjects.push(subject()?);
        turns.references.push(reference()?);
    }
    Ok(turns)
}

impl<R, S> Turns<R, S> {
    /// A number of the subject in each round.
    pub fn each(&self, of_subject: impl Fn(&S) -> Option<f64>) -> Option<Vec<f64>> {
        self.subjects.iter().map(of_subject).collect()
    }

    pub fn each_reference(&self, of_reference: impl Fn(&R) -> Option<f64>) -> Option<Vec<f64>> {
        self.references.iter().map(of_reference).collect()
    }

    /// A number of the subject over that of the reference just before and just after, in each round.
    pub fn over(
        &self,
        of_subject: impl Fn(&S) -> Option<f64>,
        of_reference: impl Fn(&R) -> Option<f64>,
    ) -> Option<Vec<f64>> {
        let subjects = self.each(of_subject)?;
        let references = self.each_reference(of_reference)?;
        Some(subjects.iter().zip(references.windows(2)).map(|(s, r)| s / ((r[0] + r[1]) / 2.0)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_round_is_compared_with_its_neighbours() {
        let (mut r, mut s) = (0.0, 0.0);
        let next = |n: &mut f64, step: f64| {
            *n += step;
            Ok(*n)
        };
        let turns = in_turn(2, || next(&mut r, 1.0), || next(&mut s, 6.0)).unwrap();
        assert_eq!(turns.references, [1.0, 2.0, 3.0]);
        assert_eq!(turns.over(|s| Some(*s), |r| Some(*r)), Some(vec![4.0, 4.8]));
        assert_eq!(turns.over(|s| Some(*s), |_| None), None);
    }
}
