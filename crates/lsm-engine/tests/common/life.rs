//! A tree in memory as the subject of random lives.

use std::{collections::HashSet, path::PathBuf, sync::Arc};

use lsm_codec::Compression;
use lsm_compaction_executor::{Checkpoint, CompactionFlavour, FlavourRun, Job, Standard};
use lsm_compaction_planner::{
    CompactionStrategy, Inputs, LazyLeveling, Leveled, Major, MergePlan, MoveDown, MovePlan, OutputSpec,
    Plan, PlanView, PullDown, Reason, ReliefLimits, Settings, SizeTiered, relief,
};
use lsm_engine::{
    BlockCache, CheckpointOptions, ColumnLayout, ColumnPolicy, CompactOptions, DeleteStrategy,
    DictionaryOptions, FlushOptions, HoldGuard, IngestOptions, LevelFilter, LevelStats, Outcome, Purge,
    Reader, RelocationOptions, SpaceOptions, TablePolicy, Tree, TreeBatch, TreeOptions, View, VlogPicker,
    VlogPolicy, WeakDeletes,
};
use lsm_fs::{Fs, MemFs};
use lsm_testkit::{
    dice::Dice,
    filters::{Recorded, Said},
    ports::{SeededRandom, TestClock},
    universe::{Axes, Folding, Life, Snapshot, Subject, Weak, Write},
};
use lsm_types::{
    DelimitedPrefix, ErrorKind, FixedPrefix, Level, PrefixExtractor, Result, SeqNo, Spawner, TableId, Verdict,
};

use crate::{
    common::{
        columns::{Dotted, DottedRows},
        sealed::encryption,
        small_tables,
    },
    read_forms::forms,
    wrap::WrapFs,
};

/// A tree that lives in memory.
pub(crate) struct Living {
    tree: Tree,
    filters: Option<Recorded>,
    place: Place,
}

/// Where it is, and what it is opened with.
#[derive(Clone)]
struct Place {
    axes: Axes,
    memory: Arc<MemFs>,
    clock: Arc<TestClock>,
    random: Arc<SeededRandom>,
    /// How often it was opened: filters, codecs and partitions differ from time to time.
    opens: u32,
    /// How many checkpoints were taken.
    copies: u32,
    path: PathBuf,
}

impl Place {
    fn open(mut self) -> Result<Living> {
        let axes = &self.axes;
        let mut options = TreeOptions::new(&self.path)
            .store(|store| {
                store
                    .fs(self.fs())
                    .clock(self.clock.clone())
                    .random(self.random.clone())
                    .cache(BlockCache::new(axes.cache_bytes.into()))
                    .manifest_rotate_min(axes.rotate_bytes.into())
                    .file_id_block(1 + axes.variant % 5)
                    .compaction_threads(4)
                    .compaction_pool(Arc::new(Nobody))
            })
            .comparator(axes.comparator())
            .tables(self.tables())
            .level_count(axes.levels)
            .columns(self.columns())
            .table_target_bytes(axes.table_bytes.into());
        if axes.variant % 3 == 1 {
            // Compactions are put off and done in parts, now more, now less.
            let limit = 1 << (17 + (axes.variant / 3 + self.opens) % 6);
            let space = narrow(limit).tight(!self.makes_holes());
            options = options.store(|store| store.space(space));
        }
        if axes.variant.is_multiple_of(5) {
            // Which levels lie elsewhere differs from time to time.
            let from = 1 + u8::try_from((axes.variant + self.opens) % 4).unwrap_or_default();
            let cold = self.path.with_extension("cold");
            let fs = self.fs();
            options = options.store(|store| store.level_route(from..=u8::MAX, cold, fs));
        }
        if axes.variant.is_multiple_of(6) {
            options = options.store(|store| store.encryption(encryption()));
        }
        if axes.variant % 4 < 2 {
            options = options.separation(self.separation()).relocation(self.relocation());
        }
        options = options.delete_strategies(self.delete_strategies());
        if let Some(operator) = axes.operator() {
            options = options.merge_operator(operator);
        }
        if axes.weak == Weak::Strict {
            options = options.weak_deletes(WeakDeletes::Strict);
        }
        if let Some(extractor) = self.extractor() {
            options = options.prefix_extractor(extractor);
        }
        let filters = filters(&self.axes);
        if let Some(filters) = filters.clone() {
            options = options.compaction_filter_factory(Arc::new(filters));
        }
        self.opens += 1;
        Ok(Living { tree: Tree::open(options)?, filters, place: self })
    }

