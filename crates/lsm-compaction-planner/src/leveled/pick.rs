//! Which part of a full level goes down.
//!
//! A window of neighbouring tables is worth the more, the fewer bytes lie below it for each of its own, since those are
//! rewritten too. Only a pool of candidates is looked at, so that a pick costs the same in a level of a hundred tables
//! and in one of a hundred thousand.
//!
//! The pool starts at a cursor that needs no memory: the newest edit in sight, mixed, says where. Every merge brings a
//! newer edit, so over time every range is looked at equally often; a level that fits into the pool is looked at whole.
//!
//! Were the cheapest window taken every time, a dear one might wait for ever. So one pick in sixteen, and in a level of
//! fewer than 32 tables one pick in half as many as there are, takes the table that waits longest, whatever it costs. In
//! the simulator no table waits for two rounds of picks. It is not taken more often because what waits longest is what
//! least was added to, so that most lies below it: at one pick in four, uniform writes cost a third more.

use core::cmp::Ordering;

use alloc::{sync::Arc, vec::Vec};

use lsm_manifest::{LevelRuns, Run, TableDescriptor};
use lsm_types::Level;

use crate::{PlanView, RunPart, span::Span};

/// Tables of the full level that one pick looks at.
const POOL_MAX: usize = 128;
/// Tables below them that it looks at; exceeded only for the first candidate.
const BELOW_MAX: usize = 1024;
/// At least one pick in this many takes the oldest table.
const OLDEST_EVERY_MAX: u64 = 16;

/// A window of idle tables to take from `level`, with nothing busy below; of at most `cap_bytes` with what lies below,
/// unless there is no smaller one. `None` when everything in reach is busy.
pub(crate) fn pick(view: &PlanView<'_>, level: Level, cap_bytes: u64) -> Option<RunPart> {
    // What leaves the oldest run passes no older table of its level.
    let run = view.levels.level(level).runs().last()?;
    let next = view.levels.level(level.checked_add(1)?);
    let dice = dice(run, next);
    let oldest_every = u64::try_from(run.tables.len() / 2).unwrap_or(u64::MAX).clamp(2, OLDEST_EVERY_MAX);
    let is_oldest_due = dice.is_multiple_of(oldest_every);
    let start = if is_oldest_due { run.tables.oldest()? } else { start(run, next, dice / oldest_every)? };
    let pool = Pool::of(view, run, next, start);
    let window = if is_oldest_due { pool.first(cap_bytes) } else { None };
    let window = window.or_else(|| pool.best(cap_bytes))?;
    let tables = pool.candidates.get(window.from..window.to)?.iter().map(|one| one.table.clone()).collect();
    Some(RunPart { level, run: run.id, tables })
}

/// A number that looks random and that the next merge changes.
fn dice(run: &Run, next: &LevelRuns) -> u64 {
    let runs = core::iter::once(run).chain(next.runs());
    let newest = runs.filter_map(|run| run.tables.newest_edit()).max();
    // Edits may come in a rhythm, which must not pick for us.
    let mixed = newest.map_or(0, |edit| edit.get().wrapping_mul(0x9E37_79B9_7F4A_7C15));
    mixed >> 24
}

/// The table where the pool starts: the first one where all fit in.
fn start<'a>(run: &'a Run, next: &LevelRuns, dice: u64) -> Option<&'a Arc<TableDescriptor>> {
    if run.tables.len() <= POOL_MAX && next.table_count() <= BELOW_MAX {
        return run.tables.iter().next();
    }
    let nth = |count: usize, dice: u64| usize::try_from(dice % u64::try_from(count.max(1)).ok()?).ok();
    let chunks = run.tables.chunks();
    let tables = chunks.get(nth(chunks.len(), dice)?)?.tables();
    tables.get(nth(tables.len(), dice >> 16)?)
}

/// A table that may be taken.
struct Candidate<'a> {
    table: &'a Arc<TableDescriptor>,
    /// Whether the candidate before it is its neighbour in the run.
    joined: bool,
    /// Bytes of the tables it overlaps below.
    below_bytes: u64,
    /// How many of them lie below the neighbour too.
    shared_bytes: u64,
}

/// The candidates, from the start on in key order and round the end of the run.
struct Pool<'a> {
    candidates: Vec<Candidate<'a>>,
    /// Whether the first candidate is the table where the pool starts.
    has_start: bool,
    /// Tables looked at below, their bytes and entries.
    below_count: usize,
    below_bytes: u64,
    below_entries: u64,
}

impl<'a> Pool<'a> {
    fn of(view: &PlanView<'a>, run: &'a Run, next: &'a LevelRuns, start: &'a Arc<TableDescriptor>) -> Self {
        let mut pool = Self {
            candidates: Vec::new(),
            has_start: false,
            below_count: 0,
            below_bytes: 0,
            below_entries: 0,
        };
        match &start.entries {
            Some(entries) => {
                pool.add_stretch(view, run.tables.reaching(&entries.min, view.order()), next);
                pool.add_stretch(view, run.tables.iter().take_while(|table| table.id != start.id), next);
            }
            None => pool.add_stretch(view, run.tables.iter(), next),
        }
        pool.has_start = pool.candidates.first().is_some_and(|first| first.table.id == start.id);
        pool
    }

