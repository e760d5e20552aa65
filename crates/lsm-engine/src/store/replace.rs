//! Tables that a manifest names although merges have replaced them, because it lost the edits that said so: they are gone,
//! or bytes of them were given back. What was made from them takes their place.
//!
//! Nothing else is touched: where all that the manifest names is there, it is what it was at that edit.

use std::collections::{BTreeMap, BTreeSet};

use lsm_manifest::{Catalog, TableDescriptor, TreeEdit, VersionEdit};
use lsm_table::FoundTable;
use lsm_types::{Cut, ErrorClass, FileKind, KeyOrder, Result, RouteId, TableId, TreeId};

use super::{
    LeftOut,
    files::{LostFile, Stray, Survey},
    lineage,
    rebuild::{self, known_bounds},
    rest::Look,
    settle::{self, Files, Reading, Settled},
    values::FoundLogs,
};
use crate::RecoveryMode;

/// All tables that can be read.
type Tables = BTreeMap<TableId, FoundTable>;

/// Puts what replaced tables of `catalog` that are not, or not wholly, there in their place, as far as it is found. The
/// tables that were made good; what cannot be is lost.
///
/// Tables that were made from none, of flushes whose edits are lost, are not taken.
pub(super) fn broken(look: Look<'_>, catalog: &mut Catalog, survey: &mut Survey) -> Result<Vec<LostFile>> {
    let gone = survey.lost.iter().filter(|lost| lost.kind == FileKind::Table && lost.found.is_none());
    let gone: BTreeSet<TableId> = gone.map(|lost| lost.table).collect();
    let logs = FoundLogs::read(look.options, look.place, &survey.strays)?;
    let mut tables = strays(look, catalog, survey, &logs)?;
    let hollow = hollow(look, catalog, &tables, &gone);
    let mut touched: BTreeSet<TableId> = gone.union(&hollow).copied().collect();
    if look.options.recovery_mode == RecoveryMode::SkipCorrupt {
        touched.extend(passed_over(look, catalog, &tables));
    }
    if touched.is_empty() {
        return Ok(Vec::new());
    }
    let installed: BTreeSet<TableId> = named(catalog).map(|table| table.id).collect();
    for table in named(catalog).filter(|table| !gone.contains(&table.id)) {
        if let Ok(found) = read(look, table.id, table.route, table.file_len) {
            // What the manifest says of it comes first.
            let descriptor = TableDescriptor::clone(table);
            tables.insert(table.id, FoundTable { descriptor, ..found });
        }
    }
    let present = survey.tables().into_iter().chain(installed.difference(&gone).copied()).collect();
    let settled = settle::settle(&Files {
        tables: &tables,
        present: &present,
        installed: &installed,
        known: &known_bounds(catalog),
        reader: &look,
    });
    follow(look, catalog, (&tables, &settled), &mut touched);
    let change = Change { look, tables: &tables, settled: &settled, touched: &touched, hollow: &hollow };
    change.carry_out(catalog, survey, &logs)
}

/// Tables that no version names, with the values they lead to.
fn strays(look: Look<'_>, catalog: &Catalog, survey: &Survey, logs: &FoundLogs) -> Result<Tables> {
    let mut found = BTreeMap::new();
    for stray in survey.strays.iter().filter(|stray| stray.kind == FileKind::Table) {
        match rebuild::read_stray(look.options, look.place, stray) {
            Ok(table) => _ = found.insert(stray.id, table),
            Err(error)
                if matches!(error.kind().class(), ErrorClass::Io | ErrorClass::Retry)
                    || error.kind().is_about_keys() =>
            {
                return Err(error);
            }
            Err(_) => {} // it replaces nothing, and stays what it is
        }
    }
    found.retain(|_, table| {
        let version = catalog.tree(table.tree);
        let is_known = |log| version.is_some_and(|version| version.vlogs.get(log).is_some());
        let mut wanted = table.descriptor.references.iter().map(|(log, _)| log);
        wanted.all(|log| is_known(log) || logs.get(table.tree, log).is_some())
    });
    Ok(found)
}

fn read(look: Look<'_>, id: TableId, route: RouteId, len: u64) -> Result<FoundTable> {
    let stray = Stray { kind: FileKind::Table, id, route, len, created_edit: None };
    rebuild::read_stray(look.options, look.place, &stray)
}

fn named(catalog: &Catalog) -> impl Iterator<Item = &TableDescriptor> {
    catalog.trees().flat_map(|(_, version)| version.levels.tables()).map(|(_, table)| table.as_ref())
}

