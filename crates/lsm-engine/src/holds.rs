//! Registered snapshots, followers of changes and the watermark: what compaction must keep, and which writes come too
//! late.

use std::collections::BTreeMap;

use lsm_iter::Retention;
use lsm_types::SeqNo;
use parking_lot::{Condvar, Mutex};

use crate::EngineError;

/// Read bounds that the tree promised to keep answering, and the caller's promise not to start lower reads.
#[derive(Debug, Default)]
pub(crate) struct Holds(Mutex<State>, Condvar);

#[derive(Debug, Default)]
struct State {
    /// Bounds with the number of their guards.
    registered: BTreeMap<SeqNo, usize>,
    promised: SeqNo,
    /// Reads at or below this lost what they saw, registered or not.
    cut_off: SeqNo,
    /// Floors that running jobs may yet set, with the number of those jobs.
    jobs: BTreeMap<SeqNo, usize>,
    /// Numbers of writes that are under way outside of memtables.
    claims: BTreeMap<SeqNo, usize>,
    /// Bounds of lists of changes that are being read, with the number of these: nothing may be added below.
    bars: BTreeMap<SeqNo, usize>,
    /// Those who read all changes, by their numbers.
    followers: BTreeMap<u64, Follower>,
    next_follower: u64,
}

/// Someone who reads all changes, in order of number.
#[derive(Clone, Copy, Debug)]
struct Follower {
    /// Changes below it were read: these need not be kept, and none may come.
    position: SeqNo,
    /// How far the position may stay behind the newest number.
    lag_max: Option<u64>,
    /// It stayed behind further, and jobs do not wait for it any more.
    is_left_behind: bool,
}

impl State {
    fn write_floor(&self) -> SeqNo {
        let followed = self.alive().map(|(_, follower)| follower.position);
        let bounds = [self.registered.keys().next_back(), self.bars.keys().next_back()];
        let newest = bounds.into_iter().flatten().copied().chain(followed).max().unwrap_or_default();
        newest.max(self.promised)
    }

    fn has_claims_below(&self, floor: SeqNo) -> bool {
        self.claims.keys().next().is_some_and(|lowest| *lowest < floor)
    }

    /// Followers that jobs wait for.
    fn alive(&self) -> impl Iterator<Item = (&u64, &Follower)> {
        self.followers.iter().filter(|(_, follower)| !follower.is_left_behind)
    }

    /// The watermark: the caller's promise, as far as followers have come. What they have yet to read is collected
    /// nowhere, between snapshots neither.
    fn collectable(&self) -> SeqNo {
        let followed = self.alive().map(|(_, follower)| follower.position).min();
        followed.map_or(self.promised, |position| position.min(self.promised))
    }
}

/// The number of a write that is under way; no promise passes it before this is dropped.
pub(crate) struct Claim<'a> {
    holds: &'a Holds,
    seqno: SeqNo,
}

impl Claim<'_> {
    pub(crate) fn seqno(&self) -> SeqNo {
        self.seqno
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        take_one(&mut self.holds.0.lock().claims, self.seqno);
        self.holds.1.notify_all();
    }
}

/// What a job has to keep, counted as long as the job may still install.
pub(crate) struct JobRetention<'a> {
    holds: &'a Holds,
    pub(crate) retention: Retention,
    floor: SeqNo,
}

impl Drop for JobRetention<'_> {
    fn drop(&mut self) {
        take_one(&mut self.holds.0.lock().jobs, self.floor);
    }
}

fn take_one(counts: &mut BTreeMap<SeqNo, usize>, at: SeqNo) {
    if let Some(count) = counts.get_mut(&at) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&at);
        }
    }
}

impl Holds {
    /// Registers a read bound once more.
    pub(crate) fn register(&self, before: SeqNo) {
        *self.0.lock().registered.entry(before).or_default() += 1;
    }

    /// Takes one registration back.
    pub(crate) fn release(&self, before: SeqNo) {
        take_one(&mut self.0.lock().registered, before);
    }

    /// Whether reads at `before` are registered.
    pub(crate) fn is_registered(&self, before: SeqNo) -> bool {
        let state = self.0.lock();
        state.registered.contains_key(&before) && state.cut_off < before
    }

    /// Gives up reads at or below `seqno`: what they saw is removed.
    pub(crate) fn cut_off(&self, seqno: SeqNo) {
        let mut state = self.0.lock();
        state.cut_off = state.cut_off.max(seqno);
    }

    /// Raises the caller's watermark; never lowers it.
    pub(crate) fn promise(&self, watermark: SeqNo) {
        let mut state = self.0.lock();
        state.promised = state.promised.max(watermark);
    }

