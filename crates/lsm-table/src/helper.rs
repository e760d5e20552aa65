//! A second thread for the blocks of a writer.
//!
//! The writer puts closed blocks into a queue and goes on; a helper, lent by whoever has threads, compresses the oldest
//! that nobody has begun. What the writer needs and has not got it does itself, also what the helper is at, when nothing else
//! is left to do: it never waits, be it for a thread that never comes or for one that the system does not run. While
//! there is no helper there is no queue either.
//!
//! ```text
//!           oldest                                newest
//! queue:    done  done  taken  waiting  waiting  waiting   <- writer closes blocks
//!            |             |      ^
//!   writer appends      helper   next for whoever is free
//! ```
//!
//! A helper leaves when there has been nothing to do for a while, and after a few mebibytes in any case: the thread is
//! the pool's, and others may wait for it. The writer then asks for another.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, ThreadId},
    time::Duration,
};

use lsm_codec::{Compression, Encoder};
use lsm_sst::{BlockJob, BlockJobs};
use lsm_types::{Result, Spawner};
use parking_lot::{Condvar, Mutex};

use crate::TableError;

/// Bytes that a writer compresses alone before it asks for help, and before it asks again.
const ASK_EVERY: usize = 128 << 10;
/// A helper that waits is woken when so many bytes wait for it: a call of the system for many blocks.
const WAKE_AT: usize = 64 << 10;
/// A helper that found nothing to do for so long leaves.
const PATIENCE: Duration = Duration::from_millis(10);
/// Bytes after which a helper leaves.
const VISIT_BYTES: usize = 16 << 20;

/// Help for one writer. Dropping it sends the helper away.
pub(crate) struct Help {
    shared: Arc<Shared>,
}

struct Shared {
    threads: Arc<dyn Spawner>,
    /// What is done with a block. A field, because compressing one does not fail in tests.
    work: fn(&mut BlockJob, &mut Encoder),
    state: Mutex<State>,
    /// There is work for the helper, or it may leave.
    has_work: Condvar,
    is_asked: AtomicBool,
    is_manned: AtomicBool,
    /// Bytes until the writer asks.
    until_ask: AtomicUsize,
}

#[derive(Default)]
struct State {
    /// Oldest first; those from `next` on wait.
    blocks: VecDeque<Block>,
    /// Number of the block at the front.
    first: u64,
    /// Number of the oldest block that waits, or of the one to come.
    next: u64,
    waiting_bytes: usize,
    spare: Vec<BlockJob>,
    /// Of the helper, while none is there.
    encoder: Option<Encoder>,
    helper_waits: bool,
    is_closed: bool,
}

enum Block {
    Waiting(BlockJob),
    /// What is left here is for a writer who does not wait.
    Taken(BlockJob),
    Done(BlockJob),
    Panicked(String),
}

impl State {
    fn take_waiting(&mut self) -> Option<(u64, BlockJob)> {
        let number = self.next;
        let block = self.blocks.get_mut(usize::try_from(number - self.first).ok()?)?;
        let Block::Waiting(job) = block else { return None };
        let again = Block::Taken(job.again());
        let Block::Waiting(job) = std::mem::replace(block, again) else { return None };
        self.next += 1;
        self.waiting_bytes -= job.payload_len();
        Some((number, job))
    }

    /// Puts a block that was taken back to its place, if that is still there.
    fn put_back(&mut self, number: u64, block: Block) {
        let idx = number.checked_sub(self.first).and_then(|idx| usize::try_from(idx).ok());
        match (idx.and_then(|idx| self.blocks.get_mut(idx)), block) {
            (Some(place), block) => *place = block,
            (None, Block::Done(job)) if !self.is_closed => self.spare.push(job),
            (None, _) => {}
        }
    }

    fn pop(&mut self) -> Option<Block> {
        let block = self.blocks.pop_front()?;
        if let Block::Waiting(job) = &block {
            self.next += 1;
            self.waiting_bytes -= job.payload_len();
        }
        self.first += 1;
        Some(block)
    }

