//! Which files make up a tree, by what each says about the others (`docs/adr/0026`).
//!
//! A table says what it was made from. One of a merge that is installed as a whole names its inputs: of a merge that had
//! ended, what is left of the inputs is left out; of one that may not have, the outputs are (see `lineage.rs`). One of a
//! merge that is installed slice by slice names the inputs with the border up to which they were taken over. And every table
//! says which bounds were durable when it was begun, or, in a slice, ended, and which tables had left their tree altogether.
//!
//! So a bound is known for certain from any table that was begun later. Only of the last slice it is not known whether it
//! was installed. That is not needed: as long as its inputs are all there, the slice with the inputs from its border on and
//! the inputs without the slice are the same entries. What must not be is both.
//!
//! ```text
//! input  |=======================|     |.....==================|     |...........============|   floor: the border
//! slices |                       |     |####                   |     |####=======            |   below it: the slices
//! ```

use std::collections::{BTreeMap, BTreeSet};

use lsm_table::FoundTable;
use lsm_types::{Cut, KeyOrder, TableId};

use super::{LeftOut, lineage};

/// What is known of the files of a database.
pub(super) struct Files<'a> {
    /// Tables that can be read.
    pub(super) tables: &'a BTreeMap<TableId, FoundTable>,
    /// All files of tables that are there.
    pub(super) present: &'a BTreeSet<TableId>,
    /// Tables that are known to have been part of a version.
    pub(super) installed: &'a BTreeSet<TableId>,
    /// Bounds that are known from elsewhere.
    pub(super) known: &'a [(TableId, Cut)],
    pub(super) reader: &'a dyn Reading,
}

/// What has to be asked about tables.
pub(super) trait Reading {
    /// The order of keys with this name.
    fn order(&self, name: &str) -> Option<KeyOrder>;

    /// Whether the entries of a table between two places can be read, and no values of theirs were given back.
    fn is_whole(&self, table: &FoundTable, from: Option<&Cut>, to: &Cut) -> bool;
}

/// What becomes of them.
#[derive(Debug, Default)]
pub(super) struct Settled {
    /// Tables that have no place beside the others.
    pub(super) out: BTreeMap<TableId, LeftOut>,
    /// Tables of which the keys from here on are left, each with the table that says so; tables that are not there as well.
    pub(super) floors: BTreeMap<TableId, (Cut, TableId)>,
}

/// Says which of the tables make up their trees, and how much of each.
pub(super) fn settle(files: &Files<'_>) -> Settled {
    let facts = Facts::of(files);
    let mut settled = Settled { out: facts.superseded(files), floors: BTreeMap::new() };
    for (table, fact) in &facts.bounds {
        settled.floors.insert(*table, fact.clone());
    }
    let slices = files.tables.values().filter(|table| table.slice.is_some());
    let (mut installed, mut undecided) = (Vec::new(), Vec::new());
    for table in slices {
        match facts.standing(files, table) {
            Standing::Installed => {
                raise(files, &mut settled.floors, table);
                installed.push(table);
            }
            Standing::Void => _ = settled.out.entry(table.descriptor.id).or_insert(LeftOut::Unfinished),
            Standing::Unknown => undecided.push(table),
        }
    }
    // All tables of a slice are installed at once.
    let is_part = |table: &&FoundTable, id| table.slice.as_ref().is_some_and(|it| it.before.contains(&id));
    let (decided, undecided): (Vec<&FoundTable>, Vec<&FoundTable>) =
        undecided.into_iter().partition(|table| {
            let id = table.descriptor.id;
            installed.iter().any(|other| is_part(other, id) || is_part(table, other.descriptor.id))
        });
    for table in decided {
        raise(files, &mut settled.floors, table);
    }
    for table in &undecided {
        let last = undecided.iter().copied().find(|last| is_last_of(last, table));
        let is_complete = last.is_some_and(|last| facts.is_complete(files, &settled, last));
        if is_complete || is_needed(files, &settled, table, last) {
            raise(files, &mut settled.floors, table);
        } else {
            settled.out.insert(table.descriptor.id, LeftOut::Unfinished);
        }
    }
    leave(files, &mut settled);
    settled
}