    /// Adds neighbouring tables until the pool is full.
    fn add_stretch(
        &mut self,
        view: &PlanView<'a>,
        tables: impl Iterator<Item = &'a Arc<TableDescriptor>>,
        next: &'a LevelRuns,
    ) {
        let mut neighbour: Option<&Arc<TableDescriptor>> = None;
        for (nth, table) in tables.enumerate() {
            let is_first = self.candidates.is_empty();
            // Busy tables cost a look too.
            if nth >= POOL_MAX
                || self.candidates.len() >= POOL_MAX
                || (!is_first && self.below_count >= BELOW_MAX)
            {
                return;
            }
            let candidate = self.candidate(view, table, neighbour, next);
            neighbour = candidate.is_some().then_some(table);
            self.candidates.extend(candidate);
        }
    }

    /// `None` when the table or one below it is busy.
    fn candidate(
        &mut self,
        view: &PlanView<'a>,
        table: &'a Arc<TableDescriptor>,
        neighbour: Option<&Arc<TableDescriptor>>,
        next: &'a LevelRuns,
    ) -> Option<Candidate<'a>> {
        let order = view.order();
        let mut candidate = Candidate { table, joined: neighbour.is_some(), below_bytes: 0, shared_bytes: 0 };
        if view.busy.contains(table.id) {
            return None;
        }
        let span = Span::of(table);
        // What lies below the neighbour too comes first.
        let mut beside = neighbour.map(|table| &table.coverage_end);
        for below in next.runs().iter().flat_map(|run| run.tables.covering(span.start, span.end, order)) {
            self.below_count += 1;
            if view.busy.contains(below.id) {
                return None;
            }
            self.below_bytes = self.below_bytes.saturating_add(below.live_bytes());
            self.below_entries = self.below_entries.saturating_add(below.live_entries());
            candidate.below_bytes = candidate.below_bytes.saturating_add(below.live_bytes());
            beside = beside.filter(|end| below.coverage_start.compare(end, order).is_lt());
            if beside.is_some() {
                candidate.shared_bytes = candidate.shared_bytes.saturating_add(below.live_bytes());
            }
        }
        Some(candidate)
    }

    /// The window at the start of the pool, unless it is busy.
    fn first(&self, cap_bytes: u64) -> Option<Window> {
        if self.has_start { self.grow(0, cap_bytes) } else { None }
    }

    /// The window that is worth most; of equals the one nearest to the start.
    fn best(&self, cap_bytes: u64) -> Option<Window> {
        let mut best: Option<Window> = None;
        let mut from = 0;
        while let Some(window) = self.grow(from, cap_bytes) {
            // What starts inside a window that overlaps nothing is a part of it.
            from = if window.below_bytes == 0 { window.to } else { from + 1 };
            if best.as_ref().is_none_or(|best| window.compare(best).is_lt()) {
                best = Some(window);
            }
        }
        best
    }

    /// The window that starts at a candidate, as long as each further table makes it worth more.
    fn grow(&self, from: usize, cap_bytes: u64) -> Option<Window> {
        let mut rest = self.candidates.iter().skip(from);
        let first = rest.next()?;
        let mut window = Window {
            from,
            to: from + 1,
            file_bytes: first.table.live_bytes(),
            own_bytes: self.own_bytes(first.table),
            below_bytes: first.below_bytes,
            fits: true,
        };
        // What overlaps nothing can be moved, so it is not merged along with what does.
        let is_alike = |next: &&Candidate<'_>| (next.below_bytes == 0) == (first.below_bytes == 0);
        for next in rest.take_while(|next| next.joined).take_while(is_alike) {
            let wider = Window {
                to: window.to + 1,
                file_bytes: window.file_bytes.saturating_add(next.table.live_bytes()),
                own_bytes: window.own_bytes.saturating_add(self.own_bytes(next.table)),
                below_bytes: window
                    .below_bytes
                    .saturating_add(next.below_bytes.saturating_sub(next.shared_bytes)),
                ..window
            };
            let is_free = wider.below_bytes == window.below_bytes;
            let fits = wider.below_bytes == 0 || wider.bytes() <= cap_bytes;
            if !fits || !(is_free || wider.compare_ratio(&window).is_lt()) {
                break;
            }
            window = wider;
        }
        window.fits = window.below_bytes == 0 || window.bytes() <= cap_bytes;
        Some(window)
    }

    /// The bytes of a table, and those that its tombstones are about to free below.
    fn own_bytes(&self, table: &TableDescriptor) -> u64 {
        let tombstones = table.counts.tombstones.saturating_add(table.counts.weak_tombstones);
        let freed_each = self.below_bytes.checked_div(self.below_entries).unwrap_or(0);
        table.live_bytes().saturating_add(tombstones.saturating_mul(freed_each)).max(1)
    }
}

/// Neighbouring candidates.
#[derive(Clone, Copy)]
struct Window {
    from: usize,
    to: usize,
    file_bytes: u64,
    own_bytes: u64,
    below_bytes: u64,
    fits: bool,
}

impl Window {
    fn bytes(&self) -> u64 {
        self.file_bytes.saturating_add(self.below_bytes)
    }

    /// Less is worth more: what fits, then the smaller ratio, then, of what overlaps nothing, the larger.
    fn compare(&self, other: &Self) -> Ordering {
        let larger_free = || match (self.below_bytes, other.below_bytes) {
            (0, 0) => other.file_bytes.cmp(&self.file_bytes),
            _ => Ordering::Equal,
        };
        other.fits.cmp(&self.fits).then_with(|| self.compare_ratio(other)).then_with(larger_free)
    }

    /// Bytes below for each own byte.
    fn compare_ratio(&self, other: &Self) -> Ordering {
        let cross = |below: u64, own: u64| u128::from(below) * u128::from(own);
        cross(self.below_bytes, other.own_bytes).cmp(&cross(other.below_bytes, self.own_bytes))
    }
}
