//! Making the next super version: after a seal, and after an install.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, atomic::Ordering},
};

use lsm_manifest::{LiveVlog, TableDescriptor, Version};
use lsm_memtable::MemtableConfig;
use lsm_table::{Table, TableEnv, ValueLog, VlogEnv};
use lsm_types::{KeyOrder, SeqNo, TableId};

use super::{Sealed, TreeInner};
use crate::{
    Token,
    deletes::MemDeletes,
    memtables::{ActiveMemtable, Memtable, Position, SealedMemtable},
    separated::ValueLogs,
    super_version::SuperVersion,
};

/// What only the makers of super versions touch.
pub(super) struct Publisher {
    /// Handles of the tables of the newest version, and of those that came in the same edit with it.
    tables: HashMap<TableId, Table>,
    /// Views that others took the place of, because other rows of the tables are dead now.
    revised: Vec<Table>,
    /// The value logs of the newest version.
    vlogs: ValueLogs,
    next_memtable: u64,
    /// The log position that was replayed last; the next seal has it unless it is given a later one.
    replayed: Option<Token>,
}

impl Publisher {
    pub(super) fn start(
        version: &Version,
        env: &Arc<TableEnv>,
        vlog_env: Option<&Arc<VlogEnv>>,
        order: &KeyOrder,
    ) -> (Self, SuperVersion) {
        let (tables, vlogs) = (HashMap::new(), ValueLogs::default());
        let revised = Vec::new();
        let mut publisher = Self { tables, revised, vlogs, next_memtable: 0, replayed: None };
        publisher.take_vlogs(vlog_env, version);
        let active = publisher.new_memtable(order, SeqNo::ZERO);
        let version = Arc::new(version.clone());
        let current = SuperVersion::new(
            active,
            Arc::new([]),
            (version, publisher.vlogs.clone()),
            None,
            order,
            |descriptor| publisher.table(env, descriptor),
        );
        (publisher, current)
    }

    /// The handle of a table. There is one, whoever asks first: the last one that goes removes the file.
    ///
    /// Changes that were installed with one edit are published one after another, and the first one shows the tables of
    /// all: their handles are made here, before they are handed in.
    fn table(&mut self, env: &Arc<TableEnv>, descriptor: &Arc<TableDescriptor>) -> Table {
        let new = || Table::new(env, descriptor.clone());
        let table = self.tables.entry(descriptor.id).or_insert_with(new);
        let known = table.descriptor();
        let has_vector = known.vector == descriptor.vector;
        if known.restriction != descriptor.restriction || !has_vector {
            let next = table.restricted(descriptor.clone());
            let before = std::mem::replace(table, next);
            self.revised.extend((!has_vector).then_some(before));
        }
        table.clone()
    }

