//! Rebuilding the state from the records of a manifest file, one at a time (D-38).

use alloc::boxed::Box;

use lsm_types::{EditIndex, KeyOrder, TreeId};

use crate::{
    Catalog, DatabaseEdit, ManifestError, Record, SnapshotBegin, SnapshotDigest, TreeIdentity, VersionEdit,
};

/// Finds the order of a tree's keys by what the tree says about itself; `None` where it is not at hand.
pub trait KeyOrders {
    /// The order of the keys of `tree`.
    fn order(&self, tree: TreeId, identity: &TreeIdentity) -> Option<KeyOrder>;
}

impl<F: Fn(TreeId, &TreeIdentity) -> Option<KeyOrder>> KeyOrders for F {
    fn order(&self, tree: TreeId, identity: &TreeIdentity) -> Option<KeyOrder> {
        self(tree, identity)
    }
}

/// What the records so far say.
#[derive(Clone, Debug)]
pub struct Replayed {
    /// The state.
    pub catalog: Catalog,
    /// The snapshot it started from.
    pub begin: SnapshotBegin,
    /// Digest of that snapshot.
    pub snapshot_digest: u64,
    /// The last edit.
    pub last_edit: EditIndex,
    /// Whether the database was closed in order.
    pub is_clean: bool,
}

/// Takes the records of one file in order. After an error it takes no more.
pub struct Replay<'a> {
    orders: &'a dyn KeyOrders,
    state: State,
}

enum State {
    Empty,
    Snapshot { catalog: Catalog, begin: SnapshotBegin, digest: Box<SnapshotDigest> },
    Edits(Replayed),
    Failed,
}

impl<'a> Replay<'a> {
    /// Nothing yet.
    pub fn new(orders: &'a dyn KeyOrders) -> Self {
        Self { orders, state: State::Empty }
    }

    /// Takes the next record, as it was encoded.
    ///
    /// # Errors
    /// A record that does not decode, does not stand where it may, does not follow the one before it, or does not
    /// apply. [`ManifestError::UnknownOrder`] for a tree whose comparator is not at hand.
    pub fn feed(&mut self, record: &[u8]) -> Result<(), ManifestError> {
        let state = core::mem::replace(&mut self.state, State::Failed);
        self.state = match (state, Record::decode(record)?) {
            (State::Empty, Record::SnapshotBegin(begin)) => {
                State::Snapshot { catalog: Catalog::default(), begin, digest: Box::default() }
            }
            (State::Snapshot { catalog, begin, mut digest }, Record::SnapshotChunk(edit)) => {
                digest.update(record);
                State::Snapshot { catalog: self.apply(catalog, &edit)?, begin, digest }
            }
            (
                State::Snapshot { catalog, begin, digest },
                Record::SnapshotEnd { chunk_count, digest: said },
            ) => {
                if digest.chunk_count() != chunk_count || digest.value() != said {
                    return Err(ManifestError::Snapshot { what: "pieces" });
                }
                State::Edits(complete(catalog, begin, said)?)
            }
            (State::Edits(done), Record::Edits { follows, edits }) if !done.is_clean => {
                self.edits(done, follows, &edits).map(State::Edits)?
            }
            (State::Edits(done), Record::CleanClose) if !done.is_clean => {
                State::Edits(Replayed { is_clean: true, ..done })
            }
            (State::Empty, _) => {
                return Err(ManifestError::OutOfPlace { expected: "the start of a snapshot" });
            }
            (State::Snapshot { .. }, _) => {
                return Err(ManifestError::OutOfPlace { expected: "a piece of the snapshot" });
            }
            (State::Edits(done), _) if done.is_clean => {
                return Err(ManifestError::OutOfPlace { expected: "the end of the file" });
            }
            (State::Edits(_), _) => return Err(ManifestError::OutOfPlace { expected: "an edit" }),
            (State::Failed, _) => return Err(ManifestError::OutOfPlace { expected: "nothing more" }),
        };
        Ok(())
    }

    /// What the records say; `None` before the snapshot is complete, and after an error.
    pub fn finish(self) -> Option<Replayed> {
        match self.state {
            State::Edits(done) => Some(done),
            State::Empty | State::Snapshot { .. } | State::Failed => None,
        }
    }

    fn edits(
        &self,
        mut done: Replayed,
        follows: EditIndex,
        edits: &[VersionEdit],
    ) -> Result<Replayed, ManifestError> {
        if follows != done.last_edit {
            return Err(ManifestError::Gap { expected: done.last_edit, found: follows });
        }
        for edit in edits {
            done.catalog = self.apply(done.catalog, edit)?;
            let next = done.last_edit.checked_add(1);
            done.last_edit = next.ok_or(ManifestError::Decode { field: "edit index" })?;
        }
        Ok(done)
    }

    fn apply(&self, mut catalog: Catalog, edit: &VersionEdit) -> Result<Catalog, ManifestError> {
        for step in &edit.database {
            if let DatabaseEdit::CreateTree { tree, identity } = step {
                let order = self.orders.order(*tree, identity);
                catalog.set_order(*tree, order.ok_or(ManifestError::UnknownOrder { tree: *tree })?);
            }
        }
        catalog.replay(edit)
    }
}

impl core::fmt::Debug for Replay<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Replay").finish_non_exhaustive()
    }
}

fn complete(catalog: Catalog, begin: SnapshotBegin, snapshot_digest: u64) -> Result<Replayed, ManifestError> {
    if catalog.trees.len() as u64 != u64::from(begin.tree_count) {
        return Err(ManifestError::Snapshot { what: "trees" });
    }
    if catalog.table_count() as u64 != begin.table_count {
        return Err(ManifestError::Snapshot { what: "tables" });
    }
    Ok(Replayed { catalog, begin, snapshot_digest, last_edit: begin.edit_index, is_clean: false })
}
