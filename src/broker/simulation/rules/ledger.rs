//! What clients have done, and what therefore may have become of each message from one epoch to the next.
//!
//! It does not foretell what queues do, it judges it: a message stays where it is, or goes to the queue of the dead
//! letters of its own, for a reason that was there and with a header that tells it, or ends for a reason that was there.
//! Anything else is lost, doubled or invented.

use std::collections::{BTreeMap, BTreeSet};

use super::kept::{Deaths, Kept, Place, State, States, properties};
use super::settings::{Overflow, Settings};
use crate::storage::stepped::Taken;
use crate::storage::{Epoch, QueueId};

/// A message that a queue has taken in.
#[derive(Clone, Debug)]
struct Accepted {
    queue: usize,
    epoch: Epoch,
    deadline_ms: u64,
}

/// A message as it was before an epoch, or when it was taken in.
struct Before<'a> {
    queue: usize,
    deadline_ms: u64,
    kept: Option<&'a Kept>,
}

impl Before<'_> {
    fn deaths(&self) -> Deaths {
        self.kept.map(Kept::deaths).unwrap_or_default()
    }
}

#[derive(Default)]
pub struct Ledger {
    pub settings: Vec<Settings>,
    pub ids: Vec<QueueId>,
    pub states: States,
    pub now_ms: u64,
    /// Taken in by epochs that are yet to come.
    arriving: BTreeMap<u64, Accepted>,
    /// Refused by queues that dead-letter what they refuse.
    refused: BTreeMap<u64, usize>,
    /// Settled by who had them, and in which epoch.
    ended: BTreeMap<u64, Epoch>,
    /// Rejected in these queues, or returned too often.
    rejected: BTreeSet<(u64, usize)>,
    worn_out: BTreeSet<(u64, usize)>,
    /// How often messages were returned, by when.
    returned: BTreeMap<Place, Vec<(Epoch, u32)>>,
    /// Purged, unless they were on their way to be dead letters: from where, and in which epoch.
    purged: BTreeMap<u64, (usize, Epoch)>,
    /// The queues that were purged, and the epochs in which they were.
    purges: BTreeSet<(usize, Epoch)>,
}

impl Ledger {
    pub fn new(settings: Vec<Settings>, now_ms: u64) -> Ledger {
        Ledger { settings, now_ms, ..Ledger::default() }
    }

    pub fn queue_of(&self, lane: QueueId) -> usize {
        self.ids.iter().position(|id| *id == lane.base()).expect("a queue that exists")
    }

    pub fn level_of(&self, queue: usize, priority: Option<u8>) -> u8 {
        priority.unwrap_or(0).min(self.settings[queue].max_priority)
    }

    pub fn accepted(&mut self, id: u64, queue: usize, expiration: Option<u64>, epoch: Epoch) {
        let ttl_ms = [expiration, self.settings[queue].ttl_ms].into_iter().flatten().min();
        let deadline_ms = ttl_ms.map_or(u64::MAX, |ttl_ms| self.now_ms + ttl_ms);
        self.arriving.insert(id, Accepted { queue, epoch, deadline_ms });
    }

    pub fn refused(&mut self, id: u64, queue: usize) {
        self.refused.insert(id, queue);
    }

    pub fn ended(&mut self, id: u64, epoch: Epoch) {
        let before = self.ended.insert(id, epoch);
        assert!(before.is_none(), "{id} is settled twice");
    }

    pub fn has_ended(&self, id: u64) -> bool {
        self.ended.contains_key(&id)
    }

    pub fn rejected(&mut self, id: u64, queue: usize) {
        self.rejected.insert((id, queue));
    }

    /// A message comes back, in this epoch.
    pub fn returned(&mut self, id: u64, place: Place, epoch: Epoch) {
        let queue = self.queue_of(place.0);
        let settings = &self.settings[queue];
        if !settings.counts_returns() {
            return;
        }
        let returns = self.returns(place) + 1;
        if settings.delivery_limit.is_some_and(|limit| returns > limit) {
            self.worn_out.insert((id, queue));
        } else {
            self.returned.entry(place).or_default().push((epoch, returns));
        }
    }

    /// How often the message at a place has been returned so far.
    pub fn returns(&self, place: Place) -> u32 {
        match self.returned.get(&place).and_then(|all| all.last()) {
            Some((_, returns)) => *returns,
            None => self.states.last().get(&place).map_or(0, |kept| kept.returns),
        }
    }

