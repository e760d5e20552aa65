//! Asking a strategy, and carrying out what it wants.

use std::{
    collections::{BTreeSet, HashSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, ThreadId},
};

use lsm_compaction_executor::{
    CompactionFlavour, CompactionReport, ExecutorError, Failpoints, InFlight, InstallError, InstallRequest,
    Installer, Job, JobFilter, Lease, MergeOnRead, NoFailpoints, Outcome, OutsideContainer, Placement,
    RateLimiter, Relocating, Sliced, Standard, TightSpace, run_job,
};
use lsm_compaction_planner::{
    CompactionStrategy, DeleteStrategy, Inputs, Major, MergePlan, MovePlan, Picked, Plan, PlanView, Reason,
    TreeShape, is_covered, validate,
};
use lsm_manifest::{Catalog, Levels, TreeEdit, VersionEdit};
use lsm_table::Table;
use lsm_types::{Cut, KeyOrder, Level, RangeTombstone, Result, SeqNo, TableId};
use parking_lot::Mutex;

use super::{Tree, TreeInner, flush::outside_memtable, publish::Published};
use crate::{
    CompactOptions, EngineError,
    events::JobCall,
    options::DEFAULT_SEGMENT_MIN_BYTES,
    separated::PastCache,
    store::{Draft, Proposal, TightRoom, output_names, place_tables, relocate_tables, run_age},
    super_version::SuperVersion,
};

/// How often a strategy is asked again when another job took what it wanted.
const PLANNING_ROUNDS: usize = 3;

impl Tree {
    /// Asks `strategy` once what to do, does it, and says what became of it. Several calls may run at once.
    ///
    /// # Errors
    /// `Cancelled`, `NoSpace`, `Io`, damage to an input: nothing changed, the call can be repeated.
    /// `InvalidArgument` when the strategy's plan breaks a rule. `InstallOutcomeUnknown`: the change
    /// may be on disk; the next call states the truth anew. `Fenced`: that is not possible.
    pub fn compact(
        &self,
        strategy: &dyn CompactionStrategy,
        options: &CompactOptions,
    ) -> Result<CompactionReport> {
        self.compact_with(strategy, options, &no_failpoints())
    }

    /// As [`Tree::compact`], failing on purpose where `failpoints` says so.
    ///
    /// # Errors
    /// As [`Tree::compact`], and what `failpoints` returns.
    pub fn compact_with(
        &self,
        strategy: &dyn CompactionStrategy,
        options: &CompactOptions,
        failpoints: &Arc<dyn Failpoints>,
    ) -> Result<CompactionReport> {
        let asked = self.inner.nanos();
        let mut call = JobCall::new(self.inner.store.jobs());
        let _shared = self.inner.compacting.read();
        let wait = self.inner.nanos().saturating_sub(asked);
        let mut report = self.inner.compact(strategy, options, failpoints, &mut call)?;
        report.stages.wait = wait;
        self.inner.store.settle_ballast();
        Ok(report)
    }

    /// Limits how fast the compactions of the store read and write; its rate may be changed at any time.
    pub fn compaction_limiter(&self) -> &Arc<RateLimiter> {
        self.inner.store.limiter()
    }

    /// Bytes that `strategy` says must still be rewritten before the tree has the shape it wants; 0 for a strategy
    /// that does not say.
    pub fn compaction_debt(&self, strategy: &dyn CompactionStrategy) -> u64 {
        let inner = &self.inner;
        let shape = TreeShape::new(inner.order.clone());
        let (busy, view) = (inner.busy.snapshot(), inner.current.load_full());
        let planning = PlanView::new(&view.version.levels, &busy, &shape);
        strategy.debt(&planning.at(inner.store.clock().now())).bytes
    }

