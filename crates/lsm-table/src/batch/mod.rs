//! Reads of many keys at once: blocks that are missing are collected, read together by whoever drives the batch, and
//! held until no key needs them any more.
//!
//! [`Table::look_up`](crate::Table::look_up) goes as far as memory allows and notes here what it misses. The owner then
//! takes [`BlockBatch::plan`], has the reads done by any means, and hands what came of them to [`BlockBatch::supply`].
//! Nothing in between waits for anybody, so a batch may be dropped at any point.

mod blocks;
mod look_up;
mod reads;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use lsm_block::ByteRange;
use lsm_sst::{BlockRef, OpenSst, Step};
use lsm_types::{Error, Result, Slice};

use crate::{cache::CachedBlock, table::TableInner};

pub use look_up::{Answer, LookUp, Progress};
pub use reads::BlockRead;
use reads::coalesce;

/// How much a batch reads at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BatchLimits {
    /// Bytes of data blocks that are wanted at a time; a longer block comes alone.
    pub data_bytes: u64,
    /// The same for indexes, filters and what opening a table reads.
    pub metadata_bytes: u64,
    /// Longest read that neighbouring blocks are put together to.
    pub read_bytes: u64,
}

impl Default for BatchLimits {
    fn default() -> Self {
        Self { data_bytes: 4 << 20, metadata_bytes: 4 << 20, read_bytes: 1 << 20 }
    }
}

/// The blocks that a batch of reads waits for, and those that were read for it.
///
/// What it reads goes into the block cache as well, until it has filled half of that: one batch does not drive out what
/// everybody else reads. Blocks beyond are dropped when the batch is past them, and values in them are copied.
pub struct BlockBatch {
    limits: BatchLimits,
    held: HashMap<Spot, Held>,
    failed: HashMap<Spot, Error>,
    /// Blocks that are read by themselves: a longer read that held them failed, maybe because of another one.
    alone: HashSet<Spot>,
    /// Those missing, in the order in which they were noticed.
    wants: Vec<Want>,
    /// The spots of all that are missing or being read.
    wanted: HashSet<Spot>,
    /// What the reads are for, in the order of the reads.
    planned: Vec<Want>,
    reads: Vec<BlockRead>,
    /// Bytes given to the cache so far.
    cached_bytes: u64,
    stage: usize,
}

/// Something that is missing, by its place.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
struct Spot {
    /// The file's number in the block cache.
    file: u64,
    place: Place,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
enum Place {
    /// What opening the table reads.
    Opening,
    /// The frame at this offset.
    Frame(u64),
}

/// A block that was read for the batch.
struct Held {
    block: CachedBlock,
    /// Whether it went into the cache.
    cached: bool,
    stage: usize,
}

/// A range of a file, and what becomes of its bytes.
struct Want {
    table: Arc<TableInner>,
    spot: Spot,
    range: ByteRange,
    goal: Goal,
    stage: usize,
}

enum Goal {
    Open(Box<OpenSst>),
    Filter(usize),
    Index(BlockRef),
    Data(BlockRef),
}

impl BlockBatch {
    /// Nothing read yet.
    pub fn new(limits: BatchLimits) -> Self {
        Self {
            limits,
            held: HashMap::new(),
            failed: HashMap::new(),
            alone: HashSet::new(),
            wants: Vec::new(),
            wanted: HashSet::new(),
            planned: Vec::new(),
            reads: Vec::new(),
            cached_bytes: 0,
            stage: 0,
        }
    }

    /// From now on tables of stage `stage` are looked at. A table belongs to one stage.
    pub fn enter(&mut self, stage: usize) {
        self.stage = stage;
    }

    /// No table of a stage before `stage` is looked at again.
    pub fn leave(&mut self, stage: usize) {
        self.held.retain(|_, held| held.stage >= stage);
    }

    /// The reads that what is missing needs, neighbouring blocks in one; none when nothing is missing.
    pub fn plan(&mut self) {
        debug_assert!(self.reads.is_empty(), "reads are supplied before others are planned");
        let (mut data_bytes, mut metadata_bytes) = (0, 0);
        for want in std::mem::take(&mut self.wants) {
            let (used, limit) = match want.goal {
                Goal::Data(_) => (&mut data_bytes, self.limits.data_bytes),
                _ => (&mut metadata_bytes, self.limits.metadata_bytes),
            };
            let after = want.range.len.saturating_add(*used);
            if *used == 0 || after <= limit {
                *used = after;
                self.planned.push(want);
            } else {
                self.wants.push(want);
            }
        }
        self.planned.sort_by_key(|want| want.spot);
        self.reads = coalesce(&self.planned, &self.alone, self.limits.read_bytes);
    }