    /// An epoch is written.
    pub fn taken(&mut self, taken: &Taken) {
        let after = self.states.add(taken);
        let before = self.states.before_last();
        let places = by_id(&after);
        for (&place, kept) in before.iter() {
            let from = Before { queue: self.queue_of(place.0), deadline_ms: kept.deadline_ms, kept: Some(kept) };
            match places.get(&kept.id) {
                Some(now) if *now == place => self.stayed(kept, &after[now]),
                Some(now) => self.moved(kept.id, &from, *now, &after[now]),
                None => self.gone(kept.id, &from, taken.epoch),
            }
        }
        let arrived = self.arriving.extract_if(.., |_, accepted| accepted.epoch <= taken.epoch);
        let arrived: BTreeMap<u64, Accepted> = arrived.collect();
        for (&id, &Accepted { queue, deadline_ms, .. }) in &arrived {
            let from = Before { queue, deadline_ms, kept: None };
            match places.get(&id) {
                Some(now) if self.ids[queue] == now.0.base() && after[now].deaths().is_empty() => {
                    self.arrived(queue, deadline_ms, *now, &after[now]);
                }
                Some(now) => self.moved(id, &from, *now, &after[now]),
                None => self.gone(id, &from, taken.epoch),
            }
        }
        let known: BTreeSet<u64> = before.values().map(|kept| kept.id).collect();
        for (&place, kept) in after.iter() {
            self.check_kept(place, kept, taken.epoch, &before);
            if !known.contains(&kept.id) && !arrived.contains_key(&kept.id) {
                self.refused_and_moved(place, kept);
            }
        }
    }

    fn stayed(&self, before: &Kept, after: &Kept) {
        let what = |kept: &Kept| (kept.record.clone(), kept.deadline_ms);
        assert!(what(before) == what(after), "{before:?} has become {after:?}");
    }

    fn arrived(&self, queue: usize, deadline_ms: u64, place: Place, kept: &Kept) {
        let level = self.level_of(queue, kept.record().priority());
        assert_eq!((place.0.level(), kept.deadline_ms), (level, deadline_ms), "{kept:?} at {place:?}");
    }

    /// Properties that hold wherever a message is.
    fn check_kept(&self, place: Place, kept: &Kept, epoch: Epoch, before: &State) {
        let ended = self.ended.get(&kept.id);
        assert!(
            ended.is_none_or(|ended| *ended > epoch),
            "{kept:?} was settled in {ended:?} and is there at {epoch:?}"
        );
        let counted = self.returned.get(&place).and_then(|all| all.iter().rev().find(|(when, _)| *when <= epoch));
        let returns =
            counted.map_or_else(|| before.get(&place).map_or(0, |kept| kept.returns), |(_, returns)| *returns);
        assert_eq!(kept.returns, returns, "returns of {kept:?} at {place:?}");
    }

    /// A message has become a dead letter of this queue, and perhaps then of others.
    fn moved(&self, id: u64, from: &Before<'_>, to: Place, kept: &Kept) {
        let (old, to_queue) = (&from.deaths(), self.queue_of(to.0));
        let &Before { queue: from, deadline_ms, .. } = from;
        let what = format!("{id} has moved from q{from} to q{to_queue}: {old:?} became {:?}", kept.deaths());
        let new = kept.deaths();
        let (last_queue, reason, _) = new.first().unwrap_or_else(|| panic!("{what}: it tells nothing"));
        let last = self.settings.iter().position(|settings| settings.name == *last_queue).expect("a queue");
        assert_eq!(self.settings[last].dead_letters, Some(to_queue), "{what}");
        let total = |deaths: &Deaths| deaths.iter().map(|(.., count)| *count).sum::<i64>();
        let hops = total(&new) - total(old);
        assert!(hops > 0, "{what}");
        if hops == 1 {
            assert_eq!(last, from, "{what}");
            assert!(self.may_die(id, from, reason, deadline_ms), "{what}, which has no reason to");
            assert_eq!(new, died(old, last_queue, reason), "{what}");
        } else {
            assert!(self.may_die_somehow(id, from, deadline_ms), "{what}, which has no reason to");
            assert!(self.may_die(id, last, reason, 0), "{what}, which has no reason to");
        }
        self.check_letter(to_queue, to, kept, &what);
    }

    fn check_letter(&self, queue: usize, place: Place, kept: &Kept, what: &str) {
        let (record, settings) = (kept.record(), &self.settings[queue]);
        assert_eq!(place.0.level(), self.level_of(queue, record.priority()), "{what}");
        assert_eq!(String::from_utf8_lossy(record.routing_key()), settings.name, "{what}");
        assert_eq!(properties(&record).expiration(), None, "{what}");
        match settings.ttl_ms {
            None => assert_eq!(kept.deadline_ms, u64::MAX, "{what}"),
            Some(ttl_ms) => assert!(kept.deadline_ms <= self.now_ms + ttl_ms, "{what}"),
        }
    }

    fn refused_and_moved(&self, place: Place, kept: &Kept) {
        let Some(&from) = self.refused.get(&kept.id) else { panic!("{kept:?} at {place:?} comes from nowhere") };
        let (deaths, name) = (kept.deaths(), &self.settings[from].name);
        let first = deaths.last().map(|(queue, reason, _)| (queue, &**reason));
        let total: i64 = deaths.iter().map(|(.., count)| *count).sum();
        assert!(total > 1 || first == Some((name, "maxlen")), "{kept:?} was refused by {name}");
    }