    /// Gives up all blocks. One that was taken finds its place gone.
    fn clear(&mut self) {
        while let Some(block) = self.pop() {
            if let Block::Waiting(job) | Block::Done(job) = block {
                self.spare.push(job);
            }
        }
    }

    fn memory_len(&self) -> usize {
        let of = |block: &Block| match block {
            Block::Waiting(job) | Block::Taken(job) | Block::Done(job) => job.memory_len(),
            Block::Panicked(_) => 0,
        };
        let blocks: usize = self.blocks.iter().map(of).sum();
        let places = self.blocks.capacity() * size_of::<Block>();
        blocks + places + self.spare.iter().map(BlockJob::memory_len).sum::<usize>()
    }
}

impl Help {
    /// Help from `threads`.
    pub(crate) fn new(threads: Arc<dyn Spawner>) -> Self {
        Self::with_work(threads, BlockJob::run)
    }

    fn with_work(threads: Arc<dyn Spawner>, work: fn(&mut BlockJob, &mut Encoder)) -> Self {
        let shared = Shared {
            threads,
            work,
            state: Mutex::default(),
            has_work: Condvar::new(),
            is_asked: AtomicBool::new(false),
            is_manned: AtomicBool::new(false),
            until_ask: AtomicUsize::new(ASK_EVERY),
        };
        Self { shared: Arc::new(shared) }
    }

    /// A queue for the blocks of one table; there is one at a time.
    pub(crate) fn queue(&self) -> Box<dyn BlockJobs> {
        Box::new(Queue { shared: self.shared.clone() })
    }
}

impl Drop for Help {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock();
        state.is_closed = true;
        (state.spare, state.encoder) = (Vec::new(), None);
        drop(state);
        self.shared.has_work.notify_one();
    }
}

struct Queue {
    shared: Arc<Shared>,
}

impl BlockJobs for Queue {
    fn is_manned(&mut self, payload_len: usize) -> bool {
        let shared = &self.shared;
        if shared.is_manned.load(Ordering::Relaxed) {
            return true;
        }
        // Nobody else counts down.
        let left = shared.until_ask.load(Ordering::Relaxed);
        let is_time = left <= payload_len;
        shared.until_ask.store(if is_time { ASK_EVERY } else { left - payload_len }, Ordering::Relaxed);
        if is_time {
            shared.ask();
        }
        false
    }

    fn hand_over(&mut self, payload: &mut Vec<u8>, compression: Compression) {
        let mut state = self.shared.state.lock();
        let mut job = state.spare.pop().unwrap_or_default();
        job.refill(payload, compression);
        state.waiting_bytes += job.payload_len();
        state.blocks.push_back(Block::Waiting(job));
        if state.helper_waits && state.waiting_bytes >= WAKE_AT {
            state.helper_waits = false;
            drop(state);
            self.shared.has_work.notify_one();
        }
    }

    fn take_back(&mut self, job: &mut BlockJob, encoder: &mut Encoder) -> Result<()> {
        let shared = &*self.shared;
        let mut state = shared.state.lock();
        while let Some(Block::Taken(_)) = state.blocks.front() {
            let Some((number, mut other)) = state.take_waiting() else { break };
            drop(state);
            (shared.work)(&mut other, encoder);
            state = shared.state.lock();
            state.put_back(number, Block::Done(other));
        }
        match state.pop() {
            Some(Block::Waiting(next) | Block::Taken(next) | Block::Done(next)) => {
                let used = std::mem::replace(job, next);
                state.spare.push(used);
                Ok(())
            }
            Some(Block::Panicked(message)) => Err(TableError::HelperPanicked { message }.into()),
            None => Err(TableError::NoSuchBlock.into()),
        }
    }

    fn memory_len(&self) -> usize {
        self.shared.state.lock().memory_len()
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.shared.state.lock().clear();
    }
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").field("is_manned", &self.shared.is_manned).finish_non_exhaustive()
    }
}

impl Shared {
    /// Asks for a helper, unless one has been asked for.
    fn ask(self: &Arc<Self>) {
        if self.is_asked.swap(true, Ordering::AcqRel) {
            return;
        }
        let visit = Visit { shared: self.clone(), asked_by: thread::current().id() };
        self.threads.spawn(Box::new(move || visit.run()));
    }

