//! Recovery that gives up what cannot be read, and says so (D-49).
//!
//! ```text
//! PointInTime   snapshot e1 e2 e3 XX e5 e6   the generation whose readable beginning reaches furthest
//!               ^^^^^^^^^^^^^^^^^
//! SkipCorrupt   snapshot e1 e2 e3 XX e5 e6   the generation whose last readable edit is the latest
//!               ^^^^^^^^^^^^^^^^^    ^^^^^
//! ```
//!
//! When it is the snapshot that cannot be read, the state of an older generation stands in for it if that one reaches
//! as far. Nothing is changed here, and no older generation is removed when the outcome is accepted.

use lsm_block::BlockError;
use lsm_manifest::{KeyOrders, Record, RecordHead, Salvage, Salvaged};
use lsm_types::EditIndex;

use crate::{
    Generation, JournalEnv, JournalError, Losses, Pointer, Recovery, RecoveryMode, RecoveryReport,
    choose::choose,
    copies::Generations,
    inspect::{Headers, Inspected, Inspection, nothing, pointer_state},
    recovery::{Named, replay, report},
    scan::{Scan, Verdict},
    survey::{Current, Survey, read_pointer},
};

/// A generation with all that can be read of it.
struct Found {
    generation: Generations,
    scan: Scan,
    /// The last edit of all records that can be read, those behind damage too.
    furthest: EditIndex,
}

/// As [`Recovery::read`], for the modes that give something up.
pub(crate) fn read(
    env: &JournalEnv,
    mode: RecoveryMode,
    orders: &dyn KeyOrders,
) -> Result<Option<Recovery>, JournalError> {
    let current = read_pointer(env)?;
    let pointer = match current {
        Current::Names(pointer) => Some(pointer),
        Current::Missing | Current::Damaged => None,
    };
    let Some(survey) = Survey::take(env)? else { return Ok(None) };
    let mut headers = Headers::read(env, &survey)?;
    let mut found = best_database(env, &headers, pointer.as_ref())?;
    let best = match mode {
        RecoveryMode::PointInTime => found
            .iter()
            .enumerate()
            .filter(|(_, it)| it.scan.reach.is_some())
            .max_by_key(|(_, it)| (it.scan.reach.map(|reach| reach.last_edit), it.scan.number)),
        _ => found.iter().enumerate().max_by_key(|(_, it)| (it.furthest, it.scan.number)),
    };
    let Some(best) = best.map(|(at, _)| at) else {
        return match nothing(env, &survey, &headers, pointer.as_ref())? {
            // A directory without files of a database, and whole generations neither.
            Inspection::Nothing { .. } | Inspection::Database(_) => Ok(None),
        };
    };
    let known = found.iter().map(|it| it.furthest);
    let named = pointer.as_ref().map(|pointer| pointer.edit_min);
    let furthest = known.chain(named).max().unwrap_or(EditIndex::new(0));
    let (base, salvaged, bytes) = match mode {
        RecoveryMode::PointInTime => (None, prefix(found.get(best), furthest, orders)?, 0),
        _ => skipping(&found, best, orders)?,
    };
    let database = found.get(best).map(|it| it.generation.header.identity.database).unwrap_or_default();
    let own = pointer.filter(|pointer| pointer.database == database);
    let scans: Vec<Scan> = found.iter().map(|it| it.scan.clone()).collect();
    let refused = choose(&scans, own.as_ref(), RecoveryMode::Strict).err();
    let next = headers.next(pointer.as_ref())?;
    headers.good.retain(|_, header| header.identity.database == database);
    let Found { generation, scan: chosen, .. } = found.swap_remove(best);
    let pointer = pointer_state(current, own.as_ref(), chosen.number);
    let unwritten = headers.unwritten;
    let inspected =
        Box::new(Inspected { database, pointer, survey, scans, chosen, generation, unwritten, next });
    let number = inspected.chosen.number;
    let state = |source| JournalError::State { generation: number, source };
    salvaged.catalog.check().map_err(state)?;
    let losses = Losses { refused, base, lost: salvaged.lost.clone(), bytes, furthest };
    let report = report_of(mode, &inspected, &salvaged, losses);
    Ok(Some(Recovery { inspected, catalog: salvaged.catalog, report }))
}

