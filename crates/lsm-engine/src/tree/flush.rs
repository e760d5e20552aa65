//! Sealed memtables become tables.

use std::sync::Arc;

use lsm_compaction_executor::{
    Deletes, DropCounts, InstallError, NoFailpoints, Outside, OutsideContainer, StagingArea, Stoppable,
    StreamControl, write_survivors,
};
use lsm_compaction_planner::{Cutter, OutputSpec};
use lsm_iter::{Merge, Retention, Survivors};
use lsm_manifest::{TreeEdit, VersionEdit};
use lsm_table::{MultiWriter, Table};
use lsm_types::{Cut, EntryCursor, ErrorClass, Level, Result, SeqNo, TombstoneIndex};

use super::{Tree, TreeInner, publish::Published};
use crate::{
    EngineError, Event, FlushOptions, Token,
    store::{Draft, Proposal, output_names, place_tables},
    super_version::SuperVersion,
};

/// What a flush did.
#[non_exhaustive]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlushReport {
    /// Memtables that are in tables now.
    pub memtables: usize,
    /// Tables written.
    pub tables: usize,
    /// Bytes of their files.
    pub bytes: u64,
    /// Entries written.
    pub entries: u64,
    /// Entries not written because no reader needs them.
    pub dropped: u64,
    /// Keys whose operands were kept because the merge operator failed on them.
    pub folds_failed: u64,
    /// Every write numbered below this that had returned when its memtable was sealed is durable.
    pub durable_seqno: SeqNo,
    /// The caller's log position up to which everything is durable.
    pub log_token: Option<Token>,
}

impl Tree {
    /// Writes all sealed memtables to tables and installs them in one step.
    ///
    /// `Ok` means durable: files, their names and the manifest edit are synced. Reads go on undisturbed. Without
    /// sealed memtables nothing happens and nothing is written.
    ///
    /// # Errors
    /// `NoSpace`, `Io`, `Cancelled`: nothing changed, the call can be repeated. `InstallOutcomeUnknown`: the
    /// change may be on disk; the next call states the truth anew and writes again. `Fenced`: that is not possible.
    pub fn flush(&self, options: &FlushOptions) -> Result<FlushReport> {
        let inner = &self.inner;
        let (tree, jobs) = (inner.id, inner.store.jobs());
        let (memtables, bytes) = inner.sealed_bytes();
        if memtables > 0 {
            jobs.tell(|| Event::FlushBegun { tree, memtables, bytes });
        }
        let outcome = match inner.flush(options, false) {
            Err(error) if error.kind().class() == ErrorClass::NoSpace && inner.store.release_ballast() => {
                inner.flush(options, false)
            }
            outcome => outcome,
        };
        if outcome.is_ok() {
            inner.store.settle_ballast();
        }
        if memtables > 0 {
            jobs.tell(|| match &outcome {
                Ok(report) => Event::FlushCommitted { tree, report: report.clone() },
                Err(error) => Event::FlushRolledBack { tree, error: error.clone() },
            });
        }
        outcome
    }
}

/// Tables of a flush, not yet part of the tree.
struct Staged {
    area: StagingArea,
    floor: Option<SeqNo>,
    altered: Option<SeqNo>,
}

impl TreeInner {
    /// * `keep_all`: drop nothing, so that no reader sees less history afterwards.
    pub(crate) fn flush(self: &Arc<Self>, options: &FlushOptions, keep_all: bool) -> Result<FlushReport> {
        self.check_changeable()?;
        let _one_at_a_time = self.flushing.lock();
        self.check_writable()?; // the tree may have been closed while this waited
        // The memtable refuses numbers below the watermark already: what is in the view is all there will be.
        let kept = self.holds.start_job(self.flush_limit(), self.visible_end());
        let view = self.current.load_full();
        if view.sealed.is_empty() {
            return Ok(self.report(FlushReport::default()));
        }
        let everything = Retention::above(SeqNo::ZERO);
        let retention = if keep_all { &everything } else { &kept.retention };
        let (staged, report) = self.write_memtables(&view, retention, options)?;
        self.install_flush(&view, staged)?;
        Ok(self.report(report))
    }

