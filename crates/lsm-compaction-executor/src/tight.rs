//! The flavour for disks that are nearly full: a merge of another flavour, installed slice by slice.
//!
//! It applies where there is no room for the whole. The merge it is wrapped around is opened once and keeps its cursors;
//! each task writes on to the next border, as far as there is room for. Then one edit adds the outputs, takes away the
//! inputs that are through, and bounds those that are not to the keys that are left; what lies before these keys is given
//! back as soon as nobody reads it any more. So at any time the merge takes the slice under way, and what readers hold.
//!
//! ```text
//! inputs   |=========================|        |      =============|         |            =====|
//!          |  =======  ==============|   ->   |      =============|   ->    |            =====|
//! outputs  |                         |        |######             |         |######======     |
//! ```
//!
//! A crash, a stop or a full disk between two slices leaves a tree like any other: outputs below the border, inputs above
//! it. Whatever job takes the inputs next goes on from there. In the middle of a slice it leaves files that no version
//! names, which the next open removes.
//!
//! Where a file system gives back nothing but whole files, slices end where inputs do.
//!
//! A merge that moves values closes its value logs with each slice: what a slice moved is behind the entries of the inputs
//! from then on, and goes from the front of the old value logs as blocks go from the front of the inputs.

use std::{collections::BTreeSet, sync::Arc};

use lsm_compaction_planner::{Shortage, SliceBudget};
use lsm_fs::Capability;
use lsm_table::{SlicePart, Table};
use lsm_types::{Cut, Result, Slice, VlogId};
use parking_lot::Mutex;

use crate::{
    Checkpoint, CompactionFlavour, EditExtras, FlavourRun, Job, OpenMerge, SegmentOutput, SegmentTask,
    boundary::{Boundaries, MovedValues, RunEnds, SliceEnd, SliceEnds},
};

/// A flavour whose merge can be carried on part by part.
pub trait Sliceable: CompactionFlavour {
    /// Opens the merge of the whole job.
    ///
    /// # Errors
    /// What opening the inputs finds.
    fn open(&self, job: &Arc<Job>) -> Result<Box<dyn OpenMerge>>;

    /// Value logs whose values it writes anew, so that they weigh in a slice. Default: none.
    fn moves(&self, job: &Job) -> BTreeSet<VlogId> {
        let _ = job;
        BTreeSet::new()
    }
}

/// Says, before each slice, how much there is room for.
pub trait SliceRoom: Send + Sync {
    /// What the next slice may write. It is kept free for the slice until the next call.
    ///
    /// * `ends`: where it can end. A slice that needs a whole table may have all that there is.
    ///
    /// # Errors
    /// What stands against even the smallest slice.
    fn next(&self, ends: SliceEnds) -> Result<SliceBudget, Shortage>;

    /// What the next slice may write while the one before is written and not installed: no less than that one might, so
    /// that slices do not get smaller for it. `None` where it has to wait. Default: always.
    ///
    /// * `written_bytes`: length of the files of the one before.
    fn ahead(&self, written_bytes: u64) -> Option<SliceBudget> {
        let _ = written_bytes;
        None
    }
}

/// Carries out `base` slice by slice.
pub struct TightSpace<B> {
    base: B,
    room: Arc<dyn SliceRoom>,
    min_bytes: u64,
}

/// How far a sliced merge has come.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Sliced {
    /// Slices installed.
    pub slices: u64,
    /// Bytes of blocks of the inputs, and of values moved with them, that they took the place of.
    pub released_bytes: u64,
    /// The same of what is left; 0 at the end.
    pub remaining_bytes: u64,
    /// Why it stopped before the end, if it did. What is left any later merge takes up.
    pub shortage: Option<Shortage>,
}

/// So many tables are merged slice by slice at most: every slice names its inputs, and half of the names are left for
/// tables of one slice.
pub const SLICED_INPUTS_MAX: usize = SlicePart::TABLES_MAX / 2;

impl<B: Sliceable> TightSpace<B> {
    /// Slices of `base`, each as large as `room` says.
    ///
    /// * `min_bytes`: a slice that has written less goes on while it may.
    pub fn new(base: B, room: Arc<dyn SliceRoom>, min_bytes: u64) -> Self {
        Self { base, room, min_bytes }
    }
}