/// The bound that a manifest knows of.
fn bound(table: &TableDescriptor) -> Option<Cut> {
    table.restriction.as_ref().map(|restriction| Cut::Before(restriction.lower.clone()))
}

/// Tables that are there and of which entries are not, among those that others say they took over more of.
fn hollow(look: Look<'_>, catalog: &Catalog, strays: &Tables, gone: &BTreeSet<TableId>) -> BTreeSet<TableId> {
    let mut named: BTreeMap<TableId, Cut> = BTreeMap::new();
    for table in strays.values() {
        let Some(order) = look.order(&table.comparator) else { continue };
        let sliced = table.slice.iter().flat_map(|slice| {
            let border = slice.border.clone().unwrap_or(Cut::End);
            slice.inputs.iter().map(move |input| (*input, border.clone()))
        });
        let noted = table.taken_over.iter().flatten().map(|part| (part.table, part.below.clone()));
        let merged = table.inputs.iter().map(|input| (*input, Cut::End));
        for (input, to) in sliced.chain(noted).chain(merged) {
            let known = named.entry(input).or_insert(Cut::Start);
            if known.compare(&to, &order).is_lt() {
                *known = to;
            }
        }
    }
    let mut hollow = BTreeSet::new();
    for (id, to) in named.iter().filter(|(id, _)| !gone.contains(id)) {
        let Some(table) = catalog.table(*id) else { continue };
        let Ok(found) = read(look, table.id, table.route, table.file_len) else { continue };
        if !look.is_whole(&found, bound(table).as_ref(), to) {
            hollow.insert(*id);
        }
    }
    hollow
}

/// Tables of which the manifest knows more to be taken over than it names tables for: the edit of a slice is lost, and
/// later ones are not.
fn passed_over(look: Look<'_>, catalog: &Catalog, strays: &Tables) -> Vec<TableId> {
    let passed = strays.values().filter(|table| is_older(look, catalog, table));
    let inputs = passed.flat_map(|table| table.slice.iter().flat_map(|slice| slice.inputs.clone()));
    inputs.filter(|input| catalog.table(*input).is_some()).collect()
}

/// Whether what a slice took over was so already at the last edit of the manifest.
fn is_older(look: Look<'_>, catalog: &Catalog, table: &FoundTable) -> bool {
    let Some(order) = look.order(&table.comparator) else { return false };
    let mut inputs = table.slice.iter().flat_map(|slice| &slice.inputs);
    inputs.any(|input| {
        let known = catalog.table(*input).and_then(|table| bound(table));
        let mut parts = table.taken_over.iter().flatten();
        let then = parts.find(|part| part.table == *input).map(|part| &part.below);
        known.is_some_and(|known| then.is_none_or(|then| then.compare(&known, &order).is_lt()))
    })
}

/// Adds what was made of tables that are `touched`, and what it was made from as well. Where nobody knows what a table was
/// made from, it is the end of a trail that begins at one of them, or of writes that came later; both are to be had.
fn follow(
    look: Look<'_>,
    catalog: &Catalog,
    (tables, settled): (&Tables, &Settled),
    touched: &mut BTreeSet<TableId>,
) {
    let skips = look.options.recovery_mode == RecoveryMode::SkipCorrupt;
    let counts = |table: &&FoundTable| {
        let is_void = matches!(settled.out.get(&table.descriptor.id), Some(LeftOut::Unfinished));
        // What was compacted away before the last edit stays away, unless edits may be missing in between.
        !is_void && (skips || !is_older(look, catalog, table))
    };
    let made: Vec<&FoundTable> = tables.values().filter(counts).collect();
    let is_named = |id: &TableId| catalog.table(*id).is_some();
    let trees: BTreeSet<TreeId> = touched.iter().filter_map(|id| Some(catalog.place(*id)?.0)).collect();
    loop {
        let before = touched.len();
        for table in &made {
            let inputs = || table.inputs.iter().chain(table.slice.iter().flat_map(|slice| &slice.inputs));
            let is_stray = !is_named(&table.descriptor.id);
            let is_end = is_stray
                && trees.contains(&table.tree)
                && inputs().any(|input| !tables.contains_key(input) && !is_named(input));
            if !is_end && !inputs().any(|input| touched.contains(input)) {
                continue;
            }
            touched.extend(inputs().copied());
            touched.insert(table.descriptor.id);
            // It goes on saying so: what it says has to be true of the tables that it comes to lie beside.
            let parts = table.taken_over.iter().flatten().filter(|_| is_stray);
            touched.extend(parts.map(|part| part.table).filter(is_named));
        }
        if touched.len() == before {
            return;
        }
    }
}