/// What tables say about others.
struct Facts<'a> {
    /// How far tables were taken over for certain, and who says so.
    bounds: BTreeMap<TableId, (Cut, TableId)>,
    /// Who names a table as an input, of either kind of merge.
    users: BTreeMap<TableId, Vec<&'a FoundTable>>,
}

/// What is known of a table of a slice.
#[derive(PartialEq, Eq)]
enum Standing {
    Installed,
    /// It was given up before anything else was made of its inputs.
    Void,
    Unknown,
}

impl<'a> Facts<'a> {
    fn of(files: &Files<'a>) -> Self {
        let mut facts = Self { bounds: BTreeMap::new(), users: BTreeMap::new() };
        for table in files.tables.values() {
            let id = table.descriptor.id;
            for part in table.taken_over.iter().flatten() {
                raise_one(files, &mut facts.bounds, (part.table, &part.below), (id, table));
            }
            let sliced = table.slice.iter().flat_map(|slice| &slice.inputs);
            for input in table.inputs.iter().chain(sliced) {
                facts.users.entry(*input).or_default().push(table);
            }
        }
        for (id, below) in files.known {
            if let Some(table) = files.tables.get(id) {
                raise_one(files, &mut facts.bounds, (*id, below), (*id, table));
            }
        }
        facts
    }

    /// Tables that merges have replaced as a whole, and outputs of merges that may not have ended.
    fn superseded(&self, files: &Files<'_>) -> BTreeMap<TableId, LeftOut> {
        let mut out = BTreeMap::new();
        for (id, (below, by)) in &self.bounds {
            if *below == Cut::End && files.tables.contains_key(id) {
                out.insert(*id, LeftOut::Superseded { by: *by });
            }
        }
        let has_left = |id: TableId| matches!(self.bounds.get(&id), Some((Cut::End, _)));
        let is_there = |id| files.present.contains(&id) && !has_left(id);
        let groups = lineage::groups(files.tables.values());
        let mut outputs: BTreeSet<TableId> =
            groups.values().flatten().map(|output| output.descriptor.id).collect();
        for (inputs, made) in lineage::ended(&groups, is_there, |id| self.is_known(files, id)) {
            let by = made.first().map_or_else(TableId::default, |output| output.descriptor.id);
            let left = inputs.iter().filter(|input| files.tables.contains_key(*input));
            for input in left {
                out.entry(*input).or_insert(LeftOut::Superseded { by });
            }
            for output in made {
                outputs.remove(&output.descriptor.id);
            }
        }
        for id in outputs {
            out.entry(id).or_insert(LeftOut::Unfinished);
        }
        out
    }

    /// A slice is installed before anything else happens to what it took over, and raises the bound of all of that.
    fn standing(&self, files: &Files<'_>, table: &FoundTable) -> Standing {
        let id = table.descriptor.id;
        if self.is_known(files, id) {
            return Standing::Installed;
        }
        let Some(order) = files.reader.order(&table.comparator) else { return Standing::Unknown };
        let inputs = || table.slice.iter().flat_map(|slice| &slice.inputs);
        for input in inputs() {
            let before = bound_of(table, *input);
            let later = self.users.get(input).into_iter().flatten();
            for user in later.filter(|user| user.descriptor.id > id && user.taken_over.is_some()) {
                let is_sibling = user.slice.as_ref().is_some_and(|slice| slice.before.contains(&id));
                if !is_sibling && !is_above(bound_of(user, *input), before, &order) {
                    return Standing::Void;
                }
            }
        }
        let is_raised = |input: &TableId| {
            let bound = self.bounds.get(input).map(|(below, _)| below);
            is_above(bound, bound_of(table, *input), &order)
        };
        if inputs().any(is_raised) { Standing::Installed } else { Standing::Unknown }
    }

