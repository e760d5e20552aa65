//! The machine: every key on its own way through the containers, all of them side by side.
//!
//! The keys are sorted once, equal ones become one. In a pass over the runs, newest first, the keys that stand before a
//! run are looked up together, table by table; a key that finds what decides it leaves, one that misses a block stays
//! where it is, the others go on to the next run. So at the end of a pass all keys that are left miss something, and
//! everything they miss, in whatever table of whatever level, is read at once.
//!
//! No key looks at a table, or needs a block, that a read of it alone would not need (see [`crate::get`]).

use lsm_iter::Candidate;
use lsm_table::{BatchLimits, BlockBatch, BlockRead, CacheUse, LookUp, Table};
use lsm_types::{KeyHash, KeyOrder, Result, Slice};

use super::way::{Read, Stand, Way};
use crate::{EngineError, deletes::Hindrance, fold::offer_memtable, get::FoundValue, reader::ReadPoint};

/// A read of many keys. The keys are given to each call again, always the same.
pub(super) struct Batch {
    /// For each key as it was given its way.
    way_of: Vec<usize>,
    /// One for each key, in the order of keys.
    ways: Vec<Way>,
    /// Those that have not ended.
    open: Vec<usize>,
    blocks: BlockBatch,
}

impl Batch {
    pub(super) fn new(keys: &[&[u8]], point: &ReadPoint<'_>) -> Self {
        let sorted = sorted(keys, point.order);
        let mut ways: Vec<Way> = Vec::with_capacity(keys.len());
        let mut way_of = vec![0; keys.len()];
        let mut previous: Option<&[u8]> = None;
        for index in sorted {
            let key = keys.get(index).copied().unwrap_or_default();
            if previous == Some(key) {
                // Equal keys ascend by their place, so the last one stays.
                ways.last_mut().into_iter().for_each(|way| way.key = index);
            } else {
                ways.push(Way::new(index, KeyHash::of(key), point));
            }
            previous = Some(key);
            way_of.get_mut(index).into_iter().for_each(|way| *way = ways.len() - 1);
        }
        let open = (0..ways.len()).collect();
        Self { way_of, ways, open, blocks: BlockBatch::new(BatchLimits::default()) }
    }

    /// What is wanted; nothing once all keys are through.
    pub(super) fn reads(&self) -> &[BlockRead] {
        self.blocks.reads()
    }

    /// Has what is wanted read, and waits for it.
    pub(super) fn perform(&mut self) {
        self.blocks.perform();
    }

    /// Takes what came of what was wanted.
    pub(super) fn supply(&mut self, outcomes: impl IntoIterator<Item = Result<Slice>>) {
        self.blocks.supply(outcomes);
    }

    /// Goes on as far as memory allows.
    pub(super) fn advance(&mut self, keys: &[&[u8]], point: &ReadPoint<'_>) {
        let Self { ways, open, blocks, .. } = self;
        let mut pass = Pass { keys, point, ways, blocks, look_ups: Vec::with_capacity(open.len()) };
        for at in &*open {
            pass.memory(*at);
        }
        for run in pass.first_run(open)..point.view.runs.len() {
            pass.run(open, run);
        }
        for at in &*open {
            pass.end(*at);
        }
        open.retain(|at| ways.get(*at).is_some_and(|way| way.stand != Stand::End));
        if open.is_empty() {
            fetch(ways, keys, point);
        }
        if let Some(first) =
            open.iter().filter_map(|at| ways.get(*at)).map(|way| way.stand.run().unwrap_or(0)).min()
        {
            blocks.leave(first);
            blocks.plan();
            debug_assert!(!blocks.reads().is_empty(), "a key that is not through misses something");
        }
    }

    /// What came of each key, in the order in which they were given.
    pub(super) fn finish(self) -> impl Iterator<Item = Result<Option<Slice>>> {
        let mut ways = self.ways;
        self.way_of.into_iter().enumerate().map(move |(index, way)| {
            let Some(way) = ways.get_mut(way) else { return Ok(None) };
            match &mut way.read {
                Read::Done(outcome) if way.key == index => std::mem::replace(outcome, Ok(None)),
                Read::Done(outcome) => outcome.clone(),
                _ => {
                    let problem = "it was finished while it wanted reads";
                    Err(EngineError::InvalidArgument { argument: "multi_get", problem }.into())
                }
            }
        })
    }
}

/// Fetches the separated values that were found, file by file.
fn fetch(ways: &mut [Way], keys: &[&[u8]], point: &ReadPoint<'_>) {
    let mut places: Vec<usize> = Vec::new();
    let mut wants: Vec<(&[u8], &[u8])> = Vec::new();
    for (at, way) in ways.iter().enumerate() {
        if let Read::Separated(stored) = &way.read {
            places.push(at);
            wants.push((keys.get(way.key).copied().unwrap_or_default(), stored));
        }
    }
    if places.is_empty() {
        return;
    }
    let values = point.view.vlogs.values(&wants, CacheUse::Fill);
    for (at, value) in places.into_iter().zip(values) {
        ways.get_mut(at).into_iter().for_each(|way| way.read = Read::Done(value.clone().map(Some)));
    }
}

/// One pass over all containers.
struct Pass<'p, 'k> {
    keys: &'p [&'k [u8]],
    point: &'p ReadPoint<'p>,
    ways: &'p mut [Way],
    blocks: &'p mut BlockBatch,
    /// Keys that are looked for in one table.
    look_ups: Vec<LookUp<'k>>,
}

