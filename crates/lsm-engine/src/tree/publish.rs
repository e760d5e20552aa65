//! Making the next super version: after a seal, and after an install.

use std::{collections::HashMap, sync::Arc};

use lsm_manifest::Version;
use lsm_memtable::MemtableConfig;
use lsm_table::{Table, TableEnv};
use lsm_types::{KeyOrder, Result, SeqNo, TableId};

use super::{Sealed, TreeInner};
use crate::{
    EngineError, Token,
    deletes::MemDeletes,
    memtables::{ActiveMemtable, Memtable, SealedMemtable},
    super_version::SuperVersion,
};

/// What only the makers of super versions touch.
pub(super) struct Publisher {
    /// Handles of the tables of the newest version.
    tables: HashMap<TableId, Table>,
    next_memtable: u64,
}

const EVERY_TABLE_HAS_A_HANDLE: EngineError =
    EngineError::Bug { invariant: "every table of the newest version has a handle" };

impl Publisher {
    pub(super) fn start(
        version: &Version,
        env: &Arc<TableEnv>,
        order: &KeyOrder,
    ) -> Result<(Self, SuperVersion)> {
        let tables: HashMap<TableId, Table> = version
            .levels
            .tables()
            .map(|(_, descriptor)| (descriptor.id, Table::new(env, descriptor.clone())))
            .collect();
        let mut publisher = Self { tables, next_memtable: 0 };
        let active = publisher.new_memtable(order, SeqNo::ZERO);
        let current = SuperVersion::new(active, Arc::new([]), Arc::new(version.clone()), None, order, |id| {
            publisher.tables.get(&id).cloned()
        });
        Ok((publisher, current.ok_or(EVERY_TABLE_HAS_A_HANDLE)?))
    }

    fn new_memtable(&mut self, order: &KeyOrder, write_floor: SeqNo) -> Arc<ActiveMemtable> {
        let id = self.next_memtable;
        self.next_memtable += 1;
        let entries = Memtable::new(order.clone(), MemtableConfig::default());
        entries.refuse_below(write_floor);
        Arc::new(ActiveMemtable { id, entries: Arc::new(entries), deletes: MemDeletes::default() })
    }
}

/// What a durable install changes besides the version.
pub(crate) struct Published {
    /// Handles of tables that came.
    pub(crate) added: Vec<Table>,
    /// Tables that left: their files go when the last view lets go of them.
    pub(crate) removed: Vec<TableId>,
    /// Memtables up to this number are in tables now.
    pub(crate) flushed_through: Option<u64>,
}

impl TreeInner {
    /// Freezes the active memtable and puts an empty one in its place.
    pub(super) fn seal(&self, token: Option<Token>) -> Option<Sealed> {
        let mut publisher = self.publisher.lock();
        let current = self.current.load_full();
        let active = &current.active;
        if active.is_empty() {
            return None;
        }
        // Freezing waits for the write that is under way. Writers that come now find the memtable frozen and try
        // again until the next one is published, a few instructions further down.
        active.entries.freeze();
        let (min_seqno, max_seqno) = active.seqnos().unwrap_or((SeqNo::ZERO, SeqNo::ZERO));
        let (id, bytes) = (active.id, active.bytes());
        let token = token.map(|token| token.as_slice().clone());
        let (entries, deletes) = (active.entries.clone(), active.deletes.clone());
        let sealed = SealedMemtable { id, entries, deletes, token, max_seqno };
        let all = std::iter::once(Arc::new(sealed)).chain(current.sealed.iter().cloned()).collect();
        let active = publisher.new_memtable(&self.order, self.holds.write_floor());
        self.current.store(Arc::new(current.with_memtables(active, all)));
        Some(Sealed { id, bytes, min_seqno, max_seqno })
    }

    /// Publishes a durable version: tables, and the memtables they replace, change in one step.
    pub(crate) fn publish(&self, version: &Version, change: Published) -> Result<()> {
        let mut publisher = self.publisher.lock();
        for table in change.added {
            publisher.tables.insert(table.id(), table);
        }
        let current = self.current.load_full();
        let sealed = current
            .sealed
            .iter()
            .filter(|sealed| change.flushed_through.is_none_or(|through| sealed.id > through))
            .cloned()
            .collect();
        let next = SuperVersion::new(
            current.active.clone(),
            sealed,
            Arc::new(version.clone()),
            Some(&current),
            &self.order,
            |id| publisher.tables.get(&id).cloned(),
        )
        .ok_or(EVERY_TABLE_HAS_A_HANDLE)?;
        self.current.store(Arc::new(next));
        let removed: Vec<Table> =
            change.removed.iter().filter_map(|id| publisher.tables.remove(id)).collect();
        drop(publisher);
        for table in &removed {
            table.mark_obsolete();
        }
        // Dropped here, outside the lock: the last handle of a table removes its file.
        drop(current);
        drop(removed);
        Ok(())
    }

    /// As [`TreeInner::publish`]; a tree that cannot show what is durable stops.
    pub(crate) fn publish_or_stop(&self, version: &Version, change: Published) {
        if let Err(error) = self.publish(version, change) {
            tracing::error!(%error, "a durable change could not be published");
            self.stop.cancel();
        }
    }

    /// The handle of a table of the newest version.
    pub(crate) fn table(&self, id: TableId) -> Option<Table> {
        self.publisher.lock().tables.get(&id).cloned()
    }
}