    fn write_memtables(
        self: &Arc<Self>,
        view: &Arc<SuperVersion>,
        retention: &Retention,
        options: &FlushOptions,
    ) -> Result<(Staged, FlushReport)> {
        let mut merge =
            Merge::new(self.order.clone(), view.sealed.iter().map(|sealed| sealed.entries.cursor()));
        merge.seek_first()?;
        let tombstones: Vec<_> =
            view.sealed.iter().flat_map(|sealed| sealed.deletes.tombstones().cloned()).collect();
        let cover = TombstoneIndex::new(tombstones.clone(), self.order.clone());
        let mut deletes =
            Deletes::collect(tombstones, retention.watermark(), || outside_of_flush(view), &self.order);
        let outside = {
            let view = view.clone();
            Outside::new(move || outside_of_flush(&view), Arc::new(cover), self.order.clone())
        };
        // Numbers stay: the bottom of the tree is the business of compaction.
        let retention = retention.clone().zeroing_below(SeqNo::ZERO);
        let cancel = self.stop.either(&options.cancel);
        let merge = Stoppable::new(merge, &cancel);
        let survivors = Survivors::new(merge, retention, outside, DropCounts::default());
        let mut survivors = survivors.folding(self.operator.clone());
        let mut output = OutputSpec::sized(Level::new(0), self.table_target_bytes);
        output.target_bytes = self.table_bytes(&output);
        let flushed = view.sealed.iter().map(|sealed| sealed.entries.len() as u64).sum();
        self.set_filter_scene(view, None, output.dest, flushed);
        let raw = view.sealed.iter().map(|sealed| sealed.bytes()).sum();
        let mut writer = MultiWriter::new(&self.env, output.canonical, view.version.levels.count())
            .separating(self.vlogs.as_ref())
            .helped_by(self.store.helpers(raw));
        let mut cutter = Cutter::new(&output, &self.order);
        let control = StreamControl { cancel: &cancel, failpoints: &NoFailpoints };
        let entries = write_survivors(&mut survivors, &mut writer, &mut cutter, &mut deletes, control)?;
        let mut area = StagingArea::new();
        let (tables, vlogs) = writer.finish()?;
        area.add(tables);
        area.add_vlogs(vlogs);
        area.seal(&self.env, self.vlogs.as_deref(), &NoFailpoints)?;
        cancel.check()?;
        let floor = survivors.floor().max(deletes.floor());
        let altered = survivors.altered().max(deletes.altered());
        let folds_failed = survivors.folds_failed();
        let (_, _, dropped, _) = survivors.into_parts();
        let tables: u64 = area.tables().iter().map(|table| table.descriptor().file_len).sum();
        let bytes = tables + area.vlogs().iter().map(|vlog| vlog.descriptor().file_len).sum::<u64>();
        self.counters.flushed(raw, bytes);
        let report = FlushReport {
            memtables: view.sealed.len(),
            tables: area.tables().len(),
            bytes,
            entries,
            dropped: dropped.total(),
            folds_failed,
            ..FlushReport::default()
        };
        Ok((Staged { area, floor, altered }, report))
    }