    /// Compacts everything into the last level. Waits for running compactions and runs alone.
    ///
    /// # Errors
    /// As [`Tree::compact`].
    pub fn major_compact(&self, options: &CompactOptions) -> Result<CompactionReport> {
        let asked = self.inner.nanos();
        let mut call = JobCall::new(self.inner.store.jobs());
        let _alone = self.inner.compacting.write();
        let wait = self.inner.nanos().saturating_sub(asked);
        let target = options.target_bytes.unwrap_or(self.inner.table_target_bytes);
        let major = Major { target_bytes: target };
        let options = CompactOptions { rewrite: true, ..options.clone() };
        let mut report = self.inner.compact(&major, &options, &no_failpoints(), &mut call)?;
        report.stages.wait = wait;
        Ok(report)
    }
}

pub(super) fn no_failpoints() -> Arc<dyn Failpoints> {
    Arc::new(NoFailpoints)
}

impl TreeInner {
    fn nanos(&self) -> u64 {
        self.store.clock().monotonic_nanos()
    }

    /// Asks `strategy`, does what it wants, counts it and tells of it.
    pub(super) fn compact(
        self: &Arc<Self>,
        strategy: &dyn CompactionStrategy,
        options: &CompactOptions,
        failpoints: &Arc<dyn Failpoints>,
        call: &mut JobCall<'_>,
    ) -> Result<CompactionReport> {
        let outcome = self.plan_and_run(strategy, options, failpoints, call);
        self.counters.compaction(&outcome);
        call.end(&outcome);
        outcome
    }

    fn plan_and_run(
        self: &Arc<Self>,
        strategy: &dyn CompactionStrategy,
        options: &CompactOptions,
        failpoints: &Arc<dyn Failpoints>,
        call: &mut JobCall<'_>,
    ) -> Result<CompactionReport> {
        self.check_changeable()?;
        let cancel = self.stop.either(&options.cancel);
        let started = self.nanos();
        let shape = TreeShape::new(self.order.clone());
        let covered = self.remove_covered()?;
        for _ in 0..PLANNING_ROUNDS {
            cancel.check()?;
            // Busy before levels: a job that ends in between leaves its inputs busy and gone, never free and there.
            let busy = self.busy.snapshot();
            let view = self.current.load_full();
            // As a job, so that nobody starts to hold what a drop is about to take.
            let kept = self.holds.start_job(self.compaction_limit(), self.visible_end());
            let watermark = kept.retention.watermark();
            let deletes = self.deletes_of_tables(&view)?;
            let mut planning = PlanView::new(&view.version.levels, &busy, &shape)
                .at(self.store.clock().now())
                .with_watermark(watermark);
            planning.deletes = deletes.as_deref();
            let values = self.relocations.view(&view.version, planning.now);
            planning.values = values.as_ref();
            let plan = self.rewritten_between_routes(strategy.plan(&planning));
            // Who asks for a merge wants what it can do: value logs that would wait for a quiet moment go with it.
            let asked = matches!(&plan, Plan::Merge(plan) if plan.reason == Reason::Requested);
            let values = values.clone().map(|values| if asked { values.quiet(true) } else { values });
            planning.values = values.as_ref();
            if plan.inputs().is_none() {
                let outcome = if covered > 0 { Outcome::Dropped } else { Outcome::Idle };
                let mut report = CompactionReport::nothing(outcome);
                report.tables_in = covered;
                report.obstacle = strategy.obstacle(&planning);
                return Ok(report);
            }
            validate(&plan, &planning).map_err(ExecutorError::Refused)?;
            failpoints.hit("plan.done")?;
            cancel.check()?;
            // Asked for before the lease: what is put off keeps nobody else away.
            let (plan, room) = match plan {
                Plan::Merge(plan) => {
                    match self.store.make_room(plan, (&planning, &view.version), options.tight) {
                        Ok((part, room)) => {
                            let plan = Plan::Merge(part);
                            debug_assert!(validate(&plan, &planning).is_ok(), "a part of a plan is a plan");
                            (plan, Some(room))
                        }
                        Err(shortage) => return Ok(CompactionReport::nothing(Outcome::Refused(shortage))),
                    }
                }
                plan => (plan, None),
            };
            let Some(lease) = plan.inputs().and_then(|inputs| self.busy.lease(inputs)) else { continue };
            let planned = self.nanos().saturating_sub(started);
            call.begin(self.id, &plan, room.as_ref().is_some_and(|room| room.tight.is_some()));
            let mut report = match plan {
                Plan::Idle => CompactionReport::nothing(Outcome::Idle),
                Plan::Merge(plan) => {
                    let picked =
                        room.as_ref().and_then(|room| room.picks(&planning, &plan.inputs, &view.version));
                    let tight = room.as_ref().and_then(|room| room.tight.as_ref());
                    let is_short = room.as_ref().is_some_and(|room| room.is_narrowed);
                    let how = (options, failpoints, &*call);
                    self.merge(view, (plan, picked), lease, (tight, is_short), how)?
                }
                Plan::Move(plan) => {
                    let mut report = report_of(Outcome::Moved, &plan.inputs, plan.reason);
                    self.relocate(&plan.inputs, plan.output.dest, lease)?;
                    report.dest = Some(plan.output.dest);
                    report.tables_out = report.tables_in;
                    report
                }
                Plan::Drop(plan) => {
                    let report = report_of(Outcome::Dropped, &plan.inputs, plan.reason);
                    if plan.inputs.tables().all(|table| is_covered(table, &planning)) {
                        self.drop_covered(&plan.inputs, watermark.saturating_prev(), lease)?;
                    } else {
                        self.drop_tables(&plan.inputs, lease)?;
                    }
                    report
                }
            };
            report.narrowed = room.is_some_and(|room| room.is_narrowed);
            report.nanos = self.nanos().saturating_sub(started);
            let carried_out = report.nanos.saturating_sub(planned);
            report.stages.plan = planned;
            if !matches!(report.outcome, Outcome::Merged | Outcome::Masked | Outcome::Sliced) {
                report.stages.install = carried_out;
            }
            report.stages.write = carried_out.saturating_sub(report.stages.install);
            return Ok(report);
        }
        Ok(CompactionReport::nothing(Outcome::Busy))
    }