    /// Whether a table was part of a version: only such tables become inputs, have bounds, or leave.
    fn is_known(&self, files: &Files<'_>, id: TableId) -> bool {
        self.users.contains_key(&id) || self.bounds.contains_key(&id) || files.installed.contains(&id)
    }

    /// Whether all tables of a slice are there, or were used already.
    fn is_complete(&self, files: &Files<'_>, settled: &Settled, last: &FoundTable) -> bool {
        let mut before = last.slice.iter().flat_map(|slice| &slice.before);
        before.all(|id| {
            let is_there = files.tables.contains_key(id) && !settled.out.contains_key(id);
            is_there || self.is_known(files, *id)
        })
    }
}

/// Whether `last` is the last table of the slice that `table` belongs to.
fn is_last_of(last: &FoundTable, table: &FoundTable) -> bool {
    let id = table.descriptor.id;
    let Some(slice) = &last.slice else { return false };
    slice.border.is_some() && (last.descriptor.id == id || slice.before.contains(&id))
}

/// Whether what a table of a slice holds is nowhere else: inputs are gone as a whole, or in front. Without the end of the
/// slice nobody can tell up to where inputs that are there are to be left out.
fn is_needed(files: &Files<'_>, settled: &Settled, table: &FoundTable, last: Option<&FoundTable>) -> bool {
    let mut inputs = table.slice.iter().flat_map(|slice| &slice.inputs);
    let Some(border) = last.and_then(|last| last.slice.as_ref()?.border.as_ref()) else {
        return inputs.all(|input| !files.present.contains(input));
    };
    inputs.any(|input| {
        let Some(table) = files.tables.get(input) else { return true };
        let floor = settled.floors.get(input).map(|(below, _)| below);
        !files.reader.is_whole(table, floor, border)
    })
}

/// The inputs of a slice are taken over up to its border.
fn raise(files: &Files<'_>, floors: &mut BTreeMap<TableId, (Cut, TableId)>, table: &FoundTable) {
    let Some(slice) = &table.slice else { return };
    let Some(border) = &slice.border else { return };
    for input in &slice.inputs {
        raise_one(files, floors, (*input, border), (table.descriptor.id, table));
    }
}

fn raise_one(
    files: &Files<'_>,
    bounds: &mut BTreeMap<TableId, (Cut, TableId)>,
    (table, below): (TableId, &Cut),
    (by, teller): (TableId, &FoundTable),
) {
    let Some(order) = files.reader.order(&teller.comparator) else { return };
    let before = bounds.get(&table).map(|(below, _)| below);
    if is_above(Some(below), before, &order) {
        bounds.insert(table, (below.clone(), by));
    }
}

/// The bound that `input` had when `table` was begun, or ended as a part of a slice.
fn bound_of(table: &FoundTable, input: TableId) -> Option<&Cut> {
    let mut parts = table.taken_over.iter().flatten();
    parts.find(|part| part.table == input).map(|part| &part.below)
}

fn is_above(bound: Option<&Cut>, other: Option<&Cut>, order: &KeyOrder) -> bool {
    match (bound, other) {
        (Some(bound), Some(other)) => bound.compare(other, order).is_gt(),
        (bound, _) => bound.is_some(),
    }
}

/// Tables that are through leave: an input does when its largest key is passed, and its range tombstones go along.
fn leave(files: &Files<'_>, settled: &mut Settled) {
    for (id, (below, by)) in &settled.floors {
        let Some(table) = files.tables.get(id) else { continue };
        let Some(order) = files.reader.order(&table.comparator) else { continue };
        let max = table.descriptor.entries.as_ref().map(|range| &range.max);
        if !max.is_some_and(|max| below.is_left_of(max, &order)) {
            settled.out.entry(*id).or_insert(LeftOut::Superseded { by: *by });
        }
    }
    settled.floors.retain(|id, _| !settled.out.contains_key(id));
}
