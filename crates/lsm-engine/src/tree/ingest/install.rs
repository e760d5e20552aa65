//! The end of an ingestion: its number, its place, and the edit that makes it part of the tree.

use std::{collections::BTreeMap, sync::Arc};

use lsm_compaction_executor::{InstallError, NoFailpoints, StagingArea};
use lsm_manifest::{Catalog, Levels, TableDescriptor, TreeEdit, VersionEdit, VlogDescriptor};
use lsm_table::{StagedVlog, SuspendedTable, Table};
use lsm_types::{Cut, EntryCursor, KeyOrder, Level, Result, SeqNo, TombstoneIndex};
use parking_lot::Mutex;

use super::{IngestOptions, IngestReport, options::Number};
use crate::{
    EngineError,
    memtables::Memtable,
    store::{Draft, Proposal, output_names, place_tables},
    super_version::SuperVersion,
    tree::{TreeInner, publish::Published},
};

/// The deepest level down to which nothing reaches into the stretch between two cuts; level 0 when there is none.
pub(super) fn level_for(levels: &Levels, start: &Cut, end: &Cut, order: &KeyOrder) -> Level {
    let is_free = |level: Level| {
        let mut runs = levels.level(level).runs().iter();
        runs.all(|run| run.tables.covering(start, end, order).next().is_none())
    };
    let free = levels.iter().map(|(level, _)| level).take_while(|level| is_free(*level));
    free.last().unwrap_or(Level::new(0))
}

pub(super) fn install(
    tree: &Arc<TreeInner>,
    options: IngestOptions,
    (tables, vlogs): (Vec<SuspendedTable>, Vec<StagedVlog>),
    entries: u64,
) -> Result<IngestReport> {
    let _no_clear = tree.ingesting.read();
    tree.check_writable()?; // the tree may have been closed while this waited
    let (given, draw): (bool, Box<dyn FnOnce() -> SeqNo + Send>) = match options.number {
        Number::Given(seqno) => (true, Box::new(move || seqno)),
        Number::Drawn(draw) => (false, draw),
    };
    let claim = tree.claim(draw)?;
    let seqno = claim.seqno();
    let must_be_newest = given && !options.backfill;
    if must_be_newest {
        check_memtables(&tree.current.load_full(), &tables, seqno, &tree.order)?;
    }
    let cancel = tree.stop.either(&options.cancel);
    let mut area = StagingArea::new();
    for table in tables {
        cancel.check()?;
        area.add(vec![table.finish(seqno)?]);
    }
    area.add_vlogs(vlogs);
    area.seal(&tree.env, tree.vlogs.as_deref(), &NoFailpoints)?;
    cancel.check()?;
    let handles: Vec<Table> = area.tables().iter().map(|table| table.open(&tree.env)).collect();
    let vlogs: Vec<_> = area.vlogs().iter().map(|vlog| vlog.descriptor().clone()).collect();
    let bytes = handles.iter().map(|table| table.descriptor().file_len).sum::<u64>()
        + vlogs.iter().map(|vlog| vlog.file_len).sum::<u64>();
    let placed: Arc<Mutex<Placed>> = Arc::default();
    let outcome = tree.store.install(proposal(tree, seqno, must_be_newest, (handles, vlogs), placed.clone()));
    let outcome = match outcome {
        Ok(()) => {
            area.keep();
            Ok(())
        }
        Err(InstallError::NotApplied(error)) => Err(error),
        Err(InstallError::Unknown(error)) => {
            area.keep();
            Err(error)
        }
    };
    drop(claim);
    outcome?;
    let tables = placed.lock().iter().map(|(level, tables)| (*level, tables.len())).collect();
    Ok(IngestReport { seqno: Some(seqno), entries, bytes, tables })
}

type Placed = BTreeMap<Level, Vec<Arc<TableDescriptor>>>;