    /// A move makes no file: tables that lie elsewhere than those of the level they go to are merged instead.
    fn rewritten_between_routes(&self, plan: Plan) -> Plan {
        match plan {
            Plan::Move(MovePlan { inputs, output, reason })
                if inputs.tables().any(|table| table.route != self.env.routes.of_level(output.dest)) =>
            {
                Plan::Merge(MergePlan { inputs, output, reason })
            }
            plan => plan,
        }
    }

    fn merge(
        self: &Arc<Self>,
        view: Arc<SuperVersion>,
        (plan, picked): (MergePlan, Option<Picked>),
        lease: Lease,
        (tight, space_is_short): (Option<&TightRoom>, bool),
        (options, failpoints, call): (&CompactOptions, &Arc<dyn Failpoints>, &JobCall<'_>),
    ) -> Result<CompactionReport> {
        let mut report = report_of(Outcome::Merged, &plan.inputs, plan.reason);
        let newest = self.visible_end();
        let filter = self.compaction_filter.clone();
        let filter = filter.map(|factory| JobFilter { factory, floor: newest.saturating_prev() });
        let kept = if filter.is_some() {
            self.holds.start_filtering_job(self.filter_limit(), newest)
        } else {
            self.holds.start_job(self.compaction_limit(), newest)
        };
        let strategy = self.delete_strategy(&plan, options);
        let mut output = plan.output;
        output.target_bytes = options.target_bytes.unwrap_or_else(|| self.table_bytes(&output));
        let inputs = self.open_inputs(&plan.inputs)?;
        let outputs = Installed::default();
        // What slices take the place of goes while the job runs.
        let vlogs = if tight.is_some() { view.vlogs.passing() } else { view.vlogs.clone() };
        let values = self.vlogs.is_some().then(|| Arc::new(PastCache::new(vlogs.clone())));
        let job = Arc::new(Job {
            inputs: inputs.clone().into(),
            level_count: view.version.levels.count(),
            order: self.order.clone(),
            operator: self.operator.clone(),
            filter,
            retention: kept.retention.clone(),
            outside: self.outside_from_now_on(&plan.inputs, &outputs),
            tombstones: self.tombstones_outside(&view, &plan.inputs)?,
            env: self.env.clone(),
            vlogs: self.vlogs.clone(),
            values: values.clone().map(|values| values as _),
            parallelism: self.store.parallelism(
                options.segment_min_bytes.unwrap_or(DEFAULT_SEGMENT_MIN_BYTES),
                plan.inputs.file_bytes(),
            ),
            cancel: self.stop.either(&options.cancel).child(),
            relocation: picked.and_then(|picked| self.relocations.order(&picked, &vlogs)),
            limiter: self.store.limiter().clone(),
            failpoints: failpoints.clone(),
            watch: call.watch(),
            output,
            in_flight: InFlight::default(),
            lease,
        });
        self.set_filter_scene(&view, Some(&plan.inputs), job.output.dest, 0);
        let chosen = options.flavours.iter().map(|flavour| &**flavour);
        drop(vlogs);
        let sliced = tight.map(|room| sliced_flavour(&job, room));
        let mut flavours: Vec<&dyn CompactionFlavour> = match &sliced {
            Some(sliced) => vec![sliced.as_ref()],
            None => chosen.chain([&Relocating as _, &Standard as _]).collect(),
        };
        let masking = MergeOnRead { strategy, space_is_short };
        if sliced.is_none() && masking.strategy.writes_vectors() {
            flavours.insert(0, &masking);
        }
        if plan.reason == Reason::ValueGarbage && sliced.is_none() {
            // Any other one would leave the garbage where it is, and the plan would be made again.
            flavours.insert(0, &Relocating);
        }
        let mut pinned = Some((view, inputs));
        if sliced.is_some()
            && let Some((view, inputs)) = pinned.take()
        {
            // What slices take the place of goes while the job runs, as soon as no reader holds it.
            self.retire_reads(&view, &plan.inputs, &inputs);
        }
        let (thread, nanos) = (thread::current().id(), AtomicU64::new(0));
        let installer = JobInstaller { tree: self, job: &job, outputs, values, thread, nanos };
        let done = run_job(&job, &flavours, &installer)?;
        report.stages.install = installer.nanos.into_inner();
        self.counters.compacted(report.bytes_in, done.bytes);
        if let Some((view, inputs)) = pinned.filter(|_| done.vectors == 0) {
            self.retire_reads(&view, &plan.inputs, &inputs);
        }
        report.sliced = done.sliced;
        report.outcome = match done.sliced {
            None if done.vectors > 0 => Outcome::Masked,
            None => Outcome::Merged,
            Some(Sliced { slices: 0, shortage: Some(shortage), .. }) => Outcome::Refused(shortage),
            Some(_) => Outcome::Sliced,
        };
        report.dest = Some(job.output.dest);
        report.flavour = Some(done.flavour);
        report.segments = done.segments;
        report.tables_out = done.tables;
        report.bytes_out = done.bytes;
        report.vectors = done.vectors;
        // What a search for dead rows passes over it neither reads nor writes.
        report.entries_in = if done.vectors > 0 { done.dropped.total() } else { job.input_entries() };
        report.entries_out = done.entries;
        report.dropped = done.dropped;
        report.filtered = done.filtered;
        report.range_tombstones_in = plan.inputs.tables().map(|table| table.counts.range_tombstones).sum();
        report.range_tombstones_out = done.range_tombstones;
        report.folds_failed = done.folds_failed;
        report.weak_mismatches = done.weak_mismatches;
        report.values_relocated = done.relocated.values;
        report.value_bytes_relocated = done.relocated.bytes;
        report.values_carried = done.relocated.carried;
        self.relocations.note_damaged(&done.relocated.damaged);
        report.vlogs_damaged = done.relocated.damaged.into_iter().collect();
        report.vlogs_removed = self.gone(&plan.inputs);
        Ok(report)
    }

    /// What becomes of dead rows in a merge: they are left out, unless nothing goes to another level and nobody wants the
    /// tables to be written.
    fn delete_strategy(&self, plan: &MergePlan, options: &CompactOptions) -> DeleteStrategy {
        let stays = plan.inputs.parts().iter().all(|part| part.level == plan.output.dest);
        let may_stay = matches!(plan.reason, Reason::Covered | Reason::Tombstones | Reason::Requested);
        if options.rewrite || !stays || !may_stay || self.compaction_filter.is_some() {
            return DeleteStrategy::CopyOnWrite;
        }
        let own = self.delete_strategies.get(usize::from(plan.output.canonical.get()));
        own.or(self.delete_strategies.last()).copied().unwrap_or_default()
    }

    /// How many of the value logs that these tables referred to are not there any more, now that the tables are gone.
    fn gone(&self, inputs: &Inputs) -> usize {
        let version = &self.current.load().version;
        let referred: BTreeSet<_> =
            inputs.tables().flat_map(|table| table.references.iter()).map(|(log, _)| log).collect();
        referred.into_iter().filter(|log| version.vlogs.get(*log).is_none()).count()
    }

    /// Handles of the inputs, run by run; an input that left meanwhile declines the job.
    fn open_inputs(&self, inputs: &Inputs) -> Result<Vec<Vec<Table>>> {
        let open = |table: &Arc<lsm_manifest::TableDescriptor>| {
            self.table(table.id).ok_or(ExecutorError::InputVanished { table: table.id })
        };
        let parts = inputs.parts().iter().map(|part| part.tables.iter().map(open).collect());
        Ok(parts.collect::<Result<Vec<Vec<Table>>, ExecutorError>>()?)
    }

    /// Range tombstones of tables that are not inputs and reach keys of the job.
    fn tombstones_outside(&self, view: &SuperVersion, inputs: &Inputs) -> Result<Vec<RangeTombstone>> {
        let mut found = Vec::new();
        let Some((start, end)) = hull(inputs, &self.order) else { return Ok(found) };
        let ids: HashSet<_> = inputs.tables().map(|table| table.id).collect();
        let tables = view.deletes.iter().flat_map(|run| run.reaching(&start, &end, &self.order));
        for table in tables.filter(|table| !ids.contains(&table.id())) {
            if let Some(index) = table.tombstones()? {
                let reaching = index.tombstones().iter();
                found.extend(reaching.filter_map(|tombstone| tombstone.clip(&start, &end, &self.order)));
            }
        }
        Ok(found)
    }

    /// Asks for [`TreeInner::outside_of`] of the newest state whenever it is called: what was written below the watermark
    /// since the plan was made is in it.
    fn outside_from_now_on(self: &Arc<Self>, inputs: &Inputs, outputs: &Installed) -> OutsideNow {
        let (tree, inputs, outputs) = (self.clone(), inputs.clone(), outputs.clone());
        Arc::new(move || tree.outside_of(&tree.current.load_full(), &inputs, &outputs.lock()))
    }

    /// What is not an input and may hold keys of the job: tables of any level, and all memtables.
    ///
    /// * `outputs`: tables that the job has installed. They hold none of the keys that are left, and of deletes of ranges
    ///   nothing but what the job knows: counted as others are, they would have entries stay that these deletes hide, and
    ///   that the job has dropped the deletes for.
    fn outside_of(
        &self,
        view: &SuperVersion,
        inputs: &Inputs,
        outputs: &HashSet<TableId>,
    ) -> Vec<OutsideContainer> {
        let Some((start, end)) = hull(inputs, &self.order) else { return Vec::new() };
        let ids: HashSet<_> = inputs.tables().map(|table| table.id).chain(outputs.iter().copied()).collect();
        let runs = view.version.levels.iter().flat_map(|(_, level)| level.runs());
        let tables = runs.flat_map(|run| run.tables.covering(&start, &end, &self.order));
        let outside = tables.filter(|table| !ids.contains(&table.id)).map(|table| OutsideContainer {
            start: table.coverage_start.clone(),
            end: table.coverage_end.clone(),
            min_seqno: table.seqnos.min,
            max_seqno: table.seqnos.max,
        });
        let sealed = view.sealed.iter().map(|sealed| outside_memtable(sealed.seqnos()));
        outside.chain(sealed).chain(std::iter::once(outside_memtable(view.active.seqnos()))).collect()
    }

    fn relocate(self: &Arc<Self>, inputs: &Inputs, dest: Level, lease: Lease) -> Result<()> {
        let request = InstallRequest {
            remove: Vec::new(),
            restrict: Vec::new(),
            rest: Vec::new(),
            add: Vec::new(),
            vlogs: Vec::new(),
            vectors: Vec::new(),
            relocate: inputs
                .parts()
                .iter()
                .map(|part| part.tables.iter().map(|table| table.id).collect())
                .collect(),
            dest,
            placement: Placement::Newest,
            floor: None,
            altered: None,
            filtered: None,
        };
        let outcome = self.install(request, Vec::new());
        drop(lease);
        outcome.map_err(InstallError::into_error)
    }

    /// Removes tables unread. What they held is gone for every read, so reads up to their numbers are refused, held
    /// ones too.
    fn drop_tables(self: &Arc<Self>, inputs: &Inputs, lease: Lease) -> Result<()> {
        let floor = inputs.tables().map(|table| table.seqnos.max).max().unwrap_or_default();
        // Before the tables go: a held read must not see half of it.
        self.change_holds(SeqNo::ZERO, |holds| holds.cut_off(floor));
        self.drop_covered(inputs, floor, lease)
    }

    /// Removes tables in which no read above `floor` finds anything.
    fn drop_covered(self: &Arc<Self>, inputs: &Inputs, floor: SeqNo, lease: Lease) -> Result<()> {
        let outcome = self.remove(inputs.tables().map(|table| table.id).collect(), floor);
        drop(lease);
        outcome
    }

    pub(super) fn install(
        self: &Arc<Self>,
        request: InstallRequest,
        added: Vec<Table>,
    ) -> Result<(), InstallError> {
        let tree = self.id;
        let removed = request.remove.clone();
        let (order, me) = (self.order.clone(), self.clone());
        let outputs = output_names(&added, &request.vlogs, &request.vectors);
        // Looked up in their files before anybody waits for the install.
        let taken = self.taken(&request).map_err(InstallError::NotApplied)?;
        let build = Box::new(move |draft: &mut Draft<'_>| {
            let version = draft.version(tree).ok_or(EngineError::Closed)?;
            let age = age_of_inputs(&request, &version.levels);
            if let Some(gone) = taken.left.iter().find(|left| !draft.holds(left.table)) {
                return Err(ExecutorError::InputVanished { table: gone.table }.into());
            }
            let mut edit = VersionEdit::default();
            let frontiers: Vec<_> = taken.frontiers(version, &request).collect();
            // What the job has forgotten lies below it.
            if let Some(watermark) = me.raised_watermark(version) {
                edit.push(tree, TreeEdit::Watermark(watermark));
            }
            edit.trees.extend(taken.left.into_iter().map(|left| (tree, left.edit())));
            for id in &request.remove {
                if !draft.holds(*id) {
                    return Err(ExecutorError::InputVanished { table: *id }.into());
                }
                edit.push(tree, TreeEdit::RemoveTable { id: *id });
            }
            for (id, vector) in &request.vectors {
                if !draft.holds(*id) {
                    return Err(ExecutorError::InputVanished { table: *id }.into());
                }
                edit.push(tree, TreeEdit::AttachVector { id: *id, vector: vector.clone() });
            }
            if let Some(floor) = request.floor {
                edit.push(tree, TreeEdit::RaiseFloor(floor));
            }
            if let Some(floor) = request.filtered {
                edit.push(tree, TreeEdit::RefuseReads(floor));
            }
            if let Some(newest) = request.altered.max(request.floor) {
                edit.push(tree, TreeEdit::ChangesFrom(newest.next()));
            }
            // The oldest part first, so that the newest ends up on top.
            for part in request.relocate.iter().rev() {
                relocate_tables(draft, &mut edit, tree, request.dest, part, &order)?;
            }
            let vlogs = request.vlogs.iter().cloned();
            edit.trees.extend(vlogs.map(|vlog| (tree, TreeEdit::AddVlog { vlog })));
            edit.trees.extend(frontiers.into_iter().map(|frontier| (tree, frontier)));
            place_tables(draft, &mut edit, tree, request.dest, age, &request.add, &order)?;
            Ok(edit)
        });
        let me = self.clone();
        let publish = Box::new(move |catalog: &Catalog| {
            let Some(version) = catalog.tree(tree) else { return };
            me.publish(version, Published { added, removed, ..Published::default() });
        });
        self.store.install(Proposal { build, publish, outputs })
    }
}