    fn help(&self) {
        let mut state = self.state.lock();
        if state.is_closed {
            return;
        }
        self.is_manned.store(true, Ordering::Relaxed);
        let mut encoder = state.encoder.take().unwrap_or_default();
        let mut left = VISIT_BYTES;
        while left > 0 && !state.is_closed {
            let Some((number, mut job)) = state.take_waiting() else {
                state.helper_waits = true;
                let is_late = self.has_work.wait_for(&mut state, PATIENCE).timed_out();
                state.helper_waits = false;
                if is_late && state.waiting_bytes == 0 {
                    break;
                }
                continue;
            };
            drop(state);
            left = left.saturating_sub(job.payload_len().max(1));
            // A job whose work panicked is not looked at again, and neither is the encoder.
            let outcome = catch_unwind(AssertUnwindSafe(|| (self.work)(&mut job, &mut encoder)));
            let panic = outcome.err().map(|panic| panic_message(panic.as_ref()));
            let has_panicked = panic.is_some();
            state = self.state.lock();
            state.put_back(number, panic.map_or(Block::Done(job), Block::Panicked));
            if has_panicked {
                return;
            }
        }
        if !state.is_closed {
            state.encoder = Some(encoder);
        }
    }
}

/// A helper who was asked for: on his way, or there.
struct Visit {
    shared: Arc<Shared>,
    asked_by: ThreadId,
}

impl Visit {
    fn run(self) {
        // Some pools run a task on the thread that hands it over: who waits there for the writer waits for himself.
        if thread::current().id() != self.asked_by {
            self.shared.help();
        }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.shared.is_manned.store(false, Ordering::Relaxed);
        self.shared.is_asked.store(false, Ordering::Release);
    }
}

/// What a panic said.
fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text =
        panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no message").to_owned()
}

#[cfg(test)]
mod tests {
    use lsm_types::ErrorKind;

    use super::*;

    /// What a test does with the tasks it is given.
    enum Pool {
        /// Runs none of them.
        Drops,
        /// Runs each at once, on the thread that hands it over.
        AtOnce,
        /// Runs each on a thread of its own.
        Threads,
    }

    impl Spawner for Pool {
        fn spawn(&self, task: Box<dyn FnOnce() + Send>) {
            match self {
                Self::Drops => {}
                Self::AtOnce => task(),
                Self::Threads => drop(thread::spawn(task)),
            }
        }
    }

    fn payload(number: usize, len: usize) -> Vec<u8> {
        number.to_le_bytes().iter().copied().cycle().take(len).collect()
    }

    /// Hands blocks of `len` over as a builder does, up to `flight` at a time, while somebody is there; how many went and
    /// how many came back, all in their order.
    fn work_off(help: &Help, blocks: usize, len: usize, flight: usize) -> Result<(usize, usize)> {
        let mut queue = help.queue();
        let (mut job, mut encoder) = (BlockJob::default(), Encoder::new());
        let (mut sent, mut back) = (0, 0);
        let mut back_one = |queue: &mut Box<dyn BlockJobs>, back: &mut usize| {
            queue.take_back(&mut job, &mut encoder)?;
            assert_eq!(job.payload_len(), len + *back % 7, "in order");
            *back += 1;
            Ok::<(), lsm_types::Error>(())
        };
        for number in 0..blocks {
            let mut block = payload(number, len + sent % 7);
            if queue.is_manned(block.len()) {
                queue.hand_over(&mut block, Compression::Lz4.or_weaker());
                assert!(block.is_empty());
                sent += 1;
            }
            if sent - back > flight {
                back_one(&mut queue, &mut back)?;
            }
        }
        while back < sent {
            back_one(&mut queue, &mut back)?;
        }
        Ok((sent, back))
    }

    /// Proves C-142: nothing is waited for that has not begun, whatever becomes of the tasks, and all comes back in order.
    #[test]
    fn every_pool_ends() {
        for pool in [Pool::Drops, Pool::AtOnce, Pool::Threads] {
            let is_helped = matches!(pool, Pool::Threads);
            let help = Help::new(Arc::new(pool));
            for len in [500, 5_000, 200_000] {
                let (sent, back) = work_off(&help, 2_000_000 / len, len, 8).unwrap();
                assert_eq!(sent, back);
                assert!(is_helped || sent == 0, "without a helper nothing is queued");
            }
        }
    }