impl Pass<'_, '_> {
    /// Takes a key past range tombstones and memtables.
    fn memory(&mut self, at: usize) {
        let Some(way) = self.ways.get_mut(at).filter(|way| way.stand == Stand::Memory) else { return };
        let key = self.keys.get(way.key).copied().unwrap_or_default();
        let ReadPoint { view, before, order, .. } = *self.point;
        match view.covering_in_memory(key, before, order) {
            Ok(delete) => delete.into_iter().for_each(|delete| way.read.cover(delete)),
            Err(Hindrance::Failed(error)) => return way.fail(error),
            Err(Hindrance::Closed(table)) => {
                return table.want_open(self.blocks).unwrap_or_else(|error| way.fail(error));
            }
        }
        let mut offer = |candidate: Candidate<FoundValue<'_>>| way.read.offer(owned(candidate));
        let mut outcome = match &view.overlay {
            Some(overlay) => offer_memtable(&overlay.entries, key, way.hash, before, &mut offer),
            None => Ok(()),
        };
        let before = view.tree_bound(before);
        if outcome.is_ok() {
            outcome = offer_memtable(&view.active.entries, key, way.hash, before, &mut offer);
        }
        for sealed in view.sealed.iter() {
            if outcome.is_ok() && !way.read.can_stop(sealed.max_seqno) {
                let offer = |candidate: Candidate<FoundValue<'_>>| way.read.offer(owned(candidate));
                outcome = offer_memtable(&sealed.entries, key, way.hash, before, offer);
            }
        }
        match outcome {
            Ok(()) => way.stand = Stand::before(0, self.point),
            Err(error) => way.fail(error),
        }
    }

    /// The first run that a key stands before.
    fn first_run(&self, open: &[usize]) -> usize {
        let stands = open.iter().filter_map(|at| self.ways.get(*at));
        stands.filter_map(|way| way.stand.run()).min().unwrap_or(usize::MAX)
    }

    /// Looks for the keys that stand before run `index` in its tables.
    fn run(&mut self, open: &[usize], index: usize) {
        let ReadPoint { view, order, .. } = *self.point;
        let Some(run) = view.runs.get(index) else { return };
        let rest_max = view.max_seqno_from(index);
        self.blocks.enter(index);
        let mut table: Option<&Table> = None;
        for &at in open {
            let Some(way) = self.ways.get_mut(at) else { continue };
            let Stand::Run(stand, before, progress) = way.stand else { continue };
            if stand != index {
                continue;
            }
            let key = self.keys.get(way.key).copied().unwrap_or_default();
            if way.read.can_stop(rest_max) {
                way.finish(key, self.point);
                continue;
            }
            let may_matter = run.has_entries && !way.read.can_stop(run.max_seqno);
            let holder = if may_matter { run.find(key, order) } else { None };
            let Some(holder) = holder else {
                way.stand = Stand::before(index + 1, self.point);
                continue;
            };
            let hash = way.hash;
            if let Some(last) = table.replace(holder)
                && !std::ptr::eq(last, holder)
            {
                self.table(last, index);
            }
            self.look_ups.push(LookUp { id: at, progress, ..LookUp::new(key, hash, before) });
        }
        if let Some(last) = table {
            self.table(last, index);
        }
    }

    /// Looks for the gathered keys in `table` of run `index`, for each as often as there are versions that matter.
    fn table(&mut self, table: &Table, index: usize) {
        let Self { ways, blocks, look_ups, point, .. } = self;
        while !look_ups.is_empty() {
            table.look_up(look_ups, blocks);
            look_ups.retain_mut(|look_up| {
                ways.get_mut(look_up.id).is_some_and(|way| way.take(look_up, index, point))
            });
        }
    }

    /// Ends the way of a key that has seen all runs.
    fn end(&mut self, at: usize) {
        let Some(way) = self.ways.get_mut(at) else { return };
        if way.stand.run() >= Some(self.point.view.runs.len()) {
            let key = self.keys.get(way.key).copied().unwrap_or_default();
            way.finish(key, self.point);
        }
    }
}

/// The places of `keys` in the order of keys, equal ones by their place.
fn sorted(keys: &[&[u8]], order: &KeyOrder) -> impl Iterator<Item = usize> + use<> {
    let shared = match (keys.split_first(), order.is_bytewise()) {
        (Some((first, rest)), true) => rest.iter().fold(first.len(), |len, key| {
            let both = first.iter().zip(*key).take(len);
            both.take_while(|(a, b)| a == b).count()
        }),
        _ => 0,
    };
    // Most keys are told apart by the eight bytes behind what all of them begin with.
    let head = |key: &[u8]| order.head(key.get(shared..).unwrap_or_default());
    let mut heads: Vec<(u64, usize)> = keys.iter().enumerate().map(|(at, key)| (head(key), at)).collect();
    let key = |at: usize| keys.get(at).copied().unwrap_or_default();
    heads.sort_unstable_by(|(a_head, a), (b_head, b)| {
        a_head.cmp(b_head).then_with(|| order.compare(key(*a), key(*b))).then(a.cmp(b))
    });
    heads.into_iter().map(|(_, at)| at)
}

/// The same entry, lent by nobody.
fn owned(candidate: Candidate<FoundValue<'_>>) -> Candidate<Slice> {
    let Candidate { seqno, kind, value } = candidate;
    Candidate { seqno, kind, value: value.into_slice() }
}