    /// Whether bytes in front of a file can be given back; elsewhere only whole files are, and tables are kept short.
    fn makes_holes(&self) -> bool {
        self.axes.variant / 3 % 4 != 2
    }

    fn fs(&self) -> Arc<dyn Fs> {
        if self.makes_holes() {
            return self.memory.clone();
        }
        Arc::new(WrapFs { inner: self.memory.clone(), control: Arc::default() })
    }

    /// Changes with each opening.
    fn chance(&self) -> Dice {
        Dice::new(u64::from(self.axes.variant) << 32 | u64::from(self.opens))
    }

    fn tables(&self) -> TablePolicy {
        let mut dice = self.chance();
        let mut tables = if dice.one_in(3) { TablePolicy::default() } else { small_tables() };
        tables.data_block_bytes = vec![self.axes.block_bytes];
        tables.bundle_shift = vec![dice.roll().to_le_bytes()[0] % 3];
        tables.filter_partitioning = vec![dice.coin()];
        tables.pin_filter = vec![dice.coin()];
        let bits = [None, Some(1.0), Some(4.5), Some(16.0)][dice.index(4)];
        let filter = bits.map_or(LevelFilter::Off, |bits| LevelFilter::bits(bits).unwrap());
        if dice.one_in(3) { tables } else { tables.filter(filter) }
    }

    /// Values have columns in every life; which tables store them so differs from time to time.
    fn columns(&self) -> ColumnPolicy {
        let layout = match (self.axes.variant / 11 + self.opens) % 5 {
            0 => ColumnLayout::Row,
            1 | 2 => ColumnLayout::Columnar,
            3 => ColumnLayout::ColumnarFrom(Level::new(1)),
            _ => ColumnLayout::ColumnarFrom(Level::new(self.axes.levels - 1)),
        };
        let rows = usize::try_from(1 + self.axes.variant / 13 % 9).unwrap_or(1);
        ColumnPolicy::new(Dotted::new()).layout(layout).groups(400, rows).page_rows(3)
    }

    /// Which values are separated, by level, and how long their files are.
    fn separation(&self) -> VlogPolicy {
        let mut dice = self.chance();
        let thresholds = [vec![1], vec![1], vec![64], vec![1024], vec![64, 1], vec![1, 1024, 1]];
        // Values that were compressed with the dictionary of their file get to lie beside others, and are copied.
        let (compression, dictionary) = match (self.axes.variant / 2 + self.opens) % 2 {
            0 => (VlogPolicy::default().compression, None),
            _ => {
                (Compression::Zstd { level: 1 }, Some(DictionaryOptions { bytes: 256, sample_bytes: 1_000 }))
            }
        };
        VlogPolicy {
            compression,
            dictionary,
            thresholds: thresholds[dice.index(thresholds.len())].clone(),
            target_bytes: [1, 600, 4_000, 1 << 20][dice.index(4)],
            directory_every: 1 + u32::from(dice.roll().to_le_bytes()[0] % 4),
        }
    }

    /// What becomes of dead rows, by level: mostly they are marked.
    fn delete_strategies(&self) -> Vec<DeleteStrategy> {
        let mut dice = self.chance();
        let strategies = [
            vec![DeleteStrategy::MergeOnRead],
            vec![DeleteStrategy::Adaptive(Purge::Percent(100))],
            vec![DeleteStrategy::Adaptive(Purge::ByCost)],
            vec![DeleteStrategy::Adaptive(Purge::Percent(20)), DeleteStrategy::MergeOnRead],
            vec![],
        ];
        strategies[dice.index(strategies.len())].clone()
    }

    /// Which value logs are rewritten: mostly whatever a compaction comes by.
    fn relocation(&self) -> RelocationOptions {
        let default = VlogPicker::default();
        let picker = match (self.axes.variant / 4 + self.opens) % 6 {
            0..=2 => VlogPicker::ALWAYS,
            3 => VlogPicker { table_references_max: 1, max_space_amp: Some(1.1), ..default },
            4 => default,
            _ => VlogPicker::NEVER,
        };
        let readahead_bytes = if self.opens.is_multiple_of(2) { 4 << 10 } else { 256 << 10 };
        RelocationOptions { picker, readahead_bytes, ..RelocationOptions::default() }
    }