/// The place in age that outputs take over: that of the newest input in the level they go to.
fn age_of_inputs(request: &InstallRequest, levels: &Levels) -> Option<u64> {
    if request.placement == Placement::Newest {
        return None;
    }
    let restricted = request.restrict.iter().map(|(id, _)| id);
    request.remove.iter().chain(restricted).filter_map(|id| run_age(levels, request.dest, *id)).max()
}

/// Tables that a job has installed, or is about to.
type Installed = Arc<Mutex<HashSet<TableId>>>;
type OutsideNow = Arc<dyn Fn() -> Vec<OutsideContainer> + Send + Sync>;

/// The installer of one job.
struct JobInstaller<'a> {
    tree: &'a Arc<TreeInner>,
    job: &'a Job,
    /// What the job has installed.
    outputs: Installed,
    /// What the job fetches values from.
    values: Option<Arc<PastCache>>,
    /// The one of the job.
    thread: ThreadId,
    /// How long installs kept it from going on.
    nanos: AtomicU64,
}

impl Installer for JobInstaller<'_> {
    fn install(&self, request: InstallRequest) -> Result<(), InstallError> {
        let env = &self.job.env;
        let added = request.add.iter().map(|descriptor| Table::new(env, descriptor.clone())).collect();
        self.outputs.lock().extend(request.add.iter().map(|descriptor| descriptor.id));
        let begun = self.tree.nanos();
        let outcome = self.tree.install(request, added);
        self.let_go();
        if thread::current().id() == self.thread {
            self.nanos.fetch_add(self.tree.nanos().saturating_sub(begun), Ordering::Relaxed);
        }
        outcome
    }
}

