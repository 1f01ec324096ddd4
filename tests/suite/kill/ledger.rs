//! What the clients know of each message, and what the broker may therefore have after a kill.

use std::collections::{BTreeMap, HashMap};

/// Whether a message has left its queue for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Settled {
    No,
    /// It was acknowledged or rejected; nothing that came later is confirmed.
    Perhaps,
    /// Something that came later on the same channel is confirmed.
    Surely,
}

/// One persistent message in one queue.
#[derive(Clone, Copy, Debug)]
struct Fate {
    /// It was confirmed or committed, or it was there after a restart.
    kept: bool,
    settled: Settled,
    /// It was delivered, and something that came later is confirmed; or it had the flag before.
    must_be_flagged: bool,
}

/// One queue. Its messages are numbered in the order in which they were published.
#[derive(Default)]
pub struct Queue {
    fates: BTreeMap<u64, Fate>,
    /// The last one that was seen ...
    last_delivered: u64,
    /// ... and how many behind it may have been on their way.
    window: usize,
}

impl Queue {
    pub fn sent(&mut self, number: u64) {
        let fate = Fate { kept: false, settled: Settled::No, must_be_flagged: false };
        assert!(self.fates.insert(number, fate).is_none(), "the test publishes {number} twice");
    }

    pub fn kept(&mut self, number: u64) {
        self.fates.get_mut(&number).expect("it was sent").kept = true;
    }

    /// Whether it was confirmed or committed, or was there after a restart.
    pub fn was_kept(&self, number: u64) -> bool {
        self.fates.get(&number).is_some_and(|fate| fate.kept)
    }

    /// It was acknowledged or rejected. Messages that are not persistent are nobody's business.
    pub fn settled_perhaps(&mut self, number: u64) {
        if let Some(fate) = self.fates.get_mut(&number)
            && fate.settled == Settled::No
        {
            fate.settled = Settled::Perhaps;
        }
    }

    pub fn settled_surely(&mut self, number: u64) {
        if let Some(fate) = self.fates.get_mut(&number) {
            fate.settled = Settled::Surely;
        }
    }

    /// It was delivered, to one who had at most `window` outstanding.
    pub fn delivered(&mut self, number: u64, window: usize) {
        self.last_delivered = self.last_delivered.max(number);
        self.window = self.window.max(window);
    }

    pub fn delivered_surely(&mut self, number: u64) {
        if let Some(fate) = self.fates.get_mut(&number) {
            fate.must_be_flagged = true;
        }
    }

    /// Compares with what was found after a restart, as number and redelivered flag, and goes on from there: what was
    /// found is kept, what was not is gone for ever.
    pub fn check(&mut self, found: &[(u64, bool)], promises: Promises) -> Result<(), String> {
        if let Some(pair) = found.windows(2).find(|pair| pair[0].0 >= pair[1].0) {
            return Err(format!("{} comes before {}", pair[0].0, pair[1].0));
        }
        let found: BTreeMap<u64, bool> = found.iter().copied().collect();
        self.check_all_sent(&found)?;
        let undelivered_from = self.undelivered_from();
        for (&number, fate) in &self.fates {
            check_fate(number, fate, found.get(&number).copied(), promises)?;
            if promises == Promises::All && number >= undelivered_from && found.get(&number) == Some(&true) {
                return Err(format!("{number} has the flag, and none from {undelivered_from} on was delivered"));
            }
        }
        self.go_on_from(&found);
        Ok(())
    }

    fn check_all_sent(&self, found: &BTreeMap<u64, bool>) -> Result<(), String> {
        match found.keys().find(|number| !self.fates.contains_key(number)) {
            Some(number) => Err(format!("{number} was not persistent, was gone before, or was never sent")),
            None => Ok(()),
        }
    }

    /// No message from this one on can have been delivered.
    fn undelivered_from(&self) -> u64 {
        let behind = self.fates.range(self.last_delivered + 1..);
        behind.skip(self.window).map(|(number, _)| *number).next().unwrap_or(u64::MAX)
    }

    fn go_on_from(&mut self, found: &BTreeMap<u64, bool>) {
        let fate = |flag: bool| Fate { kept: true, settled: Settled::No, must_be_flagged: flag };
        self.fates = found.iter().map(|(number, flag)| (*number, fate(*flag))).collect();
    }
}

fn check_fate(number: u64, fate: &Fate, found: Option<bool>, promises: Promises) -> Result<(), String> {
    match found {
        None if fate.kept && fate.settled == Settled::No => Err(format!("{number} is lost: {fate:?}")),
        Some(_) if promises == Promises::All && fate.settled == Settled::Surely => {
            Err(format!("{number} is back: {fate:?}"))
        }
        Some(false) if fate.must_be_flagged => Err(format!("{number} was delivered and has no flag")),
        _ => Ok(()),
    }
}

/// What a broker promises for a kill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promises {
    /// Confirmed messages are there, once and in order, flagged only if they may have been delivered; what was settled
    /// before something else was confirmed is not; transactions are there as a whole or not at all.
    All,
    /// Only that about confirmed messages, and any may be flagged.
    Confirms,
}