    fn extractor(&self) -> Option<Arc<dyn PrefixExtractor>> {
        match (self.axes.variant + self.opens) % 7 {
            0 => None,
            1 | 2 => Some(Arc::new(DelimitedPrefix::new(b'/', 1))),
            3 => Some(Arc::new(DelimitedPrefix::new(b'/', 3))),
            4 => Some(Arc::new(FixedPrefix::new(4))),
            5 => Some(Arc::new(FixedPrefix::new(2))),
            _ => Some(Arc::new(FixedPrefix::new(1))),
        }
    }
}

/// Merges ask for room, of which there is so much in all.
fn narrow(limit: u64) -> SpaceOptions {
    SpaceOptions::default()
        .admission(true)
        .limit_bytes(Some(limit))
        .slice_min_bytes(0)
        .slice_max_bytes(Some(0))
}

/// Filters of every other life, unless weak deletes are misused. What they say shows in no other way than as if it had
/// been written: an operand that may be composed of others is not replaced, and only what lies between two weak deletes
/// goes without a delete.
fn filters(axes: &Axes) -> Option<Recorded> {
    if axes.weak == Weak::Misused || axes.variant / 7 % 2 == 1 {
        return None;
    }
    let axes = *axes;
    let weak = (0..axes.keys.count()).map(move |number| axes.keys.weak(number));
    let weak: HashSet<Vec<u8>> = if axes.weak == Weak::Legal { weak.collect() } else { HashSet::new() };
    Some(Recorded::new(move |entry| {
        let value = entry.value()?;
        let mut dice =
            Dice::new(u64::from(axes.variant) << 32 ^ entry.seqno().get() << 10 ^ value.len() as u64);
        if entry.seqno() == SeqNo::ZERO || value.first() == Some(&b'~') {
            return Ok(Verdict::Keep);
        }
        let between_weak = weak.contains(entry.key());
        let new = format!("~{}", entry.seqno());
        Ok(match dice.below(6) {
            0 => Verdict::Remove,
            1 if !entry.is_operand() => Verdict::Replace(new.into()),
            1 if axes.folding == Folding::SetEdit => Verdict::Replace("+~".into()),
            1 if axes.folding != Folding::Compose => Verdict::Replace(new.into()),
            2 if between_weak => Verdict::RemoveWeak,
            3 if between_weak => Verdict::Destroy,
            _ => Verdict::Keep,
        })
    }))
}

impl Living {
    /// A level was masked: how much of one with dead rows is dead.
    fn masked(&self) -> &'static str {
        let stats = self.tree.stats();
        let share = |level: &LevelStats| level.dead_entries * 100 / (level.entries + level.dead_entries);
        let masked = stats.levels.iter().filter(|level| level.dead_entries > 0);
        match masked.map(share).max() {
            None | Some(..=25) => "masked to a quarter",
            Some(..=50) => "masked to the half",
            Some(..=75) => "masked to three quarters",
            Some(_) => "masked to the end",
        }
    }

    fn strategy(&self, index: usize, seed: u32) -> Box<dyn CompactionStrategy> {
        let mut dice = Dice::new(seed.into());
        let target = u64::from(self.place.axes.table_bytes);
        let any = |dice: &mut Dice| Level::new(dice.roll().to_le_bytes()[0] % self.place.axes.levels);
        let filled = self.tree.stats().levels.into_iter().filter(|level| level.tables > 0);
        let filled: Vec<Level> = filled.map(|level| level.level).collect();
        // Mostly from where there is something.
        let pair = |dice: &mut Dice| {
            let a = filled.get(dice.index(filled.len() + 1)).copied().unwrap_or_else(|| any(dice));
            let b = any(dice);
            (a.min(b), a.max(b))
        };
        match Self::STRATEGIES[index] {
            "leveled" => Box::new(Leveled {
                l0_threshold: 1 + dice.roll().to_le_bytes()[0] % 3,
                table_target_bytes: target,
                level_ratios: vec![[1.5, 2.0, 10.0][dice.index(3)]],
                dynamic_level_bytes: dice.coin(),
                multi_level: dice.coin(),
            }),
            "tiered" => Box::new(SizeTiered {
                min_merge_width: 2,
                max_merge_width: 2 + u32::from(dice.roll().to_le_bytes()[0] % 4),
                table_target_bytes: target,
                ..SizeTiered::default()
            }),
            "lazy" => Box::new(LazyLeveling {
                merge_width: 2,
                last_ratio: 1 + u32::from(dice.roll().to_le_bytes()[0] % 4),
                table_target_bytes: target,
            }),
            "move down" => {
                let (from, to) = pair(&mut dice);
                Box::new(MoveDown { from, to })
            }
            "pull down" => {
                let (from, to) = pair(&mut dice);
                Box::new(PullDown { from, to })
            }
            "in place" => {
                let level = filled.get(dice.index(filled.len().max(1))).copied();
                Box::new(InPlace { level: level.unwrap_or_else(|| any(&mut dice)), target })
            }
            _ if seed.is_multiple_of(4) => Box::new(Relieving { seed, target }),
            _ => Box::new(Any { seed, target }),
        }
    }
}