    fn install_flush(self: &Arc<Self>, view: &SuperVersion, mut staged: Staged) -> Result<()> {
        let Some(newest) = view.sealed.first().cloned() else { return Ok(()) };
        let tables: Vec<Table> = staged.area.tables().iter().map(|table| table.open(&self.env)).collect();
        let descriptors: Vec<_> = tables.iter().map(|table| table.descriptor().clone()).collect();
        let vlogs: Vec<_> = staged.area.vlogs().iter().map(|vlog| vlog.descriptor().clone()).collect();
        let outputs = output_names(&tables, &vlogs, &[]);
        let max_seqno = view.sealed.iter().map(|sealed| sealed.max_seqno).max().unwrap_or_default();
        let tree = self.id;
        let positions: Vec<_> =
            view.sealed.iter().rev().filter_map(|sealed| sealed.position.clone()).collect();
        let reached = positions.clone();
        let me = self.clone();
        let (floor, altered) = (staged.floor, staged.altered);
        let (through, end) = (newest.id, newest.end);
        let build = Box::new(move |draft: &mut Draft<'_>| {
            let version = draft.version(tree).ok_or(EngineError::Closed)?;
            let known = version.watermark.clone();
            let mut edit = VersionEdit::default();
            edit.push(tree, TreeEdit::MaxSeqNo(max_seqno));
            if let Some(floor) = floor {
                edit.push(tree, TreeEdit::RaiseFloor(floor));
            }
            if let Some(newest) = altered.max(floor) {
                edit.push(tree, TreeEdit::ChangesFrom(newest.next()));
            }
            let durable = me.durable_after(Some(through), end);
            let watermark = me.next_watermark(known, durable, &reached);
            edit.push(tree, TreeEdit::Watermark(watermark));
            edit.trees.extend(vlogs.into_iter().map(|vlog| (tree, TreeEdit::AddVlog { vlog })));
            place_tables(draft, &mut edit, tree, Level::new(0), None, &descriptors, &me.order)?;
            Ok(edit)
        });
        let me = self.clone();
        let publish = Box::new(move |catalog: &lsm_manifest::Catalog| {
            let Some(version) = catalog.tree(tree) else { return };
            let change = Published { added: tables, flushed_through: Some(through), ..Published::default() };
            me.publish(version, change);
        });
        match self.store.install(Proposal { build, publish, outputs }) {
            Ok(()) => {
                staged.area.keep();
                self.keep_positions(positions);
                Ok(())
            }
            Err(InstallError::NotApplied(error)) => Err(error),
            Err(InstallError::Unknown(error)) => {
                staged.area.keep();
                Err(error)
            }
        }
    }

    /// How many memtables wait for their flush, and what they take in memory.
    fn sealed_bytes(&self) -> (usize, u64) {
        let sealed = &self.current.load().sealed;
        (sealed.len(), sealed.iter().map(|sealed| sealed.bytes()).sum())
    }

    /// The lowest number that is in no table yet.
    pub(crate) fn min_unflushed(&self) -> Option<SeqNo> {
        let pinned = self.current.load();
        let sealed = pinned.sealed.iter().map(|sealed| sealed.seqnos());
        sealed.chain([pinned.active.seqnos()]).flatten().map(|(min, _)| min).min()
    }

    fn report(&self, mut report: FlushReport) -> FlushReport {
        let pinned = self.current.load();
        let watermark = &pinned.version.watermark;
        report.durable_seqno = watermark.seqno;
        report.log_token = watermark.token.clone().and_then(|token| Token::new(token).ok());
        report
    }
}

/// Everything but the sealed memtables of `view`: all tables, and the active memtable, which may take any number
/// that is not refused.
fn outside_of_flush(view: &SuperVersion) -> Vec<OutsideContainer> {
    let tables = view.version.levels.tables().map(|(_, table)| OutsideContainer {
        start: table.coverage_start.clone(),
        end: table.coverage_end.clone(),
        min_seqno: table.seqnos.min,
        max_seqno: table.seqnos.max,
    });
    tables.chain(std::iter::once(outside_memtable(view.active.seqnos()))).collect()
}

/// A memtable outside a job, open at its upper end when it takes writes.
pub(super) fn outside_memtable(seqnos: Option<(SeqNo, SeqNo)>) -> OutsideContainer {
    OutsideContainer {
        start: Cut::Start,
        end: Cut::End,
        min_seqno: seqnos.map_or(SeqNo::LATEST, |(min, _)| min),
        max_seqno: SeqNo::LATEST,
    }
}
