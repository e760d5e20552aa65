//! Tables in memory, a job over them, and an installer that takes notes and checks what is read after each install.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use lsm_compaction_executor::{
    BusyTables, Cancel, Failpoints, InFlight, InstallError, InstallRequest, Installer, Job, NoWatch,
    OutsideContainer, Parallelism, RateLimiter, SliceEnds, SliceRoom,
};
use lsm_compaction_planner::{Inputs, OutputSpec, Shortage, SliceBudget};
use lsm_fs::{Fs, MemFs, SyncLevel};
use lsm_iter::Retention;
use lsm_table::{
    BlockCache, ConsumedPrefix, DecoderPool, DescriptorCache, FileIds, FilterDesk, LineageDesk, MultiWriter,
    ObsoleteFile, ReadMode, Reclaim, Table, TableEnv, TablePolicy, TableRoutes,
};
use lsm_testkit::{
    dice::Dice,
    ports::{SeededRandom, TestClock},
};
use lsm_types::{
    Cut, EditIndex, EntryCursor, EntryRef, FileUuid, KeyOrder, Kind, Level, RangeTombstone, Result, SeqNo,
    Slice, TableId, TreeId,
};
use parking_lot::Mutex;

use crate::wrap::{Control, WrapFs};

/// Whether files give back bytes in front.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Disk {
    Punching,
    Plain,
}

const FOLDER: &str = "tables";

#[derive(Default)]
struct Desk {
    next: AtomicU64,
    fs: MemFs,
}

impl FileIds for Desk {
    fn next(&self) -> Result<TableId> {
        Ok(TableId::new(self.next.fetch_add(1, Relaxed) + 1))
    }

    fn last_edit(&self) -> EditIndex {
        EditIndex::new(5)
    }
}

impl Reclaim for Desk {
    fn note_obsolete(&self, _: TableId, _: u64) {}

    fn obsolete(&self) -> Vec<TableId> {
        Vec::new()
    }

    fn release(&self, file: ObsoleteFile) {
        self.fs.remove_file(&file.path).unwrap();
    }

    fn release_prefix(&self, _prefix: ConsumedPrefix) {}

    fn retry(&self, file: ObsoleteFile) {
        panic!("{file:?}");
    }
}

/// A table, and the key below which it is not read.
#[derive(Clone)]
pub(crate) struct Live {
    table: Table,
    pub(crate) lower: Option<Slice>,
}

/// An entry, owned.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Row {
    key: Vec<u8>,
    seqno: SeqNo,
    kind: u8,
    value: Vec<u8>,
}

/// What reads at each number see.
pub(crate) type Reads = BTreeMap<u64, BTreeMap<Vec<u8>, Vec<u8>>>;

pub(crate) struct World {
    fs: MemFs,
    env: Arc<TableEnv>,
    inputs: Vec<Vec<Table>>,
    /// Older tables that are no inputs.
    outside: Vec<Table>,
    watermark: u64,
    end: u64,
    target_bytes: u64,
}

fn at(raw: u64) -> SeqNo {
    SeqNo::new(raw).unwrap()
}

impl World {
    fn new(disk: Disk, order: KeyOrder) -> Self {
        let fs = MemFs::new();
        fs.create_dir_all(Path::new(FOLDER)).unwrap();
        let ports = Arc::new(Desk { fs: fs.clone(), ..Desk::default() });
        let mut policy = TablePolicy::default().data_block_bytes(128);
        policy.index_spill_bytes = 256;
        policy.index_partition_bytes = 256;
        let given: Arc<dyn Fs> = match disk {
            Disk::Punching => Arc::new(fs.clone()),
            Disk::Plain => {
                Arc::new(WrapFs { inner: Arc::new(fs.clone()), control: Arc::new(Control::default()) })
            }
        };
        let env = Arc::new(TableEnv {
            fs: given,
            folder: PathBuf::from(FOLDER),
            routes: TableRoutes::default(),
            cache: BlockCache::new(0),
            descriptors: DescriptorCache::new(8),
            decoders: DecoderPool::new(),
            order,
            database: FileUuid::from_bytes([3; 16]),
            tree: TreeId::new(0),
            ids: ports.clone(),
            reclaim: ports,
            clock: Arc::new(TestClock::new()),
            random: Arc::new(SeededRandom::new(7)),
            encryption: None,
            policy,
            prefix_extractor: None,
            domains: None,
            columns: lsm_table::ColumnDesk::default(),
            filters: FilterDesk::default(),
            lineage: LineageDesk::default(),
            sync_file: SyncLevel::None,
            sync_folder: SyncLevel::None,
            file_name: |table| format!("{table}.sst"),
        });
        let (inputs, outside) = (Vec::new(), Vec::new());
        Self { fs, env, inputs, outside, watermark: 0, end: 0, target_bytes: 1 << 20 }
    }