    fn gone(&mut self, id: u64, from: &Before<'_>, epoch: Epoch) {
        let deaths = &from.deaths();
        let &Before { queue: from, deadline_ms, .. } = from;
        let has_ended = self.ended.get(&id).is_some_and(|ended| *ended <= epoch);
        let is_purged = |(id, queue)| self.purged.get(&id).is_some_and(|(of, when)| *of == queue && *when <= epoch);
        let may = has_ended || is_purged((id, from)) || self.may_vanish(id, (from, epoch), deadline_ms, deaths, 0);
        assert!(may, "{id} is gone from q{from}, at {}; it died of {deaths:?}, until {deadline_ms}", self.now_ms);
        if !has_ended {
            self.may_be_sent_on(id, from);
        }
    }

    /// Who has refused a letter that is nowhere now may yet send it on: of that nothing is kept meanwhile.
    fn may_be_sent_on(&mut self, id: u64, from: usize) {
        let next = |queue: &usize| self.settings[*queue].dead_letters;
        let mut chain = std::iter::successors(next(&from), next).take(self.settings.len());
        if let Some(refuser) = chain.find(|queue| self.settings[*queue].dead_letters_refused()) {
            self.refused.insert(id, refuser);
        }
    }

    fn may_die(&self, id: u64, queue: usize, reason: &str, deadline_ms: u64) -> bool {
        let settings = &self.settings[queue];
        match reason {
            "rejected" => self.rejected.contains(&(id, queue)),
            "expired" => deadline_ms <= self.now_ms,
            "maxlen" => settings.is_limited() && settings.overflow != Overflow::RejectPublish,
            "delivery_limit" => self.worn_out.contains(&(id, queue)),
            other => panic!("nobody dies of {other}"),
        }
    }

    fn may_die_somehow(&self, id: u64, queue: usize, deadline_ms: u64) -> bool {
        REASONS.iter().any(|reason| self.may_die(id, queue, reason, deadline_ms))
    }

    /// Whether a message that nobody settled may be nowhere any more.
    fn may_vanish(
        &self,
        id: u64,
        (queue, epoch): (usize, Epoch),
        deadline_ms: u64,
        deaths: &Deaths,
        hops: u32,
    ) -> bool {
        let reasons = REASONS.iter().filter(|reason| self.may_die(id, queue, reason, deadline_ms));
        reasons.into_iter().any(|reason| {
            let settings = &self.settings[queue];
            let Some(to) = settings.dead_letters else { return true };
            let deaths = died(deaths, &settings.name, reason);
            let target = &self.settings[to];
            if !settings.at_least_once
                && (target.refuses() || (*reason != "rejected" && is_cycle(&deaths, &target.name)))
            {
                return true;
            }
            let deadline_ms = target.ttl_ms.map_or(u64::MAX, |_| 0);
            self.purges.contains(&(to, epoch))
                || (hops < 6 && self.may_vanish(id, (to, epoch), deadline_ms, &deaths, hops + 1))
        })
    }

    /// A queue was purged while these of its messages were with somebody.
    pub fn purged(&mut self, queue: usize, held: &BTreeSet<u64>, epoch: Epoch) {
        let base = self.ids[queue];
        self.purges.insert((queue, epoch));
        let waiting = self.states.last().iter().filter(|((lane, _), _)| lane.base() == base);
        let waiting = waiting.map(|(_, kept)| kept.id).collect::<Vec<_>>();
        let arriving = self.arriving.iter().filter(|(_, accepted)| accepted.queue == queue).map(|(id, _)| *id);
        for id in waiting.into_iter().chain(arriving).filter(|id| !held.contains(id)) {
            self.purged.entry(id).or_insert((queue, epoch));
        }
    }

    /// What was to be kept by later epochs has not happened.
    pub fn forget_after(&mut self, epoch: Epoch) {
        self.ended.retain(|_, ended| *ended <= epoch);
    }

    /// Only what was found is known from now on.
    pub fn restart(&mut self, last: Epoch, found: State) {
        self.purged.clear();
        self.purges.clear();
        self.arriving.clear();
        self.refused.clear();
        self.rejected.clear();
        self.worn_out.clear();
        self.returned.clear();
        // Epochs count on, and those that were lost come again.
        self.ended.values_mut().for_each(|ended| *ended = Epoch::NONE);
        self.states = States::starting(last, found);
    }
}

const REASONS: [&str; 4] = ["rejected", "expired", "maxlen", "delivery_limit"];

fn died(deaths: &Deaths, queue: &str, reason: &str) -> Deaths {
    let is_same = |death: &&(String, String, i64)| death.0 == queue && death.1 == reason;
    let count = deaths.iter().find(is_same).map_or(1, |(.., count)| count + 1);
    let others = deaths.iter().filter(|death| !is_same(death)).cloned();
    std::iter::once((queue.to_owned(), reason.to_owned(), count)).chain(others).collect()
}

fn is_cycle(deaths: &Deaths, queue: &str) -> bool {
    deaths.iter().take_while(|(_, reason, _)| reason != "rejected").any(|(of, ..)| of == queue)
}

/// Where each message is: in one place.
pub fn by_id(state: &State) -> BTreeMap<u64, Place> {
    let mut places = BTreeMap::new();
    for (&place, kept) in state {
        if let Some(other) = places.insert(kept.id, place) {
            panic!("{kept:?} is at {place:?} and at {other:?}");
        }
    }
    places
}