    /// Goes over to the value logs of `version`; those that it has no more.
    fn take_vlogs(&mut self, env: Option<&Arc<VlogEnv>>, version: &Version) -> Vec<ValueLog> {
        let is_known = |log: &ValueLog| version.vlogs.get(log.id()).is_some();
        let left: Vec<_> = self.vlogs.iter().filter(|log| !is_known(log)).cloned().collect();
        let is_same = |log: &LiveVlog| {
            self.vlogs.get(log.vlog.id).is_some_and(|known| known.frontier() == log.frontier)
        };
        let has_new = !version.vlogs.iter().all(is_same);
        if let Some(env) = env
            && (has_new || !left.is_empty())
        {
            let open = |log: &LiveVlog| {
                let open = match self.vlogs.get(log.vlog.id) {
                    Some(known) if known.frontier() == log.frontier => known.clone(),
                    Some(known) => known.advanced(log.frontier),
                    None => ValueLog::new(env, log.vlog.clone(), log.frontier),
                };
                (log.vlog.id, open)
            };
            self.vlogs = ValueLogs::new(version.vlogs.iter().map(open).collect::<BTreeMap<_, _>>());
        }
        left
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
#[derive(Default)]
pub(crate) struct Published {
    /// Handles of tables that came.
    pub(crate) added: Vec<Table>,
    /// Tables that left: their files go when the last view lets go of them.
    pub(crate) removed: Vec<TableId>,
    /// Memtables up to this number are in tables now.
    pub(crate) flushed_through: Option<u64>,
    /// The tables that came hold writes that no memtable had.
    pub(crate) is_write: bool,
}

impl TreeInner {
    /// Freezes the active memtable and puts an empty one in its place.
    pub(crate) fn seal(&self, token: Option<Token>) -> Option<Sealed> {
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
        // What is written from now on goes to the next memtable, so what has a number here is in this one or below.
        let end = self.visible_end().max(max_seqno.next());
        let token = token.or(publisher.replayed.take());
        publisher.replayed = None;
        let position = token
            .as_ref()
            .map(|token| Position { token: token.as_slice().clone(), end: end.max(self.tickets.end()) });
        let (entries, deletes) = (active.entries.clone(), active.deletes.clone());
        let sealed = SealedMemtable { id, entries, deletes, position, max_seqno, end };
        let all = std::iter::once(Arc::new(sealed)).chain(current.sealed.iter().cloned()).collect();
        let active = publisher.new_memtable(&self.order, self.holds.write_floor());
        self.replace(&current, current.with_memtables(active, all));
        Some(Sealed { id, bytes, min_seqno, max_seqno, token })
    }

    /// Everything up to `token` in the caller's log is in memtables or tables.
    pub(crate) fn note_position(&self, token: Token) {
        self.publisher.lock().replayed = Some(token);
    }

    /// Takes over memtables of another tree, as if they had been sealed here.
    pub(crate) fn adopt(&self, sealed: Arc<[Arc<SealedMemtable>]>) {
        let _one_at_a_time = self.publisher.lock();
        let current = self.current.load_full();
        self.replace(&current, current.with_memtables(current.active.clone(), sealed));
    }

    /// Lets reads see `next` from now on.
    pub(super) fn replace(&self, current: &SuperVersion, next: SuperVersion) {
        let replaced = self.current.swap(Arc::new(next));
        debug_assert!(std::ptr::eq(&raw const *replaced, current), "makers of super versions take turns");
        replaced.note_replaced(self.store.clock().monotonic_nanos());
        self.holders.note(&replaced);
    }

    /// Publishes a durable version: tables, and the memtables they replace, change in one step.
    pub(crate) fn publish(&self, version: &Version, change: Published) {
        if change.is_write || change.flushed_through.is_some() {
            self.relocations.note_write(self.store.clock().now());
        }
        let mut publisher = self.publisher.lock();
        for table in change.added {
            publisher.tables.entry(table.id()).or_insert(table);
        }
        let vlogs_left = publisher.take_vlogs(self.vlogs.as_ref(), version);
        let vlogs = publisher.vlogs.clone();
        let current = self.current.load_full();
        let sealed = current
            .sealed
            .iter()
            .filter(|sealed| change.flushed_through.is_none_or(|through| sealed.id > through))
            .cloned()
            .collect();
        let mut next = SuperVersion::new(
            current.active.clone(),
            sealed,
            (Arc::new(version.clone()), vlogs),
            Some(&current),
            &self.order,
            |descriptor| publisher.table(&self.env, descriptor),
        );
        // A read that pinned what was before may find newer entries in the memtable, which it shares: it looks again.
        next.overtaken_count += u64::from(change.is_write);
        self.env.lineage.set_restricted(next.restricted().map(Table::descriptor).map(AsRef::as_ref));
        let overtaken = next.overtaken_count;
        self.replace(&current, next);
        self.overtaken_count.store(overtaken, Ordering::Release);
        let removed: Vec<Table> =
            change.removed.iter().filter_map(|id| publisher.tables.remove(id)).collect();
        let revised = std::mem::take(&mut publisher.revised);
        drop(publisher);
        self.forget_vectors(&revised);
        self.forget_vectors(&removed);
        for table in &removed {
            table.mark_obsolete();
        }
        for log in &vlogs_left {
            log.mark_obsolete();
        }
        // Dropped here, outside the lock: the last handle of a file removes it.
        drop(current);
        drop(removed);
        drop(revised);
        drop(vlogs_left);
    }

    /// No version names the delete vectors that these views have. A checkpoint may have given them second names: they are
    /// only ever unlinked.
    fn forget_vectors(&self, tables: &[Table]) {
        for table in tables {
            if let Some(vector) = &table.descriptor().vector {
                self.store.reclaimer().mark_exported([TableId::new(vector.id.get())]);
                table.mark_vector_obsolete();
            }
        }
    }

    /// Shows a version that somebody else has installed. Tables that it does not name are let go of, not removed.
    pub(crate) fn show(&self, version: &Version) {
        let mut publisher = self.publisher.lock();
        let mut known = std::mem::take(&mut publisher.tables);
        for (_, descriptor) in version.levels.tables() {
            let table = match known.remove(&descriptor.id) {
                Some(kept) if kept.descriptor() == descriptor => kept,
                Some(kept) if kept.descriptor().uuid == descriptor.uuid => {
                    kept.restricted(descriptor.clone())
                }
                _ => Table::new(&self.env, descriptor.clone()),
            };
            publisher.tables.insert(descriptor.id, table);
        }
        let current = self.current.load_full();
        let (active, sealed) = (current.active.clone(), current.sealed.clone());
        publisher.take_vlogs(self.vlogs.as_ref(), version);
        let version = (Arc::new(version.clone()), publisher.vlogs.clone());
        let next = SuperVersion::new(active, sealed, version, None, &self.order, |descriptor| {
            publisher.table(&self.env, descriptor)
        });
        publisher.revised.clear(); // the writer's files are the writer's to remove
        self.replace(&current, next);
        self.note_written(self.current.load().version.max_seqno);
    }

    /// The handle of a table of the newest version.
    pub(crate) fn table(&self, id: TableId) -> Option<Table> {
        self.publisher.lock().tables.get(&id).cloned()
    }
}