/// What becomes of the tables that are touched.
struct Change<'a> {
    look: Look<'a>,
    tables: &'a Tables,
    settled: &'a Settled,
    touched: &'a BTreeSet<TableId>,
    hollow: &'a BTreeSet<TableId>,
}

impl Change<'_> {
    fn carry_out(
        self,
        catalog: &mut Catalog,
        survey: &mut Survey,
        logs: &FoundLogs,
    ) -> Result<Vec<LostFile>> {
        let known: Vec<TableDescriptor> = named(catalog).cloned().collect();
        let known_logs: Vec<_> =
            catalog.trees().flat_map(|(_, it)| it.vlogs.iter()).map(|it| it.vlog.clone()).collect();
        let mut adopted = BTreeSet::new();
        let strays = self.touched.iter().filter(|id| !known.iter().any(|table| table.id == **id));
        for id in strays.filter(|id| !self.settled.out.contains_key(id)) {
            let Some(table) = self.tables.get(id) else { continue };
            let mut table = table.clone();
            if let Some((below, _)) = self.settled.floors.get(id) {
                table.descriptor = self.look.above(&table.descriptor, &table.comparator, below)?;
            }
            if lineage::adopt(catalog, &table, logs)? {
                adopted.insert(*id);
            }
        }
        let mut replaced = BTreeSet::new();
        let mut bounds = VersionEdit::default();
        for table in known.iter().filter(|table| self.touched.contains(&table.id)) {
            if self.is_replaced(table) {
                replaced.insert(table.id);
            } else if let Some((tree, edit)) = self.restriction(table)? {
                bounds.push(tree, edit);
            } else if self.hollow.contains(&table.id)
                && let Some(lost) = super::files::lost(catalog, table, Some(table.file_len))
            {
                survey.lost.push(lost);
            }
        }
        catalog.apply_in_place(&bounds)?;
        // Only now: value logs that both refer to stay.
        catalog.forget(replaced.iter().copied())?;
        // Nothing leads to these any more; one that is gone is no loss then.
        let is_named = |id| catalog.trees().any(|(_, version)| version.vlogs.get(id).is_some());
        for log in known_logs.iter().filter(|log| !is_named(log.id)) {
            let id = TableId::new(log.id.get());
            let lost = survey.lost.iter().position(|lost| lost.table == id);
            match lost.map(|at| survey.lost.remove(at)) {
                Some(LostFile { found: None, .. }) => {}
                _ => survey.strays.push(Stray {
                    kind: FileKind::ValueLog,
                    id,
                    route: RouteId::PRIMARY,
                    len: log.file_len,
                    created_edit: None,
                }),
            }
        }
        // Inputs that are still there are no longer part of anything.
        let left =
            known.iter().filter(|table| replaced.contains(&table.id) && self.tables.contains_key(&table.id));
        survey.strays.extend(left.map(|table| Stray {
            kind: FileKind::Table,
            id: table.id,
            route: table.route,
            len: table.file_len,
            created_edit: None,
        }));
        survey.strays.retain(|stray| !adopted.contains(&stray.id));
        let (made_good, lost) =
            std::mem::take(&mut survey.lost).into_iter().partition(|lost| replaced.contains(&lost.table));
        survey.lost = lost;
        Ok(made_good)
    }

    /// Whether other tables hold all that is left of it.
    fn is_replaced(&self, table: &TableDescriptor) -> bool {
        if self.settled.out.contains_key(&table.id) {
            return true;
        }
        let is_void = |id| matches!(self.settled.out.get(&id), Some(LeftOut::Unfinished));
        let mut others = self.tables.values();
        if others.any(|other| other.inputs.contains(&table.id) && !is_void(other.descriptor.id)) {
            return true;
        }
        let Some((below, by)) = self.settled.floors.get(&table.id) else { return false };
        let teller = self.tables.get(by);
        let order =
            teller.and_then(|teller| self.look.order(&teller.comparator)).unwrap_or_else(KeyOrder::bytewise);
        table.entries.as_ref().is_none_or(|range| !below.is_left_of(&range.max, &order))
    }

    /// The step that bounds it, where more of it is taken over than the manifest knows.
    fn restriction(&self, table: &TableDescriptor) -> Result<Option<(TreeId, TreeEdit)>> {
        let (Some(found), Some((below, _))) =
            (self.tables.get(&table.id), self.settled.floors.get(&table.id))
        else {
            return Ok(None);
        };
        let rest = self.look.above(table, &found.comparator, below)?;
        let is_new = rest.restriction != table.restriction;
        Ok(rest.restriction.filter(|_| is_new).map(|to| {
            (found.tree, TreeEdit::RestrictTable { id: table.id, to, references: rest.references })
        }))
    }
}
