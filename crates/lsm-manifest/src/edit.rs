//! What changes between two versions.

use alloc::{string::String, sync::Arc, vec::Vec};

use lsm_types::{FileUuid, Level, RouteId, RunId, SeqNo, TableId, TreeId, ValueReferences, VlogId};

use crate::{
    Restriction, StoredSchema, TableDescriptor, TreeIdentity, VectorDescriptor, VlogDescriptor, Watermark,
};

/// A change to one tree. Within an edit, changes apply in order.
#[non_exhaustive]
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TreeEdit {
    /// A new run, empty until tables are added. A run leaves with its last table.
    AddRun {
        /// Its level.
        level: Level,
        /// Its number, not in use.
        run: RunId,
        /// Its place in age within the level, not in use.
        age: u64,
    },
    /// A new table.
    AddTable {
        /// Its level.
        level: Level,
        /// Its run, in that level.
        run: RunId,
        /// All about it.
        table: Arc<TableDescriptor>,
    },
    /// A table leaves.
    RemoveTable {
        /// Its number.
        id: TableId,
    },
    /// A table goes to another run without being rewritten.
    MoveTable {
        /// Its number.
        id: TableId,
        /// Where it goes.
        level: Level,
        /// Where it goes.
        run: RunId,
    },
    /// The file of a table was given a second name: from now on it is only ever unlinked, never changed or cut.
    ExportTable {
        /// Its number.
        id: TableId,
    },
    /// What lies below a key leaves a table; its file stays. The bound only rises.
    RestrictTable {
        /// Its number.
        id: TableId,
        /// What is left.
        to: Restriction,
        /// What of value logs the entries that are left refer to.
        references: ValueReferences,
    },
    /// Rows of a table are dead from now on: its delete vector takes the place of the one it had. The file of the table
    /// stays as it is.
    AttachVector {
        /// Its number.
        id: TableId,
        /// All about the vector.
        vector: Arc<VectorDescriptor>,
    },
    /// A new value log. Comes before the tables that refer to it.
    AddVlog {
        /// All about it.
        vlog: Arc<VlogDescriptor>,
    },
    /// A value log leaves that no table refers to any more.
    RemoveVlog {
        /// Its number.
        id: VlogId,
    },
    /// The file of a value log was given a second name: as [`TreeEdit::ExportTable`].
    ExportVlog {
        /// Its number.
        id: VlogId,
    },
    /// No entry leads to a value in front of this offset of a value log any more. It only rises.
    AdvanceVlog {
        /// Its number.
        id: VlogId,
        /// Offset of the first byte of a value that some entry may lead to.
        frontier: u64,
    },
    /// New reads at or below the bound are refused from now on, and changes up to it may be gone; never lowers.
    RaiseFloor(SeqNo),
    /// New reads at or below the bound are refused from now on, because some entries are not as they were written;
    /// [`TreeEdit::ChangesFrom`] says which. Never lowers.
    RefuseReads(SeqNo),
    /// New reads above the bound are allowed again; never raises.
    LowerFloor(SeqNo),
    /// Changes numbered below the bound may be gone or altered; never lowers.
    ChangesFrom(SeqNo),
    /// A write of this number reached a table.
    MaxSeqNo(SeqNo),
    /// Everything up to here is in tables.
    Watermark(Watermark),
    /// Long values of the tree may lie in value logs. Never taken back.
    Separate,
    /// Operands of the tree are for the merge operator with this name.
    MergeOperator(String),
    /// Values of the tree are split by a new schema from now on.
    AddSchema(Arc<StoredSchema>),
}

/// A change to the database as a whole.
#[non_exhaustive]
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DatabaseEdit {
    /// File numbers below this one may have been used.
    ReserveIds(u64),
    /// A new tree.
    CreateTree {
        /// Its number, not in use.
        tree: TreeId,
        /// What it is.
        identity: TreeIdentity,
    },
    /// A new root directory besides that of the database.
    AddRoute {
        /// Its number, not in use and not that of the database's own directory.
        route: RouteId,
        /// Its identity, which the directory repeats; not in use.
        uuid: FileUuid,
    },
    /// The database was written without syncs. Never taken back: nobody knows what reached the disk.
    WithoutSync,
}

/// One atomic step of a database: changes to it and to any number of its trees.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct VersionEdit {
    /// Applied first.
    pub database: Vec<DatabaseEdit>,
    /// Applied in order.
    pub trees: Vec<(TreeId, TreeEdit)>,
}

impl VersionEdit {
    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.database.is_empty() && self.trees.is_empty()
    }

    /// Adds the creation of a tree.
    pub fn create_tree(&mut self, tree: TreeId, identity: TreeIdentity) {
        self.database.push(DatabaseEdit::CreateTree { tree, identity });
    }

    /// Adds a change to a tree.
    pub fn push(&mut self, tree: TreeId, edit: TreeEdit) {
        self.trees.push((tree, edit));
    }
}