    /// Runs of versions and deletes over few keys, so that borders meet all of them.
    pub(crate) fn random(seed: u64, disk: Disk) -> Self {
        Self::rolled(seed, disk, KeyOrder::bytewise())
    }

    /// The same in another order of keys.
    pub(crate) fn ordered(seed: u64, order: KeyOrder) -> Self {
        Self::rolled(seed, Disk::Punching, order)
    }

    fn rolled(seed: u64, disk: Disk, order: KeyOrder) -> Self {
        let mut dice = Dice::new(seed);
        let mut world = Self::new(disk, order);
        let keys = 20 + dice.below(150);
        let run_count = 1 + dice.index(4);
        let has_outside = dice.coin();
        let mut runs = Vec::new();
        for run in 0..run_count + usize::from(has_outside) {
            let mut rows = Vec::new();
            for _ in 0..=dice.below(250) {
                let (key, seqno) = (dice.below(keys), world.end);
                world.end += 1;
                let kind = match dice.below(10) {
                    0 | 1 => Kind::Tombstone,
                    2 => Kind::MergeOperand,
                    _ => Kind::Put,
                };
                let value =
                    if kind == Kind::Tombstone { Vec::new() } else { dice.roll().to_le_bytes().repeat(2) };
                rows.push((format!("key-{key:03}").into_bytes(), seqno, kind, value));
            }
            let mut deletes = Vec::new();
            for _ in 0..dice.below(4) {
                let (a, b) = (dice.below(keys + 20), dice.below(keys + 20));
                let cut = |key: u64, after: bool| {
                    let key: Slice = format!("key-{key:03}").as_bytes().into();
                    if after { Cut::After(key) } else { Cut::Before(key) }
                };
                let (a, b) = (cut(a, dice.coin()), cut(b, dice.coin()));
                let tombstone = RangeTombstone { start: a, end: b, seqno: at(world.end) };
                world.end += 1;
                deletes.extend(tombstone.is_valid(&world.env.order).then_some(tombstone));
            }
            // Larger tables, or several of a few entries each.
            let rows_max = if dice.coin() { usize::MAX } else { 1 + dice.index(60) };
            let tables = world.write(rows, deletes, rows_max);
            if has_outside && run == 0 {
                world.outside = tables;
            } else {
                runs.push(tables);
            }
        }
        // The newest first.
        runs.reverse();
        world.inputs = runs;
        world.watermark = dice.below(world.end + 1);
        if dice.coin() {
            world.target_bytes = 300;
        }
        world
    }

    /// Two runs of so many keys, the newer one deleting all but every tenth of them.
    pub(crate) fn shadowed(keys: u64) -> Self {
        let mut world = Self::new(Disk::Punching, KeyOrder::bytewise());
        let mut runs = Vec::new();
        for newer in [false, true] {
            let row = |key: u64| {
                let kind = if newer && !key.is_multiple_of(10) { Kind::Tombstone } else { Kind::Put };
                let value = if kind == Kind::Put { vec![key as u8; 20] } else { Vec::new() };
                (format!("key-{key:06}").into_bytes(), key + if newer { keys } else { 0 }, kind, value)
            };
            runs.insert(0, world.write((0..keys).map(row).collect(), Vec::new(), usize::MAX));
        }
        (world.inputs, world.end, world.watermark) = (runs, 2 * keys, 2 * keys);
        world
    }