/// A pool that runs nothing: a job works off its segments alone, one after the other, so that a life repeats.
struct Nobody;

impl Spawner for Nobody {
    fn spawn(&self, _: Box<dyn FnOnce() + Send>) {}
}

/// The standard flavour under another name, for some merges.
struct Other;

impl CompactionFlavour for Other {
    fn name(&self) -> &'static str {
        "other"
    }

    fn checkpoint(&self) -> Checkpoint {
        Standard.checkpoint()
    }

    fn applies(&self, job: &Job) -> Result<bool> {
        Ok(job.input_ids().len().is_multiple_of(2))
    }

    fn start(&self, job: &Arc<Job>) -> Result<Box<dyn FlavourRun>> {
        Standard.start(job)
    }
}

/// Does one of the steps that free space. Stands in for [`Any`] now and then.
struct Relieving {
    seed: u32,
    target: u64,
}

impl CompactionStrategy for Relieving {
    fn name(&self) -> &'static str {
        "RelievingCompaction"
    }

    fn settings(&self) -> Settings {
        Settings::new().with("seed", u64::from(self.seed))
    }

    fn plan(&self, view: &PlanView<'_>) -> Plan {
        let limits = ReliefLimits { table_target_bytes: self.target, slice_bytes: Some(1) };
        let mut steps = relief(view, limits);
        let chosen = Dice::new(self.seed.into()).index(steps.len().max(1));
        if steps.is_empty() { Plan::Idle } else { steps.swap_remove(chosen).plan }
    }
}

/// Merges the oldest run of a level where it stands.
struct InPlace {
    level: Level,
    target: u64,
}

impl CompactionStrategy for InPlace {
    fn name(&self) -> &'static str {
        "InPlaceCompaction"
    }

    fn settings(&self) -> Settings {
        Settings::new().with("level", u64::from(self.level.get()))
    }

    fn plan(&self, view: &PlanView<'_>) -> Plan {
        let Some(run) = view.levels.level(self.level).runs().last() else { return Plan::Idle };
        Plan::merge(view, run.tables.iter().map(|table| table.id), self.level, self.target)
    }
}

/// Plans as the dice say; many of them break a rule, and are refused for it.
struct Any {
    seed: u32,
    target: u64,
}

impl CompactionStrategy for Any {
    fn name(&self) -> &'static str {
        "AnyCompaction"
    }

    fn settings(&self) -> Settings {
        Settings::new().with("seed", u64::from(self.seed))
    }

    fn plan(&self, view: &PlanView<'_>) -> Plan {
        let mut dice = Dice::new(self.seed.into());
        let runs: Vec<(Level, Vec<TableId>)> = view
            .levels
            .iter()
            .flat_map(|(level, runs)| runs.runs().iter().map(move |run| (level, run)))
            .map(|(level, run)| (level, run.tables.iter().map(|table| table.id).collect()))
            .collect();
        if runs.is_empty() {
            return Plan::Idle;
        }
        // Neighbouring runs, whole or in part, go to the level of the oldest or to a deeper one.
        let from = dice.index(runs.len());
        let to = from + dice.index(runs.len() - from);
        let deepest = runs[to].0;
        let count = view.levels.count();
        let dest = if dice.coin() {
            deepest
        } else {
            Level::new(deepest.get() + dice.roll().to_le_bytes()[0] % (count - deepest.get()))
        };
        let thin = if dice.coin() { 1 } else { 2 };
        let tables = runs[from..=to].iter().flat_map(|(_, tables)| tables.iter().copied());
        let wanted: Vec<TableId> = tables.filter(|_| thin == 1 || dice.coin()).collect();
        let mut inputs = Inputs::select(view, wanted);
        if dice.coin() && inputs.parts().iter().all(|part| part.level < dest) {
            inputs = inputs.with_overlapping(view, dest);
        }
        if inputs.is_empty() {
            return Plan::Idle;
        }
        let canonical = Level::new(dest.get() + dice.roll().to_le_bytes()[0] % (count - dest.get()));
        let output = OutputSpec::new(view, &inputs, dest, canonical, self.target);
        if dice.one_in(4) {
            return Plan::Move(MovePlan { inputs, output, reason: Reason::Requested });
        }
        Plan::Merge(MergePlan { inputs, output, reason: Reason::Requested })
    }
}

