//! Removing the files that nobody needs any more: in the background, not too fast, and each exactly once.
//!
//! ```text
//! edit durable -> published -> table marked obsolete -> last reader gone -> queue -> shrunk step by step -> unlinked
//!                              counted as pinned                            counted as queued
//! ```
//!
//! A file that never was part of a version and could not be removed at once comes straight into the queue. One thread
//! per store empties it, begun with the first file and joined when the store closes; where no thread is wanted, or
//! none can be had, whoever releases a file removes it. What fails is tried again, later and later. What is left when a
//! store is gone is an orphan, which the next open sweeps.
//!
//! A file of which a merge has taken over the front stays, but that part of it goes: once no reader holds it, the bytes
//! are given back to the volume where it can take them. What cannot be given back is counted and left as it is; the next
//! open tries again.
//!
//! A large file is cut to nothing in steps, because removing it at once can hold up a disk for long. That is done only
//! to a file with a single name that was never exported: another name would see the cut.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};

use lsm_fs::{Fs, NamespaceId, OpenOptions};
use lsm_table::{ConsumedPrefix, ObsoleteFile};
use lsm_types::{Clock, IoError, IoKind, TableId};
use parking_lot::{Condvar, Mutex, MutexGuard};

/// How files that are not needed any more are removed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReclaimOptions {
    /// Whether a thread of the store removes files. `None`: it does on the system's own file systems; on others, such
    /// as one in memory, whoever lets go of a file removes it at once.
    pub thread: Option<bool>,
    /// Files removed per second by the thread, 0 for as many as it can.
    pub files_per_s: u64,
    /// Bytes removed per second by the thread, 0 for as many as it can.
    pub bytes_per_s: u64,
    /// Larger files are cut by this many bytes at a time before they are removed.
    pub chunk_bytes: u64,
    /// How long closing goes on removing files. The rest is left to the next open.
    pub close_timeout: Duration,
}

impl Default for ReclaimOptions {
    fn default() -> Self {
        Self {
            thread: None,
            files_per_s: 0,
            bytes_per_s: 0,
            chunk_bytes: 64 << 20,
            close_timeout: Duration::from_secs(5),
        }
    }
}

/// Files that are not needed any more: what still lies on the disk, and what became of the others.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ReclaimStats {
    /// Files that no version names and some reader holds.
    pub pinned_files: u64,
    /// Their bytes.
    pub pinned_bytes: u64,
    /// Files waiting to be removed.
    pub queued_files: u64,
    /// Their bytes.
    pub queued_bytes: u64,
    /// Files removed since the store was opened.
    pub removed_files: u64,
    /// Their bytes.
    pub removed_bytes: u64,
    /// Bytes given back from the front of files that are still in use.
    pub punched_bytes: u64,
    /// Times that was not done, because the volume cannot or because the file has another name.
    pub punches_refused: u64,
    /// Attempts that failed; each is repeated.
    pub errors: u64,
    /// Guards that hold deletions back.
    pub holds: usize,
}

/// A file in the queue.
#[derive(Debug)]
struct Waiting {
    file: ObsoleteFile,
    /// Bytes left of it.
    len: u64,
    /// Those of them that take space.
    disk_bytes: u64,
    /// Bytes that were cut off since it came.
    cut_bytes: u64,
    attempts: u32,
    /// Not to be tried before this moment of the clock.
    not_before: u64,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Waiting>,
    prefixes: VecDeque<ConsumedPrefix>,
    /// Files that left a version and were not removed yet, pinned ones among them, with the bytes that they took when
    /// the last reader let go of them, or take now where one is left.
    obsolete: BTreeMap<TableId, u64>,
    /// Bytes that were given back from the front of files that were not removed yet.
    punched: HashMap<TableId, u64>,
    stats: ReclaimStats,
    options: ReclaimOptions,
    pacer: Pacer,
    /// Somebody is at work on a file, without the lock.
    is_busy: bool,
    /// The thread is to end, or has ended: files are removed by whoever releases them.
    is_closing: bool,
}

/// What removing files needs to know; shared with the thread.
struct Shared {
    fs: Arc<dyn Fs>,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    /// Something changed: a new file, a hold that is gone, a step that is done, the end.
    changed: Condvar,
    /// Tables and value logs whose files were given a second name by us.
    exported: Mutex<HashSet<TableId>>,
}