    fn write(
        &self,
        mut rows: Vec<(Vec<u8>, u64, Kind, Vec<u8>)>,
        deletes: Vec<RangeTombstone>,
        rows_max: usize,
    ) -> Vec<Table> {
        let order = &self.env.order;
        rows.sort_by(|a, b| order.compare(&a.0, &b.0).then(b.1.cmp(&a.1)));
        let mut writer = MultiWriter::new(&self.env, Level::new(0), 7);
        for tombstone in deletes {
            writer.add_tombstone(tombstone).unwrap();
        }
        let mut count = 0;
        for (key, seqno, kind, value) in &rows {
            if count >= rows_max && writer.last_key().is_some_and(|last| last != key) {
                writer.end_table().unwrap();
                count = 0;
            }
            writer.add(EntryRef { key, seqno: at(*seqno), kind: *kind, value }).unwrap();
            count += 1;
        }
        let staged = writer.finish().unwrap().0;
        let tables = staged.iter().map(|table| table.open(&self.env)).collect();
        staged.into_iter().for_each(lsm_table::StagedTable::keep);
        tables
    }

    pub(crate) fn entries(&self) -> u64 {
        self.inputs.iter().flatten().map(|table| table.descriptor().counts.entries).sum()
    }

    pub(crate) fn files(&self) -> usize {
        self.fs.read_dir(Path::new(FOLDER)).unwrap().len()
    }

    fn live(&self) -> Vec<Live> {
        let tables = self.inputs.iter().flatten().chain(&self.outside);
        tables.map(|table| Live { table: table.clone(), lower: None }).collect()
    }

    /// What reads see that the watermark allows.
    pub(crate) fn reads(&self) -> Reads {
        reads(&self.live(), &self.env.order, self.watermark..=self.end)
    }

    /// A job over all inputs, which it takes with it.
    pub(crate) fn job(&mut self, cancel: Cancel, failpoints: Arc<dyn Failpoints>) -> Arc<Job> {
        let container = |table: &Table| OutsideContainer {
            start: table.descriptor().coverage_start.clone(),
            end: table.descriptor().coverage_end.clone(),
            min_seqno: table.descriptor().seqnos.min,
            max_seqno: table.descriptor().seqnos.max,
        };
        let outside: Vec<OutsideContainer> = self.outside.iter().map(container).collect();
        let tombstones = self.outside.iter().filter_map(|table| table.tombstones().unwrap());
        Arc::new(Job {
            output: OutputSpec::sized(Level::new(6), self.target_bytes),
            level_count: 7,
            order: self.env.order.clone(),
            operator: None,
            filter: None,
            retention: Retention::above(at(self.watermark)),
            outside: Arc::new(move || outside.clone()),
            tombstones: tombstones.flat_map(|index| index.tombstones().to_vec()).collect(),
            env: self.env.clone(),
            vlogs: None,
            values: None,
            relocation: None,
            parallelism: Parallelism::default(),
            cancel,
            limiter: Arc::new(RateLimiter::new(self.env.clock.clone(), 0)),
            failpoints,
            watch: Arc::new(NoWatch),
            lease: BusyTables::default().lease(&Inputs::default()).unwrap(),
            inputs: std::mem::take(&mut self.inputs).into(),
            in_flight: InFlight::default(),
        })
    }

    /// An installer of a tree with the tables of the world, to be called before the job takes them.
    pub(crate) fn installer(&self, job: &Job, expected: &Reads) -> Notes {
        let mut live = self.live();
        live.extend(job.inputs.tables().into_iter().map(|table| Live { table, lower: None }));
        Notes {
            env: self.env.clone(),
            live: Mutex::new(live),
            numbers: (self.watermark, self.end),
            expected: expected.clone(),
            installs: AtomicU64::new(0),
            inputs: job.input_ids(),
        }
    }
}