    /// The reads planned last that were not supplied yet.
    pub fn reads(&self) -> &[BlockRead] {
        &self.reads
    }

    /// Has the reads planned last done, one after the other, and waits for each. The system hears of all of them before
    /// the first, so that a device may work on several.
    pub fn perform(&mut self) {
        if let [_, later @ ..] = &*self.reads {
            later.iter().for_each(BlockRead::announce);
        }
        let outcomes: Vec<_> = self.reads.iter().map(BlockRead::read).collect();
        self.supply(outcomes);
    }

    /// Takes what came of the reads planned last, in their order. Where `outcomes` ends early, or bytes are too few or
    /// too many, the read counts as failed.
    ///
    /// What goes wrong is kept for the look-ups that need the block; where neighbours were read together and that
    /// failed, each is read again by itself.
    pub fn supply(&mut self, outcomes: impl IntoIterator<Item = Result<Slice>>) {
        let mut outcomes = outcomes.into_iter();
        let mut wants = std::mem::take(&mut self.planned).into_iter();
        for read in std::mem::take(&mut self.reads) {
            let outcome = match outcomes.next() {
                Some(Ok(bytes)) if bytes.len() == read.len() => Ok(bytes),
                Some(Err(error)) => Err(error),
                Some(Ok(_)) | None => Err(read.fell_short()),
            };
            let parts = wants.by_ref().take(read.blocks());
            match outcome {
                Ok(bytes) if read.blocks() == 1 => parts.for_each(|want| self.take(want, bytes.clone())),
                Ok(bytes) => {
                    let mut rest = &bytes[..];
                    for want in parts {
                        let len = usize::try_from(want.range.len).unwrap_or(usize::MAX).min(rest.len());
                        let (frame, behind) = rest.split_at(len);
                        rest = behind;
                        // A copy: a block that is kept must not keep its neighbours' bytes.
                        self.take(want, Slice::copy_from(frame));
                    }
                }
                Err(error) if read.blocks() == 1 => parts.for_each(|want| self.fail(&want, error.clone())),
                Err(_) => {
                    for want in parts {
                        self.wanted.remove(&want.spot);
                        self.alone.insert(want.spot);
                    }
                }
            }
        }
    }

    /// Makes of `bytes` what they were read for.
    fn take(&mut self, mut want: Want, bytes: Slice) {
        let outcome = match &mut want.goal {
            Goal::Open(machine) => match machine.feed(bytes) {
                Ok(Step::Need(range)) => {
                    want.range = range;
                    self.wants.push(want);
                    return;
                }
                Ok(Step::Done(layout)) => want.table.install(layout).map(|_| None),
                Err(error) => Err(error),
            },
            goal => Self::decode(&want.table, goal, &bytes),
        };
        match outcome {
            Ok(block) => {
                self.wanted.remove(&want.spot);
                if let Some(block) = block {
                    self.hold(&want, block);
                }
            }
            Err(error) => self.fail(&want, error),
        }
    }

    /// The block in the bytes of a frame; `None` when it stays with the table.
    fn decode(table: &TableInner, goal: &Goal, frame: &Slice) -> Result<Option<CachedBlock>> {
        // Its blocks were missed, so the table is open.
        let opened = table.opened()?;
        match *goal {
            Goal::Data(at) => table.take_point(&opened.layout, at, frame).map(Some),
            Goal::Index(at) => table.take_index(&opened.layout, at, frame).map(Some),
            Goal::Filter(part) => table.take_filter(opened, part, frame),
            Goal::Open(_) => Ok(None),
        }
    }

    fn hold(&mut self, want: &Want, block: CachedBlock) {
        let (cache, Spot { file, .. }) = (&want.table.env.cache, want.spot);
        let after = self.cached_bytes.saturating_add(block.weight());
        let cached = after <= cache.capacity() / 2;
        if cached {
            self.cached_bytes = after;
            cache.insert(file, want.range.offset, block.clone());
        }
        self.held.insert(want.spot, Held { block, cached, stage: want.stage });
    }

    fn fail(&mut self, want: &Want, error: Error) {
        self.wanted.remove(&want.spot);
        match (&want.goal, want.table.opened_already()) {
            // Without it reads are slower, and no worse.
            (Goal::Filter(part), Some(opened)) => want.table.give_up_filter(opened, *part, &error),
            _ => drop(self.failed.insert(want.spot, error)),
        }
    }
}

impl std::fmt::Debug for BlockBatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlockBatch")
            .field("held", &self.held.len())
            .field("wanted", &self.wanted.len())
            .field("reads", &self.reads)
            .finish_non_exhaustive()
    }
}
