//! The merge-on-read flavour: rows that deletes of ranges have killed are marked, and their tables stay as they are.
//!
//! It applies to merges that move nothing to another level, where the tree wants delete vectors and at least one more row
//! is dead. The search reads keys and numbers of the blocks in which a delete begins or ends, or whose rows are not all
//! older than it; of the others the index says enough. What it finds goes, with what was known to be dead, into one new
//! delete vector per table. All are attached with one edit, in the place of the older ones. The deletes stay where they
//! are: a vector says what was carried out already.
//!
//! When nothing is to be marked, when a table has too many rows, or when writing the tables anew is worth its price, it
//! steps back for the flavour below. A crash before the edit leaves files that no version names, which the next open
//! removes.

use std::sync::Arc;

use lsm_compaction_planner::{DeadShare, DeleteStrategy};
use lsm_table::{DeadRows, DeadStretch, Table};
use lsm_types::{Cut, KeyRange, Result, SeqNo, TombstoneIndex};

use crate::{
    Checkpoint, CompactionFlavour, EditExtras, ExecutorError, FlavourRun, Job, SegmentOutput, SegmentTask,
    merging::Tombstones,
};

/// Marks dead rows in delete vectors.
#[derive(Clone, Copy, Debug)]
pub struct MergeOnRead {
    /// What the tree wants at the level of the job.
    pub strategy: DeleteStrategy,
    /// Whether room is short.
    pub space_is_short: bool,
}

impl CompactionFlavour for MergeOnRead {
    fn name(&self) -> &'static str {
        "merge-on-read"
    }

    fn checkpoint(&self) -> Checkpoint {
        Checkpoint::Once
    }

    fn applies(&self, job: &Job) -> Result<bool> {
        let watermark = job.retention.watermark();
        let inputs = job.inputs.tables();
        let is_deleted = |table: &Table| table.descriptor().counts.range_tombstones > 0;
        let has_deletes =
            job.tombstones.iter().any(|one| one.seqno < watermark) || inputs.iter().any(is_deleted);
        let has_entries = inputs.iter().any(|table| table.min_key().is_some());
        Ok(self.strategy.writes_vectors() && has_deletes && has_entries)
    }

    fn attempt(&self, job: &Arc<Job>) -> Result<Option<Box<dyn FlavourRun>>> {
        job.failpoints.hit("segment.entry")?;
        let cover = Tombstones::of(job)?.cover().clone();
        let mut share = DeadShare { space_is_short: self.space_is_short, ..DeadShare::default() };
        let mut found = Vec::new();
        for table in job.inputs.tables() {
            let descriptor = table.descriptor();
            share.rows = share.rows.saturating_add(descriptor.counts.entries);
            share.scans_permille = share.scans_permille.max(table.scans_permille());
            let mut dead = descriptor.dead_entries();
            let stretches = stretches(job, &table, &cover);
            if !stretches.is_empty() {
                let mut step = || {
                    job.cancel.check()?;
                    Ok(job.failpoints.hit("mask.search")?)
                };
                let Some(rows) = table.dead_rows(&stretches, job.throttle(), &mut step)? else {
                    return Ok(None);
                };
                dead = rows.rows.cardinality();
                if rows.fresh > 0 {
                    found.push(Found { newest: newest(&table, &stretches), table, rows });
                }
            }
            share.dead = share.dead.saturating_add(dead);
        }
        if found.is_empty() || self.strategy.rewrites(share) {
            return Ok(None);
        }
        Ok(Some(Box::new(Run { task: Some(Task { job: job.clone(), found }) })))
    }

    fn start(&self, job: &Arc<Job>) -> Result<Box<dyn FlavourRun>> {
        Ok(self.attempt(job)?.ok_or(ExecutorError::NoFlavour)?)
    }
}

/// The parts of `cover` that lie over entries of a table, are older than every reader and newer than some entry.
fn stretches(job: &Job, table: &Table, cover: &TombstoneIndex) -> Vec<DeadStretch> {
    let Some(KeyRange { min, max }) = &table.descriptor().entries else { return Vec::new() };
    let oldest = table.descriptor().point_seqnos.map_or(SeqNo::LATEST, |numbers| numbers.min);
    let mut stretches: Vec<DeadStretch> = Vec::new();
    for stretch in cover.stretches_from(&Cut::Before(min.clone())) {
        let (start, end) = cover.around(stretch);
        if !start.is_left_of(max, &job.order) {
            break;
        }
        let Some(before) = cover.newest_below(stretch, job.retention.watermark()) else { continue };
        if before <= oldest {
            continue;
        }
        match stretches.last_mut() {
            Some(last) if last.before == before && last.end == *start => last.end = end.clone(),
            _ => stretches.push(DeadStretch { start: start.clone(), end: end.clone(), before }),
        }
    }
    stretches
}

/// A number that no row is above that these stretches kill.
fn newest(table: &Table, stretches: &[DeadStretch]) -> Option<SeqNo> {
    let killed = stretches.iter().map(|stretch| stretch.before.saturating_prev()).max()?;
    Some(table.descriptor().point_seqnos.map_or(killed, |numbers| numbers.max.min(killed)))
}

/// What is dead in a table.
struct Found {
    table: Table,
    rows: DeadRows,
    /// No row that was not known to be dead has a higher number.
    newest: Option<SeqNo>,
}

struct Run {
    task: Option<Task>,
}

impl FlavourRun for Run {
    fn next_batch(&mut self) -> Result<Vec<Box<dyn SegmentTask>>> {
        Ok(self.task.take().into_iter().map(|task| Box::new(task) as Box<dyn SegmentTask>).collect())
    }

    fn extras(&mut self, _: &Job) -> Result<EditExtras> {
        Ok(EditExtras::default()) // all inputs stay
    }
}

struct Task {
    job: Arc<Job>,
    found: Vec<Found>,
}

impl SegmentTask for Task {
    fn run(self: Box<Self>) -> Result<SegmentOutput> {
        let Self { job, found } = *self;
        let watermark = job.retention.watermark();
        // As where dead entries are left out: reads that start below the watermark could miss them.
        let mut output =
            SegmentOutput { floor: Some(watermark.saturating_prev()), ..SegmentOutput::default() };
        for Found { table, rows, newest } in found {
            job.cancel.check()?;
            job.failpoints.hit("mask.write")?;
            output.dropped.range_deleted += rows.fresh;
            output.altered = output.altered.max(newest);
            output.vectors.push(table.write_vector(rows, watermark, Some(job.throttle()))?);
        }
        job.failpoints.hit("segment.seal")?;
        job.failpoints.hit("sync.file")?;
        Ok(output)
    }
}