/// All entries and range deletes of a table from its bound on.
fn rows(live: &Live, order: &KeyOrder) -> (Vec<Row>, Vec<RangeTombstone>) {
    let mut rows = Vec::new();
    if live.table.min_key().is_some() {
        let mut cursor = live.table.cursor(ReadMode::PICK).unwrap();
        match &live.lower {
            Some(lower) => cursor.seek(lower, SeqNo::LATEST).unwrap(),
            None => cursor.seek_first().unwrap(),
        }
        cursor.settle().unwrap();
        while let Some(entry) = cursor.entry() {
            let (key, value) = (entry.key.to_vec(), entry.value.to_vec());
            rows.push(Row { key, seqno: entry.seqno, kind: entry.kind as u8, value });
            cursor.next().unwrap();
            cursor.settle().unwrap();
        }
    }
    let start = live.lower.clone().map_or(Cut::Start, Cut::Before);
    let index = live.table.tombstones().unwrap();
    let all = index.into_iter().flat_map(|index| index.tombstones().to_vec());
    (rows, all.filter_map(|tombstone| tombstone.clip(&start, &Cut::End, order)).collect())
}

/// By looking at everything: the newest entry of each key below a number, unless it is a delete or a newer range delete
/// lies over it; operands are shown with what lies below them.
fn reads(live: &[Live], order: &KeyOrder, numbers: std::ops::RangeInclusive<u64>) -> Reads {
    let (mut entries, mut deletes) = (Vec::new(), Vec::new());
    for table in live {
        let (rows, over) = rows(table, order);
        entries.extend(rows);
        deletes.extend(over);
    }
    entries.sort_by(|a, b| a.key.cmp(&b.key).then(b.seqno.cmp(&a.seqno)));
    let (from, to) = numbers.into_inner();
    let step = usize::try_from((to - from) / 12 + 1).unwrap();
    let numbers = (from..=to).step_by(step).chain([to]);
    let seen_at = |number: u64| {
        let mut seen = BTreeMap::<Vec<u8>, Vec<u8>>::new();
        let mut closed: Option<&[u8]> = None;
        for row in entries.iter().filter(|row| row.seqno < at(number)) {
            if closed == Some(&row.key) {
                continue;
            }
            let hidden = deletes.iter().any(|delete| {
                delete.seqno < at(number) && row.seqno < delete.seqno && delete.covers(&row.key, order)
            });
            let is_operand = row.kind == Kind::MergeOperand as u8;
            if hidden || !is_operand {
                closed = Some(&row.key);
            }
            if !hidden && row.kind != Kind::Tombstone as u8 {
                seen.entry(row.key.clone()).or_default().extend(&row.value);
            }
        }
        (number, seen)
    };
    numbers.map(seen_at).collect()
}

/// Takes notes of installs and applies them to a list of tables.
pub(crate) struct Notes {
    env: Arc<TableEnv>,
    live: Mutex<Vec<Live>>,
    numbers: (u64, u64),
    expected: Reads,
    installs: AtomicU64,
    inputs: Vec<TableId>,
}

impl Notes {
    pub(crate) fn installs(&self) -> u64 {
        self.installs.load(Relaxed)
    }

    pub(crate) fn state(&self) -> Vec<Live> {
        self.live.lock().clone()
    }

    /// Every row that is left.
    pub(crate) fn entries_left(&self) -> u64 {
        self.live.lock().iter().map(|live| rows(live, &self.env.order).0.len() as u64).sum()
    }
}