/// Removes the files of one store.
pub(crate) struct Reclaimer {
    shared: Arc<Shared>,
    wants_thread: bool,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// How a step went.
enum Step {
    Removed,
    /// This many bytes fewer.
    Shrunk(u64),
    Failed(IoError),
}

/// What there is to do.
enum Next {
    Work(Waiting),
    Punch(ConsumedPrefix),
    /// Nothing before so many nanoseconds have passed.
    Later(u64),
    Nothing,
}

impl Reclaimer {
    pub(crate) fn new(
        fs: Arc<dyn Fs>,
        clock: Arc<dyn Clock>,
        options: ReclaimOptions,
        exported: impl IntoIterator<Item = TableId>,
    ) -> Self {
        let is_system = fs.namespace_id() == Some(NamespaceId::SYSTEM);
        let state = State { options, ..State::default() };
        Self {
            wants_thread: options.thread.unwrap_or(is_system),
            shared: Arc::new(Shared {
                fs,
                clock,
                state: Mutex::new(state),
                changed: Condvar::new(),
                exported: Mutex::new(exported.into_iter().collect()),
            }),
            thread: Mutex::new(None),
        }
    }

    /// A file that is so many bytes long is obsolete and may still be read.
    pub(crate) fn note_obsolete(&self, file: TableId, len: u64) {
        let mut state = self.shared.state.lock();
        let disk_bytes = len.saturating_sub(state.punched.get(&file).copied().unwrap_or_default());
        state.obsolete.insert(file, disk_bytes);
        state.stats.pinned_files += 1;
        state.stats.pinned_bytes += disk_bytes;
    }

    /// Files that were once part of a version, are so no more, and may still be there.
    pub(crate) fn obsolete(&self) -> Vec<TableId> {
        self.shared.state.lock().obsolete.keys().copied().collect()
    }

    /// Takes over an obsolete file that nobody reads any more.
    pub(crate) fn release(&self, file: ObsoleteFile) {
        let mut state = self.shared.state.lock();
        let disk_bytes = state.obsolete.get(&file.table).copied().unwrap_or(file.len);
        state.stats.pinned_files = state.stats.pinned_files.saturating_sub(1);
        state.stats.pinned_bytes = state.stats.pinned_bytes.saturating_sub(disk_bytes);
        self.put(state, file, disk_bytes);
    }

    /// Takes over the front of a file that nobody reads any more.
    pub(crate) fn release_prefix(&self, prefix: ConsumedPrefix) {
        let mut state = self.shared.state.lock();
        // The same file may have been handed over with less of it.
        state.prefixes.retain(|waiting| waiting.table != prefix.table);
        state.prefixes.push_back(prefix);
        let by_thread = self.wants_thread && !state.is_closing;
        drop(state);
        self.go_on(by_thread);
    }

    /// Has the thread, or this one, look at what is to be done.
    fn go_on(&self, by_thread: bool) {
        if by_thread && self.ensure_thread() {
            self.shared.changed.notify_all();
        } else {
            self.shared.drain(None);
        }
    }

    /// Takes over a file that is to go and that no version ever named.
    pub(crate) fn enqueue(&self, file: ObsoleteFile) {
        let len = file.len;
        self.put(self.shared.state.lock(), file, len);
    }

    fn put(&self, mut state: MutexGuard<'_, State>, file: ObsoleteFile, disk_bytes: u64) {
        // Its front goes with the rest.
        state.prefixes.retain(|waiting| waiting.table != file.table);
        state.stats.queued_files += 1;
        state.stats.queued_bytes += disk_bytes;
        let len = file.len;
        state.queue.push_back(Waiting { file, len, disk_bytes, cut_bytes: 0, attempts: 0, not_before: 0 });
        let by_thread = self.wants_thread && !state.is_closing;
        drop(state);
        self.go_on(by_thread);
    }

    /// Begins the thread unless it is there; `false` when there is none to be had.
    fn ensure_thread(&self) -> bool {
        let mut thread = self.thread.lock();
        if thread.is_some() {
            return true;
        }
        if self.shared.state.lock().is_closing {
            return false;
        }
        let shared = self.shared.clone();
        let spawned = std::thread::Builder::new().name("lsm-reclaim".to_owned()).spawn(move || shared.work());
        match spawned {
            Ok(handle) => *thread = Some(handle),
            Err(error) => tracing::warn!(%error, "no thread to remove files; they are removed in place"),
        }
        thread.is_some()
    }