fn proposal(
    tree: &Arc<TreeInner>,
    seqno: SeqNo,
    must_be_newest: bool,
    (tables, vlogs): (Vec<Table>, Vec<Arc<VlogDescriptor>>),
    placed: Arc<Mutex<Placed>>,
) -> Proposal {
    let (id, me) = (tree.id, tree.clone());
    let outputs = output_names(&tables, &vlogs, &[]);
    let descriptors: Vec<_> = tables.iter().map(|table| table.descriptor().clone()).collect();
    let build = Box::new(move |draft: &mut Draft<'_>| {
        let levels = draft.version(id).ok_or(EngineError::Closed)?.levels.clone();
        if must_be_newest {
            check_tables(&levels, &descriptors, seqno, &me.order)?;
        }
        let mut by_level = Placed::new();
        for table in descriptors {
            let level = level_for(&levels, &table.coverage_start, &table.coverage_end, &me.order);
            by_level.entry(level).or_default().push(table);
        }
        let mut edit = VersionEdit::default();
        edit.push(id, TreeEdit::MaxSeqNo(seqno));
        edit.trees.extend(vlogs.into_iter().map(|vlog| (id, TreeEdit::AddVlog { vlog })));
        for (level, tables) in &by_level {
            place_tables(draft, &mut edit, id, *level, None, tables, &me.order)?;
        }
        *placed.lock() = by_level;
        Ok(edit)
    });
    let me = tree.clone();
    let publish = Box::new(move |catalog: &Catalog| {
        let Some(version) = catalog.tree(id) else { return };
        me.publish(version, Published { added: tables, is_write: true, ..Published::default() });
        me.note_written(Some(seqno));
    });
    Proposal { build, publish, outputs }
}

/// Refuses a number that a table which reaches into the range of one of `new` has, or one below it. What else such a
/// table holds counts, too: that its entry lies elsewhere would have to be read.
fn check_tables(
    levels: &Levels,
    new: &[Arc<TableDescriptor>],
    seqno: SeqNo,
    order: &KeyOrder,
) -> Result<(), EngineError> {
    let runs = || levels.iter().flat_map(|(_, level)| level.runs());
    for table in new {
        let (start, end) = (&table.coverage_start, &table.coverage_end);
        let mut there = runs().flat_map(|run| run.tables.covering(start, end, order));
        if let Some(newer) = there.find(|other| seqno <= other.seqnos.max) {
            return Err(EngineError::SeqNoTooLow { seqno, existing: newer.seqnos.max });
        }
    }
    Ok(())
}

/// Refuses a number that a write in the range of one of `new` has that still lies in memory, or one below it.
fn check_memtables(
    view: &SuperVersion,
    new: &[SuspendedTable],
    seqno: SeqNo,
    order: &KeyOrder,
) -> Result<()> {
    let sealed = view.sealed.iter().map(|sealed| (&sealed.entries, &sealed.deletes));
    for (entries, deletes) in sealed.chain([(&view.active.entries, &view.active.deletes)]) {
        let is_newer = entries.highest_seqno().is_some_and(|highest| seqno <= highest);
        let newer: Vec<_> = deletes.tombstones().filter(|one| seqno <= one.seqno).cloned().collect();
        if !is_newer && newer.is_empty() {
            continue;
        }
        let newer = TombstoneIndex::new(newer, order.clone());
        for table in new {
            let (start, end) = table.extent();
            let deleted = newer.tombstones().iter().find(|one| one.clip(&start, &end, order).is_some());
            let found = match deleted {
                Some(one) => Some(one.seqno),
                None if is_newer => newest_from(entries, seqno, &start, &end, order)?,
                None => None,
            };
            if let Some(existing) = found {
                return Err(EngineError::SeqNoTooLow { seqno, existing }.into());
            }
        }
    }
    Ok(())
}

/// A number at or above `seqno` in the stretch between the cuts.
fn newest_from(
    entries: &Arc<Memtable>,
    seqno: SeqNo,
    start: &Cut,
    end: &Cut,
    order: &KeyOrder,
) -> Result<Option<SeqNo>> {
    let mut cursor = entries.cursor();
    match start {
        Cut::Start => cursor.seek_first()?,
        Cut::Before(key) => cursor.seek(key, SeqNo::LATEST)?,
        Cut::After(key) => cursor.seek(key, SeqNo::ZERO)?,
        Cut::End => return Ok(None),
    }
    while let Some(entry) = cursor.entry() {
        if end.is_left_of(entry.key, order) {
            break;
        }
        if seqno <= entry.seqno {
            return Ok(Some(entry.seqno));
        }
        cursor.next()?;
    }
    Ok(None)
}