    /// Lets nothing be written below `bound`, once more.
    pub(crate) fn bar(&self, bound: SeqNo) {
        *self.0.lock().bars.entry(bound).or_default() += 1;
    }

    /// Takes one bar back.
    pub(crate) fn unbar(&self, bound: SeqNo) {
        take_one(&mut self.0.lock().bars, bound);
    }

    /// Registers a follower of changes from `position` on, and returns its number.
    pub(crate) fn follow(&self, position: SeqNo, lag_max: Option<u64>) -> u64 {
        let mut state = self.0.lock();
        let id = state.next_follower;
        state.next_follower += 1;
        state.followers.insert(id, Follower { position, lag_max, is_left_behind: false });
        id
    }

    /// Forgets a follower.
    pub(crate) fn unfollow(&self, id: u64) {
        self.0.lock().followers.remove(&id);
    }

    /// Moves a follower on to `position`; never back.
    pub(crate) fn advance_follower(&self, id: u64, position: SeqNo) {
        if let Some(follower) = self.0.lock().followers.get_mut(&id) {
            follower.position = follower.position.max(position);
        }
    }

    /// Where a follower is, and whether jobs do not wait for it any more.
    pub(crate) fn follower(&self, id: u64) -> (SeqNo, bool) {
        let state = self.0.lock();
        state
            .followers
            .get(&id)
            .map_or((SeqNo::ZERO, true), |follower| (follower.position, follower.is_left_behind))
    }

    /// Number of followers that jobs wait for, and where the last of them is.
    pub(crate) fn followers(&self) -> (usize, Option<SeqNo>) {
        let state = self.0.lock();
        (state.alive().count(), state.alive().map(|(_, follower)| follower.position).min())
    }

    /// The watermark of a job that starts now; starts none.
    pub(crate) fn watermark(&self, limit: SeqNo) -> SeqNo {
        let state = self.0.lock();
        let alive = state.registered.keys().copied().find(|before| state.cut_off < *before);
        state.collectable().min(limit).min(alive.unwrap_or(SeqNo::LATEST))
    }