    /// Holds deletions back, one guard more; returns when none is under way.
    pub(crate) fn hold(&self) {
        let mut state = self.shared.state.lock();
        state.stats.holds += 1;
        while state.is_busy {
            self.shared.changed.wait(&mut state);
        }
    }

    /// One guard less. The last one lets the queue go on.
    pub(crate) fn unhold(&self) {
        let mut state = self.shared.state.lock();
        state.stats.holds = state.stats.holds.saturating_sub(1);
        if state.stats.holds > 0 || (state.queue.is_empty() && state.prefixes.is_empty()) {
            return;
        }
        let by_thread = self.wants_thread && !state.is_closing;
        drop(state);
        self.go_on(by_thread);
    }

    /// The files with these numbers have, or are about to have, a second name: they are only ever unlinked from now on.
    pub(crate) fn mark_exported(&self, files: impl IntoIterator<Item = TableId>) {
        self.shared.exported.lock().extend(files);
    }

    /// Whether a file was given a second name by us.
    pub(crate) fn is_exported(&self, file: TableId) -> bool {
        self.shared.exported.lock().contains(&file)
    }

    pub(crate) fn stats(&self) -> ReclaimStats {
        self.shared.state.lock().stats
    }

    /// Changes the pace from now on.
    pub(crate) fn set_pace(&self, files_per_s: u64, bytes_per_s: u64) {
        let mut state = self.shared.state.lock();
        state.options.files_per_s = files_per_s;
        state.options.bytes_per_s = bytes_per_s;
        state.pacer = Pacer::default();
        drop(state);
        self.shared.changed.notify_all();
    }

    /// Gives back what can be given back now, without minding the pace: for whoever waits for room.
    pub(crate) fn catch_up(&self) {
        let mut state = self.shared.state.lock();
        while state.is_busy {
            self.shared.changed.wait(&mut state);
        }
        drop(state);
        self.shared.drain(None);
    }

    /// Ends the thread, and removes what is left as long as the close timeout allows. What is released later is
    /// removed by whoever releases it.
    pub(crate) fn shut_down(&self) {
        let timeout = {
            let mut state = self.shared.state.lock();
            state.is_closing = true;
            for waiting in &mut state.queue {
                waiting.not_before = 0;
            }
            state.options.close_timeout
        };
        self.shared.changed.notify_all();
        let thread = self.thread.lock().take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the thread that removes files panicked");
        }
        let budget = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
        let deadline = self.shared.clock.monotonic_nanos().saturating_add(budget);
        self.shared.drain(Some(deadline));
        let left = self.stats().queued_files;
        if left > 0 {
            tracing::info!(left, "obsolete files are left to the next open");
        }
    }
}

impl Drop for Reclaimer {
    fn drop(&mut self) {
        self.shut_down();
    }
}

impl std::fmt::Debug for Reclaimer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reclaimer").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

impl Shared {
    /// The thread.
    fn work(&self) {
        let mut state = self.state.lock();
        while !state.is_closing {
            let now = self.clock.monotonic_nanos();
            match state.next(now, true) {
                Next::Work(waiting) => state = self.carry_out(state, waiting),
                Next::Punch(prefix) => state = self.give_back(state, &prefix),
                Next::Later(nanos) => {
                    let _ = self.changed.wait_for(&mut state, Duration::from_nanos(nanos));
                }
                Next::Nothing => self.changed.wait(&mut state),
            }
        }
    }

    /// Removes what can be removed now, without minding the pace, until `deadline`.
    fn drain(&self, deadline: Option<u64>) {
        let mut state = self.state.lock();
        loop {
            let now = self.clock.monotonic_nanos();
            if deadline.is_some_and(|deadline| now > deadline) {
                return;
            }
            // Whoever is at work already comes back for what is in the queue.
            state = match state.next(now, false) {
                Next::Work(waiting) => self.carry_out(state, waiting),
                Next::Punch(prefix) => self.give_back(state, &prefix),
                Next::Later(_) | Next::Nothing => return,
            };
        }
    }