impl<B: Sliceable> CompactionFlavour for TightSpace<B> {
    fn name(&self) -> &'static str {
        "tight-space"
    }

    fn checkpoint(&self) -> Checkpoint {
        Checkpoint::EachBatch
    }

    fn applies(&self, job: &Job) -> Result<bool> {
        Ok(job.inputs.ids().len() <= SLICED_INPUTS_MAX && self.base.applies(job)?)
    }

    fn start(&self, job: &Arc<Job>) -> Result<Box<dyn FlavourRun>> {
        // What was installed is given back though the job goes on.
        job.inputs.change(|table| Some(table.passing()));
        let runs = job.inputs.runs();
        let ends = if runs.iter().flatten().all(|table| gives_back_blocks(job, table)) {
            SliceEnds::Blocks
        } else {
            SliceEnds::Tables
        };
        let moved = MovedValues::new(self.base.moves(job), job.throttle());
        let data_bytes = |table: &Table| {
            let descriptor = table.descriptor();
            let data = descriptor.sizes.data.saturating_sub(descriptor.consumed_bytes());
            data.saturating_add(moved.bytes_of(&descriptor.references))
        };
        let total_bytes = runs.iter().flatten().map(data_bytes).sum();
        let with_entries =
            |run: Vec<Table>| run.into_iter().filter(|table| table.min_key().is_some()).collect();
        let ends_of = |run| RunEnds::new(with_entries(run), moved.clone(), job.order.clone());
        let runs = runs.into_iter().map(ends_of).collect();
        let slicing = Slicing {
            merge: self.base.open(job)?,
            boundaries: Boundaries::new(runs, ends, job.order.clone())?.bounded(!moved.is_empty()),
            is_last: false,
        };
        Ok(Box::new(Run {
            room: self.room.clone(),
            ends,
            min_bytes: self.min_bytes,
            slicing: Arc::new(Mutex::new(slicing)),
            sliced: Sliced { remaining_bytes: total_bytes, ..Sliced::default() },
            total_bytes,
            border: None,
            cut_bytes: 0,
            next: None,
            is_done: false,
        }))
    }
}

/// Whether the volume of the table gives back bytes in front of a file. A volume that cannot be asked does not.
fn gives_back_blocks(job: &Job, table: &Table) -> bool {
    let path = job.env.path(table.id(), table.descriptor().route);
    job.env.fs.capabilities(&path).is_ok_and(|promised| promised.has(Capability::PunchHole))
}

/// What the tasks go on with, one after another.
struct Slicing {
    merge: Box<dyn OpenMerge>,
    boundaries: Boundaries<RunEnds>,
    is_last: bool,
}

struct Run {
    room: Arc<dyn SliceRoom>,
    ends: SliceEnds,
    min_bytes: u64,
    slicing: Arc<Mutex<Slicing>>,
    sliced: Sliced,
    total_bytes: u64,
    /// The smallest key that was left when a slice was last about to be installed.
    border: Option<Slice>,
    /// Bytes of blocks, and of values moved with them, that all slices so far took the place of.
    cut_bytes: u64,
    /// Where the next slice ends and what it may write, when it is made while the one before is installed.
    next: Option<(Cut, SliceBudget)>,
    is_done: bool,
}

impl FlavourRun for Run {
    fn next_batch(&mut self) -> Result<Vec<Box<dyn SegmentTask>>> {
        if let Some((end, budget)) = self.next.take() {
            return Ok(self.task(end, budget));
        }
        if self.is_done {
            return Ok(Vec::new());
        }
        let budget = match self.room.next(self.ends) {
            Ok(budget) => budget,
            Err(shortage) => return Ok(self.stop(shortage)),
        };
        let end = self.slicing.lock().next_end(budget)?;
        let Some(end) = end else { return Ok(self.stop(budget.binding)) };
        Ok(self.task(end, budget))
    }

    fn runs_ahead(&mut self, written_bytes: u64) -> bool {
        // Where tables go as a whole, what the one before gives back is what the next one needs.
        if self.is_done || self.ends == SliceEnds::Tables {
            return false;
        }
        let Some(budget) = self.room.ahead(written_bytes) else { return false };
        // What cannot be found out now is told when the slice is due.
        let end = self.slicing.lock().next_end(budget).ok().flatten();
        self.next = end.map(|end| (end, budget));
        self.next.is_some()
    }