    /// What a job that starts now has to keep. Of what is numbered at or above `limit` that is everything. Followers that
    /// lag too far behind `newest`, the bound above everything written, are left behind.
    pub(crate) fn start_job(&self, limit: SeqNo, newest: SeqNo) -> JobRetention<'_> {
        self.start(limit, newest, false)
    }

    /// As [`Holds::start_job`], for a job with a filter: it changes nothing that a registered bound sees or a follower has
    /// yet to read, and no read below `newest` may begin to be held until it ends.
    pub(crate) fn start_filtering_job(&self, limit: SeqNo, newest: SeqNo) -> JobRetention<'_> {
        self.start(limit, newest, true)
    }

    fn start(&self, limit: SeqNo, newest: SeqNo, filters: bool) -> JobRetention<'_> {
        let mut state = self.0.lock();
        for follower in state.followers.values_mut() {
            let lag = newest.get().saturating_sub(follower.position.get());
            follower.is_left_behind |= follower.lag_max.is_some_and(|max| max < lag);
        }
        let alive = state.registered.keys().copied().filter(|before| state.cut_off < *before);
        let snapshots: Vec<SeqNo> = alive.collect();
        let watermark = state.collectable().min(limit);
        let retention = if snapshots.is_empty() {
            Retention::above(watermark)
        } else {
            Retention::with_snapshots(watermark, &snapshots)
        };
        let followed = state.alive().map(|(_, follower)| follower.position).min();
        let filter_below = followed.unwrap_or(SeqNo::LATEST).min(limit);
        let retention = if filters { retention.filtering_below(filter_below) } else { retention };
        // The highest floor an install of the job can set, between snapshots included.
        let floor = if filters { newest.max(watermark) } else { watermark }.saturating_prev();
        *state.jobs.entry(floor).or_default() += 1;
        JobRetention { holds: self, retention, floor }
    }

    /// The highest floor that a running job may set.
    pub(crate) fn floor_of_jobs(&self) -> SeqNo {
        self.0.lock().jobs.keys().next_back().copied().unwrap_or_default()
    }

    /// Writes numbered below this would change what a promised read sees, or bring back what a dropped tombstone
    /// hid.
    pub(crate) fn write_floor(&self) -> SeqNo {
        self.0.lock().write_floor()
    }

    /// Takes the number for a write that will take a while.
    ///
    /// # Errors
    /// `BelowSnapshot` for a number that a write may not have any more.
    pub(crate) fn claim(&self, seqno: SeqNo) -> Result<Claim<'_>, EngineError> {
        let mut state = self.0.lock();
        let bound = state.write_floor();
        if seqno < bound {
            return Err(EngineError::BelowSnapshot { seqno, bound });
        }
        *state.claims.entry(seqno).or_default() += 1;
        Ok(Claim { holds: self, seqno })
    }

    /// The lowest number of a write that is under way.
    pub(crate) fn lowest_claim(&self) -> Option<SeqNo> {
        self.0.lock().claims.keys().next().copied()
    }

    /// Whether a write below `floor` is under way.
    pub(crate) fn has_claims_below(&self, floor: SeqNo) -> bool {
        self.0.lock().has_claims_below(floor)
    }

    /// Returns when no write below `floor` is under way; another one may begin meanwhile.
    pub(crate) fn wait_for_claims_below(&self, floor: SeqNo) {
        let mut state = self.0.lock();
        self.1.wait_while(&mut state, |state| state.has_claims_below(floor));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(raw: u64) -> SeqNo {
        SeqNo::new(raw).unwrap()
    }

    /// Proves E-97.
    #[test]
    fn the_oldest_registered_bound_lowers_the_watermark() {
        let holds = Holds::default();
        assert_eq!(holds.start_job(SeqNo::LATEST, SeqNo::ZERO).retention.watermark(), SeqNo::ZERO);
        holds.promise(at(20));
        holds.register(at(5));
        holds.register(at(30));
        holds.register(at(30));
        assert_eq!(
            (holds.start_job(SeqNo::LATEST, SeqNo::ZERO).retention.watermark(), holds.write_floor()),
            (at(5), at(30))
        );
        holds.release(at(5));
        assert_eq!(holds.start_job(SeqNo::LATEST, SeqNo::ZERO).retention.watermark(), at(20));
        assert_eq!((holds.watermark(SeqNo::LATEST), holds.watermark(at(7))), (at(20), at(7)));
        holds.release(at(30));
        assert_eq!(holds.write_floor(), at(30), "one guard is left");
        holds.release(at(30));
        assert_eq!(
            (holds.start_job(SeqNo::LATEST, SeqNo::ZERO).retention.watermark(), holds.write_floor()),
            (at(20), at(20))
        );
        holds.promise(at(3));
        assert_eq!(
            holds.start_job(SeqNo::LATEST, SeqNo::ZERO).retention.watermark(),
            at(20),
            "the promise never moves back"
        );
        assert_eq!(
            holds.start_job(at(7), SeqNo::ZERO).retention.watermark(),
            at(7),
            "what a log may give back stays as it is"
        );
    }

    /// A promise waits for a write below it that is under way, and none begins below a promise.
    #[test]
    fn promises_do_not_pass_writes_under_way() {
        let holds = Holds::default();
        let claim = holds.claim(at(5)).unwrap();
        holds.wait_for_claims_below(at(5));
        assert!(!holds.has_claims_below(at(5)) && holds.has_claims_below(at(6)));
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                holds.wait_for_claims_below(at(6));
                holds.has_claims_below(at(6))
            });
            drop(claim);
            assert!(!waiting.join().unwrap());
        });
        holds.promise(at(6));
        let refused = holds.claim(at(5)).err();
        assert!(matches!(refused, Some(EngineError::BelowSnapshot { .. })));
        assert_eq!(holds.claim(at(6)).unwrap().seqno(), at(6));
    }

    /// Proves C-92: nothing that a follower has yet to read is collected, between snapshots neither, until it lags
    /// further behind than it may.
    #[test]
    fn followers_hold_the_watermark() {
        let holds = Holds::default();
        holds.promise(at(20));
        holds.register(at(15));
        let slow = holds.follow(at(5), Some(10));
        let fast = holds.follow(at(12), None);
        let retention = holds.start_job(SeqNo::LATEST, at(15)).retention.clone();
        assert_eq!(retention, Retention::with_snapshots(at(5), &[at(15)]));
        assert_eq!(holds.followers(), (2, Some(at(5))));
        holds.advance_follower(slow, at(7));
        holds.advance_follower(slow, at(6));
        assert_eq!((holds.follower(slow), holds.write_floor()), ((at(7), false), at(20)));
        assert_eq!(holds.start_job(SeqNo::LATEST, at(17)).retention.watermark(), at(7));
        assert_eq!(
            holds.start_job(SeqNo::LATEST, at(18)).retention.watermark(),
            at(12),
            "the slow one is left behind"
        );
        assert_eq!((holds.follower(slow), holds.follower(fast)), ((at(7), true), (at(12), false)));
        holds.unfollow(fast);
        holds.unfollow(slow);
        assert_eq!(holds.start_job(SeqNo::LATEST, at(18)).retention.watermark(), at(15));
        holds.bar(at(40));
        assert_eq!(holds.write_floor(), at(40));
        holds.unbar(at(40));
        assert_eq!(holds.write_floor(), at(20));
    }
}