/// A message is, or is not, in one of these queues.
#[derive(Clone, Debug)]
pub struct Claim {
    pub queues: Vec<&'static str>,
    pub number: u64,
    pub is_there: bool,
}

/// What is in each queue, in order, as number and redelivered flag.
pub type Found = HashMap<&'static str, Vec<(u64, bool)>>;

/// All queues, and what a restart must show as a whole or not at all.
#[derive(Default)]
pub struct Ledger {
    pub queues: HashMap<&'static str, Queue>,
    /// Claims that are all true or all false.
    pub together: Vec<Vec<Claim>>,
}

impl Ledger {
    pub fn queue(&mut self, name: &'static str) -> &mut Queue {
        self.queues.entry(name).or_default()
    }

    /// Compares with what was found in each queue.
    pub fn check(&mut self, found: &Found, promises: Promises) -> Result<(), String> {
        for (name, messages) in found {
            self.queue(name).check(messages, promises).map_err(|what| format!("queue {name}: {what}"))?;
        }
        let holds = |claim: &Claim| {
            let is_in = |name: &&str| found[*name].binary_search_by_key(&claim.number, |(number, _)| *number).is_ok();
            claim.queues.iter().any(is_in) == claim.is_there
        };
        for claims in self.together.drain(..) {
            if promises == Promises::All && claims.iter().any(holds) && !claims.iter().all(holds) {
                let (true_ones, false_ones): (Vec<_>, Vec<_>) = claims.iter().partition(|claim| holds(claim));
                return Err(format!("a transaction in part: true is {true_ones:?}, and not {false_ones:?}"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A queue with the messages 1 to 4: kept, kept and settled, kept and surely settled, unconfirmed.
    fn queue() -> Queue {
        let mut queue = Queue::default();
        (1..=4).for_each(|number| queue.sent(number));
        (1..=3).for_each(|number| queue.kept(number));
        queue.settled_perhaps(2);
        queue.settled_perhaps(3);
        queue.settled_surely(3);
        queue
    }

    #[test]
    fn what_may_be_found() {
        for numbers in [&[1][..], &[1, 2], &[1, 4], &[1, 2, 4]] {
            let found: Vec<_> = numbers.iter().map(|number| (*number, false)).collect();
            assert_eq!(queue().check(&found, Promises::All), Ok(()), "{numbers:?}");
        }
    }

    #[test]
    fn what_may_not_be_found() {
        for numbers in [&[][..], &[2], &[1, 3], &[1, 5], &[1, 1], &[2, 1], &[0, 1]] {
            let found: Vec<_> = numbers.iter().map(|number| (*number, false)).collect();
            assert!(queue().check(&found, Promises::All).is_err(), "{numbers:?}");
        }
    }

    #[test]
    fn what_was_gone_stays_gone_and_what_was_there_stays() {
        let mut queue = queue();
        assert_eq!(queue.check(&[(1, false), (4, false)], Promises::All), Ok(()));
        assert!(queue.check(&[(1, false)], Promises::All).is_err(), "4 was there");
        assert!(queue.check(&[(1, false), (2, false), (4, false)], Promises::All).is_err(), "2 was gone");
    }

    #[test]
    fn flags() {
        let check = |found| {
            let mut queue = queue();
            queue.delivered(1, 1);
            queue.delivered_surely(1);
            queue.check(found, Promises::All)
        };
        assert_eq!(check(&[(1, true), (2, true), (4, false)]), Ok(()));
        assert_eq!(check(&[(1, true), (2, false)]), Ok(()));
        assert!(check(&[(1, false)]).is_err());
        assert!(check(&[(1, true), (4, true)]).is_err());
    }

    #[test]
    fn a_window_counts_messages() {
        let check = |window, found| {
            let mut queue = Queue::default();
            [10, 20, 30, 40].into_iter().for_each(|number| queue.sent(number));
            queue.delivered(10, window);
            queue.check(found, Promises::All)
        };
        assert_eq!(check(2, &[(10, true), (20, true), (30, true), (40, false)]), Ok(()));
        assert!(check(2, &[(10, true), (40, true)]).is_err());
        assert!(check(0, &[(20, true)]).is_err());
    }

    #[test]
    fn a_transaction_in_part() {
        let claim = |queue, is_there| Claim { queues: vec![queue], number: 1, is_there };
        let check = |a: &[(u64, bool)], b: &[(u64, bool)]| {
            let mut ledger = Ledger::default();
            ledger.queue("a").sent(1);
            ledger.queue("b").sent(1);
            ledger.together.push(vec![claim("a", true), claim("b", false)]);
            ledger.check(&HashMap::from([("a", a.to_vec()), ("b", b.to_vec())]), Promises::All)
        };
        assert_eq!(check(&[(1, false)], &[]), Ok(()));
        assert_eq!(check(&[], &[(1, false)]), Ok(()));
        assert!(check(&[(1, false)], &[(1, false)]).is_err());
        assert!(check(&[], &[]).is_err());
    }
}