impl Subject for Living {
    type View = View;
    type Hold = HoldGuard;

    const STRATEGIES: &'static [&'static str] =
        &["leveled", "major", "tiered", "lazy", "move down", "pull down", "in place", "any"];
    const OUTCOMES: &'static [&'static str] = &[
        "idle",
        "moved",
        "dropped",
        "merged",
        "masked to a quarter",
        "masked to the half",
        "masked to three quarters",
        "masked to the end",
        "relocated",
        "merged in part",
        "sliced",
        "sliced and relocated",
        "no room",
        "refused",
    ];

    fn create(axes: &Axes) -> Result<Self> {
        let place = Place {
            axes: *axes,
            memory: Arc::new(MemFs::new()),
            clock: Arc::new(TestClock::new()),
            random: Arc::new(SeededRandom::new(axes.variant.into())),
            opens: 0,
            copies: 0,
            path: "/db".into(),
        };
        place.open()
    }

    fn reopen(self) -> Result<Self> {
        self.tree.close()?;
        self.place.open()
    }

    fn copy(&mut self) -> Result<Self> {
        self.place.copies += 1;
        let path = PathBuf::from(format!("/copy-{}", self.place.copies));
        self.tree.checkpoint(&path, &CheckpointOptions::default())?;
        Place { path, ..self.place.clone() }.open()
    }

    fn close(self) -> Result<()> {
        self.tree.close()
    }

    fn write(&self, write: &Write, seqno: SeqNo) -> Result<()> {
        let tree = &self.tree;
        match write {
            Write::Put(key, value) => tree.insert(key, value, seqno),
            Write::Delete(key) => tree.remove(key, seqno),
            Write::DeleteWeak(key) => tree.remove_weak(key, seqno),
            Write::Merge(key, operand) => tree.merge(key, operand, seqno),
            Write::DeleteRange(lower, upper) => tree.remove_range((lower.clone(), upper.clone()), seqno),
            Write::DeletePrefix(prefix) => tree.remove_prefix(prefix, seqno),
        }
        .map(drop)
    }

    fn batch(&self, writes: &[Write], seqno: SeqNo, shared: bool) -> Result<()> {
        let mut batch = TreeBatch::new();
        for write in writes {
            match write {
                Write::Put(key, value) => batch.insert(key, value),
                Write::Delete(key) => batch.remove(key),
                Write::DeleteWeak(key) => batch.remove_weak(key),
                Write::Merge(key, operand) => batch.merge(key, operand),
                Write::DeleteRange(lower, upper) => batch.remove_range((lower.clone(), upper.clone())),
                Write::DeletePrefix(prefix) => batch.remove_prefix(prefix),
            }?;
        }
        if shared {
            return self.tree.apply_shared(&batch, seqno).map(drop);
        }
        let used = self.tree.apply(&batch, seqno)?;
        assert_eq!(used.end.get() - used.start.get(), writes.len() as u64);
        Ok(())
    }

    fn ingest(&self, rows: &[Write], seqno: SeqNo) -> Result<()> {
        let mut ingestion = self.tree.ingest(IngestOptions::at(seqno))?;
        for row in rows {
            match row {
                Write::Put(key, value) => ingestion.put(key, value)?,
                Write::Delete(key) => ingestion.remove(key)?,
                _ => panic!("{row:?} is no row"),
            }
        }
        let report = ingestion.finish()?;
        assert_eq!(report.entries, rows.len() as u64);
        Ok(())
    }

    fn ingest_columns(&self, rows: &[Write], seqno: SeqNo, seed: u32) -> Result<()> {
        let mut ingestion = self.tree.ingest(IngestOptions::at(seqno))?;
        let (mut batch, mut dice) = (DottedRows::new(), Dice::new(seed.into()));
        for row in rows {
            match row {
                Write::Put(key, value) => batch.push(key, value),
                Write::Delete(key) => {
                    ingestion.put_columns(&batch.take())?;
                    ingestion.remove(key)?;
                }
                _ => panic!("{row:?} is no row"),
            }
            if dice.one_in(4) {
                ingestion.put_columns(&batch.take())?;
            }
        }
        ingestion.put_columns(&batch.take())?;
        let report = ingestion.finish()?;
        assert_eq!(report.entries, rows.len() as u64);
        Ok(())
    }

    fn live(&self, life: &Life) -> Result<()> {
        let tree = &self.tree;
        match life {
            Life::Clear(seqno) => tree.clear(*seqno),
            Life::DropRange(lower, upper, seqno) => tree.drop_range((lower.clone(), upper.clone()), *seqno),
            Life::PurgeRange(lower, upper, seqno) => tree.purge_range((lower.clone(), upper.clone()), *seqno),
            Life::Seal => {
                tree.seal(None);
                Ok(())
            }
            Life::Flush => tree.flush(&FlushOptions::default()).map(drop),
            Life::Watermark(seqno) => {
                tree.set_gc_watermark(*seqno);
                Ok(())
            }
        }
    }

    fn compact(&self, strategy: usize, seed: u32) -> Result<&'static str> {
        let mut options = CompactOptions::default();
        if !seed.is_multiple_of(3) {
            options = options.segment_min_bytes(0);
        }
        if seed.is_multiple_of(5) {
            options = options.flavour(Arc::new(Other));
        }
        if self.place.axes.variant % 3 == 1 && seed.is_multiple_of(2) {
            // Next to nothing is left, sometimes less than a slice takes: what is merged at all is merged slice by slice.
            let left = 20_000 + u64::from(seed % 8) * 20_000;
            let space = narrow(self.tree.store().space().used_bytes + left);
            self.tree.store().set_space(space.slices_ahead(Some(seed.is_multiple_of(4))));
            options = options.tight(true);
        }
        let is_major = Self::STRATEGIES[strategy] == "major";
        let report = if is_major && seed.is_multiple_of(2) {
            self.tree.major_compact(&options)
        } else if is_major {
            self.tree.compact(&Major::default(), &options)
        } else {
            self.tree.compact(&*self.strategy(strategy, seed), &options)
        };
        let may_be_refused = !["leveled", "major", "tiered", "lazy"].contains(&Self::STRATEGIES[strategy]);
        match report {
            Ok(report) => Ok(match report.outcome {
                Outcome::Idle => "idle",
                Outcome::Moved => "moved",
                Outcome::Dropped => "dropped",
                Outcome::Merged if report.narrowed => "merged in part",
                Outcome::Merged if report.values_relocated > 0 => "relocated",
                Outcome::Merged => "merged",
                Outcome::Sliced if report.values_relocated > 0 => "sliced and relocated",
                Outcome::Masked => self.masked(),
                Outcome::Sliced => "sliced",
                Outcome::Refused(_) => "no room",
                _ => panic!("nobody else compacts"),
            }),
            Err(error) if may_be_refused && error.kind() == ErrorKind::InvalidArgument => Ok("refused"),
            Err(error) => Err(error),
        }
    }

    fn filtered(&self) -> Vec<Said> {
        self.filters.as_ref().map_or_else(Vec::new, |filters| filters.take().committed)
    }

    fn view(&self) -> (View, SeqNo) {
        let view = self.tree.view();
        let before = view.before();
        (view, before)
    }

    fn view_at(&self, before: SeqNo) -> Result<View> {
        self.tree.view_at(before)
    }

    fn hold(&self, before: SeqNo) -> Result<HoldGuard> {
        self.tree.hold(before)
    }

    fn floor(&self) -> SeqNo {
        self.tree.retention_floor()
    }

    fn is_clean(&self) -> Result<bool> {
        Ok(self.tree.verify()?.is_clean())
    }

    fn forms() -> Vec<&'static str> {
        forms::<Tree>().iter().map(|(name, _)| *name).collect()
    }

    fn read(
        &self,
        view: Option<&View>,
        form: usize,
        expected: &Snapshot,
        dice: &mut Dice,
    ) -> std::result::Result<u64, String> {
        let (name, outcome) = match view {
            Some(view) => (forms::<View>()[form].0, forms::<View>()[form].1(view, expected, dice)),
            None => (forms::<Tree>()[form].0, forms::<Tree>()[form].1(&self.tree, expected, dice)),
        };
        outcome.map_err(|told| format!("{name} below {}: {told}", expected.before()))
    }

    fn get(&self, view: Option<&View>, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let value = match view {
            Some(view) => view.get(key)?,
            None => self.tree.get(key)?,
        };
        Ok(value.map(|value| value.to_vec()))
    }
}