    fn extras(&mut self, job: &Job) -> Result<EditExtras> {
        let slicing = self.slicing.lock();
        let mut extras = EditExtras::default();
        // All may be written before the last border is reached.
        let border = if slicing.is_last { None } else { slicing.merge.rest() };
        self.is_done = border.is_none();
        self.cut_bytes = slicing.boundaries.cut_bytes();
        if border.is_some() && border == self.border {
            return Ok(extras); // nothing lay between this border and the one before
        }
        self.border = border;
        for table in job.inputs.tables() {
            let Some(lower) = &self.border else {
                extras.remove.push(table.id());
                continue;
            };
            let border = Cut::Before(lower.clone());
            if !table.max_key().is_some_and(|max| border.is_left_of(max, &job.order)) {
                extras.remove.push(table.id());
                continue;
            }
            extras.rest.push(table.id());
            if table.descriptor().coverage_start.compare(&border, &job.order).is_lt() {
                extras.restrictions.push((table.id(), lower.clone()));
            }
        }
        // The next slice takes nothing from those that are through, also while this one is still on its way.
        job.inputs.change(|table| (!extras.remove.contains(&table.id())).then_some(table));
        Ok(extras)
    }

    fn installed(&mut self, extras: &EditExtras) {
        self.slicing.lock().merge.release(&|table| extras.remove.contains(&table.id()));
        self.sliced.slices += 1;
        self.sliced.released_bytes = self.cut_bytes;
        self.sliced.remaining_bytes =
            if self.is_done { 0 } else { self.total_bytes.saturating_sub(self.cut_bytes).max(1) };
        tracing::info!(
            slice = self.sliced.slices,
            released_bytes = self.sliced.released_bytes,
            remaining_bytes = self.sliced.remaining_bytes,
            "a slice of a compaction is installed"
        );
    }

    fn ran_out(&mut self) -> bool {
        // Somebody else took what there was room for.
        self.stop(Shortage::Volume);
        true
    }

    fn sliced(&self) -> Option<Sliced> {
        Some(self.sliced)
    }
}

impl Run {
    fn task(&self, end: Cut, budget: SliceBudget) -> Vec<Box<dyn SegmentTask>> {
        let (slicing, min_bytes) = (self.slicing.clone(), self.min_bytes);
        vec![Box::new(Task { slicing, end, budget, min_bytes })]
    }

    /// There is no room to go on; what is installed stays.
    fn stop(&mut self, shortage: Shortage) -> Vec<Box<dyn SegmentTask>> {
        tracing::warn!(?shortage, slices = self.sliced.slices, "no room for the next slice of a compaction");
        self.sliced.shortage = Some(shortage);
        self.is_done = true;
        Vec::new()
    }
}

impl Slicing {
    /// The next end, if there is room up to there.
    fn next_end(&mut self, budget: SliceBudget) -> Result<Option<Cut>> {
        Ok(self.boundaries.next_slice(budget)?.map(|end| match end {
            SliceEnd::After(key) => Cut::After(key),
            SliceEnd::Last => {
                self.is_last = true;
                Cut::End
            }
        }))
    }
}

/// Writes one slice.
struct Task {
    slicing: Arc<Mutex<Slicing>>,
    end: Cut,
    budget: SliceBudget,
    min_bytes: u64,
}

impl SegmentTask for Task {
    fn run(self: Box<Self>) -> Result<SegmentOutput> {
        let Self { slicing, end, budget, min_bytes } = *self;
        let Slicing { merge, boundaries, is_last } = &mut *slicing.lock();
        merge.write_on(end, &mut |written| {
            // What is dropped takes no room: the slice goes on in the place of it.
            let target_bytes = budget.target_bytes.saturating_sub(written);
            let most_bytes = budget.most_bytes.saturating_sub(written);
            if *is_last || (written > 0 && (written >= min_bytes || target_bytes == 0)) {
                return Ok(None);
            }
            Ok(match boundaries.next_slice(SliceBudget { target_bytes, most_bytes, ..budget })? {
                None => None,
                Some(SliceEnd::After(key)) => Some(Cut::After(key)),
                Some(SliceEnd::Last) => {
                    *is_last = true;
                    Some(Cut::End)
                }
            })
        })
    }
}