    /// A queue that was begun with a helper there, whatever the pool does.
    fn manned(pool: Pool, work: fn(&mut BlockJob, &mut Encoder)) -> Help {
        let help = Help::with_work(Arc::new(pool), work);
        help.shared.is_manned.store(true, Ordering::Relaxed);
        help
    }

    /// Proves C-142: blocks that a helper leaves are the writer's.
    #[test]
    fn a_helper_that_is_gone_is_not_waited_for() {
        let help = manned(Pool::Drops, BlockJob::run);
        assert_eq!(work_off(&help, 100, 4_000, 8).unwrap(), (100, 100));
    }

    /// Proves C-142: while a helper has the oldest block, the writer does the others, and then that one, too.
    #[test]
    fn the_writer_does_not_wait() {
        let help = manned(Pool::Drops, BlockJob::run);
        let mut queue = help.queue();
        for number in 0..3 {
            queue.hand_over(&mut payload(number, 100 + number), Compression::Lz4.or_weaker());
        }
        let (number, taken) = help.shared.state.lock().take_waiting().unwrap();
        let (mut job, mut encoder) = (BlockJob::default(), Encoder::new());
        queue.take_back(&mut job, &mut encoder).unwrap();
        assert_eq!(job.payload_len(), 100);
        assert!(help.shared.state.lock().blocks.iter().all(|block| matches!(block, Block::Done(_))));
        // What comes too late is of no use, and does no harm.
        help.shared.state.lock().put_back(number, Block::Done(taken));
        for number in 1..3 {
            queue.take_back(&mut job, &mut encoder).unwrap();
            assert_eq!(job.payload_len(), 100 + number);
        }
        assert!(queue.take_back(&mut job, &mut encoder).is_err());
    }

    /// Proves C-145: a panic of the helper ends the writer's work with an error, and nothing else.
    /// Fault: formats W-38.
    #[test]
    fn a_panic_is_an_error_of_the_writer() {
        fn panics(job: &mut BlockJob, _: &mut Encoder) {
            assert!(job.payload_len() == 0, "on purpose");
        }
        let help = manned(Pool::Drops, panics);
        let mut queue = help.queue();
        queue.hand_over(&mut payload(1, 100), Compression::Lz4.or_weaker());
        queue.hand_over(&mut payload(2, 100), Compression::Lz4.or_weaker());
        let shared = help.shared.clone();
        thread::spawn(move || shared.help()).join().unwrap();
        let (mut job, mut encoder) = (BlockJob::default(), Encoder::new());
        let error = queue.take_back(&mut job, &mut encoder).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Bug);
        assert!(error.to_string().contains("on purpose"), "{error}");
        // The one behind was not begun.
        queue.take_back(&mut job, &mut encoder).unwrap();
        assert!(queue.take_back(&mut job, &mut encoder).is_err());
    }

    /// Writers come and go in the middle of everything, and the queue of the next table has nothing of the one before.
    #[test]
    fn stress() {
        for round in 0..60 {
            let help = Help::new(Arc::new(Pool::Threads));
            help.shared.until_ask.store(1, Ordering::Relaxed);
            for table in 0..6 {
                let mut queue = help.queue();
                let len = 300 + table;
                let mut handed = 0;
                for number in 0..100 {
                    if queue.is_manned(len) {
                        queue.hand_over(&mut payload(number, len), Compression::Lz4.or_weaker());
                        handed += 1;
                    }
                }
                // Some are left behind.
                let (mut job, mut encoder) = (BlockJob::default(), Encoder::new());
                for _ in 0..handed * (round % 3) / 2 {
                    if help.shared.state.lock().blocks.is_empty() {
                        break;
                    }
                    queue.take_back(&mut job, &mut encoder).unwrap();
                    assert_eq!(job.payload_len(), len);
                }
            }
        }
    }
}