impl Installer for Notes {
    fn install(&self, request: InstallRequest) -> std::result::Result<(), InstallError> {
        let order = &self.env.order;
        let mut live = self.live.lock();
        for id in &request.remove {
            let at = live.iter().position(|live| live.table.id() == *id).unwrap();
            live.remove(at).table.mark_obsolete();
        }
        for (id, lower) in &request.restrict {
            let live = live.iter_mut().find(|live| live.table.id() == *id).unwrap();
            let descriptor = live.table.descriptor();
            let border = Cut::Before(lower.clone());
            assert!(
                live.lower.as_ref().is_none_or(|before| order.compare(before, lower).is_lt()),
                "it rises"
            );
            assert!(descriptor.coverage_start.compare(&border, order).is_lt(), "it takes something");
            assert!(border.compare(&descriptor.coverage_end, order).is_lt(), "it leaves something");
            live.lower = Some(lower.clone());
        }
        // What is left of the inputs lies behind the outputs, so that all together are one run.
        let left = live.iter().filter(|live| self.inputs.contains(&live.table.id()));
        let left = left.filter_map(|live| {
            let (min, max) = (live.table.min_key()?, live.table.max_key()?);
            let lower =
                live.lower.as_deref().filter(|lower| order.compare(min, lower).is_lt()).unwrap_or(min);
            order.compare(lower, max).is_le().then(|| lower.to_vec())
        });
        let left = left.min_by(|a, b| order.compare(a, b));
        for descriptor in &request.add {
            if let (Some(left), Some(entries)) = (&left, &descriptor.entries) {
                assert!(order.compare(&entries.max, left).is_lt());
            }
            live.push(Live { table: Table::new(&self.env, descriptor.clone()), lower: None });
        }
        let found = reads(&live, order, self.numbers.0..=self.numbers.1);
        let differs = found.iter().find(|(number, seen)| self.expected.get(number) != Some(seen));
        let first = differs.and_then(|(number, seen)| {
            let expected = self.expected.get(number)?;
            let all: std::collections::BTreeSet<_> = seen.keys().chain(expected.keys()).collect();
            let key = all.into_iter().find(|key| seen.get(*key) != expected.get(*key))?;
            Some((*number, String::from_utf8_lossy(key).into_owned(), seen.get(key), expected.get(key)))
        });
        assert!(
            found == self.expected,
            "as of a number, a key, found, expected: {first:?}, bounds {:?}",
            live.iter()
                .map(|live| (
                    live.table.id(),
                    live.lower.clone(),
                    live.table.descriptor().coverage_start.clone(),
                    live.table.descriptor().coverage_end.clone(),
                    rows(live, order).1
                ))
                .collect::<Vec<_>>()
        );
        self.installs.fetch_add(1, Relaxed);
        Ok(())
    }
}

/// Room as a test wants it.
pub(crate) struct Budgets {
    bytes: u64,
    /// Slices there is room for.
    left: Mutex<u64>,
    asked: Mutex<Vec<SliceEnds>>,
    /// Whether there is room for two at a time.
    goes_ahead: bool,
    /// Slices begun before the one before was installed.
    ahead: AtomicU64,
}

impl Budgets {
    pub(crate) fn repeating(bytes: u64) -> Self {
        Self::limited(bytes, u64::MAX)
    }

    pub(crate) fn limited(bytes: u64, slices: u64) -> Self {
        let (left, asked) = (Mutex::new(slices), Mutex::default());
        Self { bytes, left, asked, goes_ahead: false, ahead: AtomicU64::default() }
    }

    /// The same; there is room for two slices at a time.
    pub(crate) fn going_ahead(self, goes_ahead: bool) -> Self {
        Self { goes_ahead, ..self }
    }

    pub(crate) fn ahead(&self) -> u64 {
        self.ahead.load(Relaxed)
    }

    pub(crate) fn asked(&self) -> Vec<SliceEnds> {
        self.asked.lock().clone()
    }
}

impl SliceRoom for Budgets {
    fn next(&self, ends: SliceEnds) -> std::result::Result<SliceBudget, Shortage> {
        self.asked.lock().push(ends);
        let mut left = self.left.lock();
        *left = left.checked_sub(1).ok_or(Shortage::Reserve)?;
        Ok(SliceBudget { target_bytes: self.bytes, most_bytes: u64::MAX, binding: Shortage::Volume })
    }

    fn ahead(&self, written_bytes: u64) -> Option<SliceBudget> {
        assert!(written_bytes > 0 || self.bytes == 0);
        let mut left = self.left.lock();
        if !self.goes_ahead || *left == 0 {
            return None;
        }
        *left -= 1;
        self.ahead.fetch_add(1, Relaxed);
        Some(SliceBudget { target_bytes: self.bytes, most_bytes: u64::MAX, binding: Shortage::Volume })
    }
}