/// The generations of the database that `CURRENT` names, or of the one that reaches furthest.
fn best_database(
    env: &JournalEnv,
    headers: &Headers,
    pointer: Option<&Pointer>,
) -> Result<Vec<Found>, JournalError> {
    let mut best: Vec<Found> = Vec::new();
    for database in headers.databases(pointer) {
        let mut all = Vec::new();
        for (number, header) in headers.of(database) {
            if let Some(generation) = Generations::read(env, *number, header)? {
                let scan = Scan::of(&generation);
                check_drift(&scan)?;
                let furthest = furthest(&generation)?;
                all.push(Found { generation, scan, furthest });
            }
        }
        let reach = |all: &[Found]| all.iter().map(|it| it.furthest).max();
        if reach(&all) > reach(&best) {
            best = all;
        }
    }
    Ok(best)
}

/// What was written by a later version is no damage, and is never passed over.
fn check_drift(scan: &Scan) -> Result<(), JournalError> {
    match &scan.verdict {
        // What somebody changed is passed over like what a disk changed.
        Verdict::Damaged(JournalError::Block { source: BlockError::Tampered { .. }, .. }) => Ok(()),
        Verdict::Damaged(error @ (JournalError::Record { .. } | JournalError::Block { .. })) => {
            Err(error.clone())
        }
        _ => Ok(()),
    }
}

fn furthest(generation: &Generations) -> Result<EditIndex, JournalError> {
    let mut last = generation.header.edit_index;
    generation.walk_all(|record| {
        let (generation, record_index) = (generation.number, record.index);
        let undecodable = |source| JournalError::Record { generation, record: record_index, source };
        if let RecordHead::Edits { follows, count } = Record::head(&record.body).map_err(undecodable)? {
            last = last.max(follows.checked_add(count).unwrap_or(last));
        }
        Ok(())
    })?;
    Ok(last)
}

/// The state before the first record that is lost.
fn prefix(
    found: Option<&Found>,
    furthest: EditIndex,
    orders: &dyn KeyOrders,
) -> Result<Salvaged, JournalError> {
    let Some(found) = found else {
        return Ok(Salvage::new(orders, furthest).finish());
    };
    let replayed = replay(&found.generation, orders)?;
    let last_edit = replayed.last_edit;
    let edits = last_edit.get() - replayed.begin.edit_index.get();
    let mut salvaged = Salvaged { catalog: replayed.catalog, last_edit, edits, ..Salvaged::default() };
    salvaged.lost.give_up(last_edit, furthest);
    Ok(salvaged)
}

/// The state from all records that can be read, the generation that stands in for a lost snapshot, and how many bytes
/// were passed over.
fn skipping(
    found: &[Found],
    best: usize,
    orders: &dyn KeyOrders,
) -> Result<(Option<Generation>, Salvaged, u64), JournalError> {
    let Some(target) = found.get(best) else {
        return Ok((None, Salvage::new(orders, EditIndex::new(0)).finish(), 0));
    };
    let begin = target.generation.header.edit_index;
    let reaches = |it: &&Found| it.scan.reach.is_some_and(|reach| reach.last_edit >= begin);
    let base = match target.scan.reach {
        Some(_) => None,
        None => found
            .iter()
            .filter(reaches)
            .max_by_key(|it| (it.scan.reach.map(|it| it.last_edit), it.scan.number)),
    };
    let named = Named::new(orders);
    let mut salvage = match base {
        Some(base) => {
            let replayed = replay(&base.generation, orders)?;
            Salvage::on(&named, replayed.catalog, replayed.last_edit)
        }
        None => Salvage::new(&named, begin),
    };
    let number = target.generation.number;
    let bytes = target.generation.walk_all(|record| {
        salvage.feed(&record.body).map_err(|source| named.error(number, record.index, source))
    })?;
    Ok((base.map(|base| base.scan.number), salvage.finish(), bytes))
}

fn report_of(
    mode: RecoveryMode,
    inspected: &Inspected,
    salvaged: &Salvaged,
    losses: Losses,
) -> RecoveryReport {
    let is_clean = losses.lost.is_nothing() && inspected.chosen.reach.is_some_and(|reach| reach.is_clean);
    RecoveryReport {
        edits_replayed: salvaged.edits,
        last_edit: salvaged.last_edit,
        reserved_ids: salvaged.catalog.reserved_ids(),
        is_clean,
        losses: Some(losses),
        ..report(mode, inspected)
    }
}