    /// One step on a file, without the lock.
    fn carry_out<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        mut waiting: Waiting,
    ) -> MutexGuard<'a, State> {
        state.is_busy = true;
        let chunk = state.options.chunk_bytes.max(1);
        drop(state);
        let step = self.step(&waiting, chunk);
        let now = self.clock.monotonic_nanos();
        let mut state = self.state.lock();
        state.is_busy = false;
        match step {
            Step::Removed => {
                self.exported.lock().remove(&waiting.file.table);
                state.obsolete.remove(&waiting.file.table);
                state.punched.remove(&waiting.file.table);
                state.charge(now, 1, waiting.len);
                state.stats.queued_files = state.stats.queued_files.saturating_sub(1);
                state.stats.queued_bytes = state.stats.queued_bytes.saturating_sub(waiting.disk_bytes);
                state.stats.removed_files += 1;
                state.stats.removed_bytes += waiting.cut_bytes + waiting.disk_bytes;
            }
            Step::Shrunk(by) => {
                state.charge(now, 0, by);
                // From the end, where nothing was given back before.
                let freed = by.min(waiting.disk_bytes);
                state.stats.queued_bytes = state.stats.queued_bytes.saturating_sub(freed);
                waiting.len -= by;
                waiting.disk_bytes -= freed;
                waiting.cut_bytes += freed;
                state.queue.push_front(waiting);
            }
            Step::Failed(error) => {
                tracing::warn!(%error, table = %waiting.file.table, "an obsolete file could not be removed");
                state.stats.errors += 1;
                waiting.not_before = now.saturating_add(back_off(waiting.attempts));
                waiting.attempts = waiting.attempts.saturating_add(1);
                state.queue.push_back(waiting);
            }
        }
        self.changed.notify_all();
        state
    }

    /// Gives the front of a file back, without the lock.
    fn give_back<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        prefix: &ConsumedPrefix,
    ) -> MutexGuard<'a, State> {
        state.is_busy = true;
        drop(state);
        let outcome = self.punch(prefix);
        let now = self.clock.monotonic_nanos();
        let mut state = self.state.lock();
        state.is_busy = false;
        match outcome {
            Ok(Some(bytes)) => {
                state.charge(now, 0, bytes);
                state.note_punched(prefix.table, bytes);
            }
            Ok(None) => state.stats.punches_refused += 1,
            // The file went as a whole meanwhile.
            Err(error) if error.kind == IoKind::NotFound => {}
            Err(error) => {
                tracing::warn!(%error, table = %prefix.table, "space of a file in use could not be given back");
                state.stats.errors += 1;
            }
        }
        self.changed.notify_all();
        state
    }

    /// The bytes given back; `None` where the file has, or had, another name, or where the volume cannot. The number of
    /// names is looked at through the handle that punches, and while no checkpoint can be linking.
    fn punch(&self, prefix: &ConsumedPrefix) -> Result<Option<u64>, IoError> {
        if self.exported.lock().contains(&prefix.table) {
            return Ok(None);
        }
        let file = self.fs.open(&prefix.path, &OpenOptions::WRITE)?;
        if file.metadata()?.nlink != Some(1) {
            return Ok(None);
        }
        match file.punch_hole(prefix.from, prefix.to - prefix.from) {
            Ok(()) => Ok(Some(prefix.note_released())),
            Err(error) if error.kind == IoKind::Unsupported => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn step(&self, waiting: &Waiting, chunk: u64) -> Step {
        if let Some(by) = self.shrink(waiting, chunk) {
            return Step::Shrunk(by);
        }
        match self.fs.remove_file(&waiting.file.path) {
            Err(error) if error.kind != IoKind::NotFound => Step::Failed(error),
            _ => Step::Removed,
        }
    }

    /// Cuts a large file by `chunk` bytes; `None` when it has to go in one step. The number of names is looked at
    /// through the handle that cuts, and while no checkpoint can be linking.
    fn shrink(&self, waiting: &Waiting, chunk: u64) -> Option<u64> {
        if waiting.len <= chunk || self.exported.lock().contains(&waiting.file.table) {
            return None;
        }
        let file = self.fs.open(&waiting.file.path, &OpenOptions::WRITE).ok()?;
        let found = file.metadata().ok()?;
        if found.nlink != Some(1) || found.len != waiting.len {
            return None;
        }
        file.set_len(waiting.len - chunk).ok().map(|()| chunk)
    }
}

impl State {
    /// So many bytes of a file were given back, which may have become obsolete, and free to go, meanwhile.
    fn note_punched(&mut self, file: TableId, bytes: u64) {
        self.stats.punched_bytes += bytes;
        *self.punched.entry(file).or_default() += bytes;
        if let Some(waiting) = self.queue.iter_mut().find(|waiting| waiting.file.table == file) {
            let freed = bytes.min(waiting.disk_bytes);
            waiting.disk_bytes -= freed;
            self.stats.queued_bytes = self.stats.queued_bytes.saturating_sub(freed);
        } else if let Some(disk_bytes) = self.obsolete.get_mut(&file) {
            let freed = bytes.min(*disk_bytes);
            *disk_bytes -= freed;
            self.stats.pinned_bytes = self.stats.pinned_bytes.saturating_sub(freed);
        }
    }

    /// What can be done at `now`; with `paced`, no sooner than the pace allows.
    fn next(&mut self, now: u64, paced: bool) -> Next {
        if self.is_busy || self.stats.holds > 0 {
            return Next::Nothing;
        }
        // Space comes first where something is being merged for lack of it. It costs a call for each file.
        if (!paced || self.pacer.free_at <= now)
            && let Some(prefix) = self.prefixes.pop_front()
        {
            return Next::Punch(prefix);
        }
        if !self.prefixes.is_empty() {
            return Next::Later(self.pacer.free_at.saturating_sub(now).max(1));
        }
        let Some(due) = self.queue.iter().map(|waiting| waiting.not_before).min() else {
            return Next::Nothing;
        };
        let from = if paced { due.max(self.pacer.free_at) } else { due };
        if from > now {
            return Next::Later(from - now);
        }
        let first = self.queue.iter().position(|waiting| waiting.not_before <= now);
        first.and_then(|at| self.queue.remove(at)).map_or(Next::Nothing, Next::Work)
    }

    fn charge(&mut self, now: u64, files: u64, bytes: u64) {
        self.pacer.charge(now, (files, self.options.files_per_s), (bytes, self.options.bytes_per_s));
    }
}

/// Says when the next step may begin: steps pay afterwards for what they did.
#[derive(Clone, Copy, Default, Debug)]
struct Pacer {
    free_at: u64,
}

impl Pacer {
    /// Charges amounts against their rates per second, 0 standing for no limit.
    fn charge(&mut self, now: u64, files: (u64, u64), bytes: (u64, u64)) {
        let nanos = nanos_for(files).max(nanos_for(bytes));
        self.free_at = self.free_at.max(now).saturating_add(nanos);
    }
}

fn nanos_for((amount, per_s): (u64, u64)) -> u64 {
    const SECOND: u128 = 1_000_000_000;
    let nanos = (u128::from(amount) * SECOND).checked_div(per_s.into()).unwrap_or(0);
    u64::try_from(nanos).unwrap_or(u64::MAX)
}

/// 10 ms after the first failure, twice as long after each further one, at most 10 s.
fn back_off(attempts: u32) -> u64 {
    const FIRST: u64 = 10_000_000;
    const MOST: u64 = 10_000_000_000;
    FIRST.checked_shl(attempts.min(20)).unwrap_or(MOST).min(MOST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lsm_fs::{MemFs, SystemClock};
    use std::path::{Path, PathBuf};

    const SECOND: u64 = 1_000_000_000;

    #[track_caller]
    fn check_pace(steps: &[(u64, u64, u64)], rates: (u64, u64), expected: u64) {
        let mut pacer = Pacer::default();
        for (now, files, bytes) in steps {
            pacer.charge(*now, (*files, rates.0), (*bytes, rates.1));
        }
        assert_eq!(pacer.free_at, expected);
    }

    /// Proves D-66: the slower of the two rates decides, and what was not used is not saved up.
    #[test]
    fn steps_pay_for_what_they_did() {
        check_pace(&[(5, 1, 1_000)], (0, 0), 5);
        check_pace(&[(0, 1, 0), (0, 1, 0)], (4, 0), SECOND / 2);
        check_pace(&[(0, 1, 300)], (4, 100), 3 * SECOND);
        check_pace(&[(0, 1, 0), (10 * SECOND, 1, 0)], (1, 0), 11 * SECOND);
        check_pace(&[(0, 1, u64::MAX)], (1, 1), u64::MAX);
    }

    /// Proves D-66.
    #[test]
    fn failures_are_repeated_later_and_later() {
        let waits: Vec<_> = (0..14).map(back_off).collect();
        assert!(waits.windows(2).all(|pair| pair[0] <= pair[1]));
        assert_eq!((waits[0], waits[13], back_off(u32::MAX)), (10_000_000, 10 * SECOND, 10 * SECOND));
    }

    fn file(fs: &MemFs, number: u64, len: u64) -> ObsoleteFile {
        let path = PathBuf::from(format!("/{number}"));
        fs.open(&path, &OpenOptions::CREATE_NEW).unwrap().set_len(len).unwrap();
        ObsoleteFile { table: TableId::new(number), path, len }
    }

    /// Proves D-66: a pace set to nearly nothing holds the queue back, and can be lifted; closing does not wait for it.
    #[test]
    fn the_pace_can_be_changed_and_does_not_hold_up_closing() {
        for lift in [true, false] {
            let fs = Arc::new(MemFs::new());
            let options = ReclaimOptions { thread: Some(true), bytes_per_s: 1, ..ReclaimOptions::default() };
            let reclaimer = Reclaimer::new(fs.clone(), Arc::new(SystemClock::new()), options, []);
            for number in 0..4 {
                reclaimer.note_obsolete(TableId::new(number), 1_000_000);
                reclaimer.release(file(&fs, number, 1_000_000));
            }
            let wait = |done: &dyn Fn(&State) -> bool| {
                let mut state = reclaimer.shared.state.lock();
                while !done(&state) {
                    reclaimer.shared.changed.wait(&mut state);
                }
            };
            wait(&|state| state.stats.removed_files == 1);
            assert_eq!(reclaimer.stats().queued_files, 3, "the next is due in eleven days");
            if lift {
                reclaimer.set_pace(0, 0);
                wait(&|state| state.stats.removed_files == 4);
            }
            reclaimer.shut_down();
            assert_eq!((reclaimer.stats().queued_files, reclaimer.stats().removed_bytes), (0, 4_000_000));
            assert!(fs.read_dir(Path::new("/")).unwrap().is_empty());
            // Whoever lets go of a file later removes it.
            reclaimer.enqueue(file(&fs, 9, 10));
            assert!(fs.read_dir(Path::new("/")).unwrap().is_empty());
        }
    }

    /// Proves D-65, D-66: a large file shrinks by steps, one with a second name or a changed length goes at once.
    #[test]
    fn large_files_shrink_unless_somebody_shares_them() {
        let fs = Arc::new(MemFs::new());
        let options = ReclaimOptions { chunk_bytes: 300, ..ReclaimOptions::default() };
        let reclaimer = Reclaimer::new(fs.clone(), Arc::new(SystemClock::new()), options, [TableId::new(7)]);
        let steps = |file: ObsoleteFile| {
            let mut waiting = Waiting {
                len: file.len,
                disk_bytes: file.len,
                cut_bytes: 0,
                file,
                attempts: 0,
                not_before: 0,
            };
            let mut lens = Vec::new();
            while let Step::Shrunk(by) = reclaimer.shared.step(&waiting, 300) {
                waiting.len -= by;
                lens.push(fs.metadata(&waiting.file.path).unwrap().len);
            }
            assert!(!fs.exists(&waiting.file.path).unwrap());
            lens
        };
        assert_eq!(steps(file(&fs, 1, 1_000)), [700, 400, 100]);
        assert_eq!(steps(file(&fs, 2, 300)), [0; 0]);
        assert_eq!(steps(file(&fs, 7, 1_000)), [0; 0], "it was exported");
        let linked = file(&fs, 3, 1_000);
        fs.hard_link(&linked.path, Path::new("/other")).unwrap();
        assert_eq!(steps(linked), [0; 0]);
        assert_eq!(fs.metadata(Path::new("/other")).unwrap().len, 1_000);
        let changed = ObsoleteFile { len: 2_000, ..file(&fs, 4, 1_000) };
        assert_eq!(steps(changed), [0; 0]);
    }
}