impl JobInstaller<'_> {
    /// The job keeps no value log that is not there any more.
    fn let_go(&self) {
        let version = self.tree.current.load().version.clone();
        let is_there = |log| version.vlogs.get(log).is_some();
        self.values.iter().for_each(|values| values.keep(is_there));
        self.job.relocation.iter().for_each(|relocation| relocation.logs.keep(is_there));
    }
}

/// The flavour that does a job slice by slice.
fn sliced_flavour(job: &Job, room: &TightRoom) -> Box<dyn CompactionFlavour> {
    let moves = job.relocation.is_some();
    let (room, min_bytes) = room.slices(&job.output, moves);
    if moves {
        Box::new(TightSpace::new(Relocating, room, min_bytes))
    } else {
        Box::new(TightSpace::new(Standard, room, min_bytes))
    }
}

/// The smallest stretch of keys that holds the coverage of all inputs.
fn hull(inputs: &Inputs, order: &KeyOrder) -> Option<(Cut, Cut)> {
    let start = inputs.tables().map(|table| &table.coverage_start).min_by(|a, b| a.compare(b, order))?;
    let end = inputs.tables().map(|table| &table.coverage_end).max_by(|a, b| a.compare(b, order))?;
    Some((start.clone(), end.clone()))
}

fn report_of(outcome: Outcome, inputs: &Inputs, reason: lsm_compaction_planner::Reason) -> CompactionReport {
    let mut report = CompactionReport::nothing(outcome);
    report.reason = Some(reason);
    report.tables_in = inputs.table_count();
    report.bytes_in = inputs.file_bytes();
    report
}
