//! The manifest as something edits are appended to.

use lsm_manifest::{Catalog, KeyOrders, Record, VersionEdit};
use lsm_types::{EditIndex, FileUuid};

use crate::{
    AppendError, FileName, Generation, JournalEnv, JournalError, JournalOptions, Pointer, Recovered,
    Recovery, RecoveryMode, RotateError,
    generation::{self, Live, Statement, SwitchError},
    inspect::{Inspection, inspect, next_in},
    sweep::{Sweep, wipe_temporary},
};

/// A generation that has grown to so many times its due size takes no more edits.
const OVERDUE: u64 = 16;
/// The least size that counts as due for that.
const OVERDUE_MIN: u64 = 1 << 20;

/// The manifest of a database that is open for writing. Whoever owns it is the only one who writes to the files it
/// manages, one call at a time.
#[derive(Debug)]
pub struct Journal {
    env: JournalEnv,
    options: JournalOptions,
    database: FileUuid,
    live: Live,
    state: State,
    last_edit: EditIndex,
    /// Edits that may be in a file although they were not acknowledged.
    uncertain: u64,
    /// Whether the mirror holds bytes that were not synced.
    is_mirror_dirty: bool,
    next: Generation,
    sweep: Sweep,
    /// After a rotation failed, the length of edits from which on another is tried.
    retry_from: u64,
    counters: Counters,
    buffer: Vec<u8>,
    body: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Open,
    Fenced,
    Closed,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Counters {
    rotations: u64,
    failed_rotations: u64,
    reanchors: u64,
}

/// How a journal is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct JournalStatus {
    /// The generation in use.
    pub generation: Generation,
    /// Bytes of its snapshot.
    pub snapshot_bytes: u64,
    /// Bytes of the edits behind it.
    pub edit_bytes: u64,
    /// Bytes of all files of the manifest: `CURRENT`, both copies of the generation in use, and the older ones that stay.
    pub file_bytes: u64,
    /// Generations begun since the journal was opened, the first one not counted.
    pub rotations: u64,
    /// Attempts at it that failed.
    pub failed_rotations: u64,
    /// Times the truth was stated anew after an unknown outcome.
    pub reanchors: u64,
    /// Whether there is a second copy.
    pub has_mirror: bool,
    /// Whether edits are refused because the outcome of an earlier write is unknown.
    pub is_fenced: bool,
}

impl Journal {
    /// Creates the manifest of a new database in a directory that exists. A creation that was cut short before is
    /// completed.
    ///
    /// * `catalog`: the first state, such as one with an empty tree.
    ///
    /// # Errors
    /// [`JournalError::Exists`] when there is a database, [`JournalError::PartialState`] when there are files of one.
    pub fn create(
        env: JournalEnv,
        options: JournalOptions,
        database: FileUuid,
        catalog: &Catalog,
    ) -> Result<Self, JournalError> {
        let next = match inspect(&env, RecoveryMode::Strict)? {
            Inspection::Nothing { next } => next,
            Inspection::Database(found) => {
                return Err(JournalError::Exists { generation: found.chosen.number });
            }
        };
        let statement = Statement { database, last_edit: EditIndex::new(0), catalog };
        let sweep = Sweep::new(options.keep_generations);
        Self::begin(env, options, next, &statement, sweep)
    }

    /// Begins the manifest of a copy of a database, in a directory that holds no manifest yet; the files that `catalog`
    /// names may be there already.
    ///
    /// * `last_edit`: the last edit of the original that `catalog` includes, so that files of the original do not look
    ///   newer than the manifest of the copy.
    ///
    /// # Errors
    /// What the file system says. What was written stays, to be removed with the directory.
    pub fn fork(
        env: JournalEnv,
        options: JournalOptions,
        database: FileUuid,
        last_edit: EditIndex,
        catalog: &Catalog,
    ) -> Result<Self, JournalError> {
        let statement = Statement { database, last_edit, catalog };
        Self::begin(env, options, Generation::new(1), &statement, Sweep::new(options.keep_generations))
    }

    /// Recovers the database in the directory and begins to write: [`Recovery::read`] and [`Recovery::start`] for
    /// callers with nothing to check between the two.
    pub fn recover(
        env: JournalEnv,
        options: JournalOptions,
        mode: RecoveryMode,
        orders: &dyn KeyOrders,
    ) -> Result<Option<Recovered>, JournalError> {
        let recovery = Recovery::read(&env, mode, orders)?;
        recovery.map(|recovery| recovery.start(env, options)).transpose()
    }

    /// States `catalog` as the truth of a directory whose manifest lost something, in a generation that no recovery
    /// passes over. No older one is removed.
    ///
    /// * `furthest`: no edit later than this one is known to have been made.
    ///
    /// # Errors
    /// When a file cannot be written or a directory synced. The directory is as before, or says what was stated.
    pub fn restate(
        env: JournalEnv,
        options: JournalOptions,
        database: FileUuid,
        furthest: EditIndex,
        catalog: &Catalog,
    ) -> Result<Self, JournalError> {
        let exhausted = JournalError::Exhausted { what: "edit index" };
        let last_edit = furthest.checked_add(1).ok_or(exhausted)?;
        let next = next_in(&env)?;
        let sweep = Sweep::new(options.keep_generations);
        Self::begin(env, options, next, &Statement { database, last_edit, catalog }, sweep)
    }

    pub(crate) fn begin(
        env: JournalEnv,
        options: JournalOptions,
        mut next: Generation,
        statement: &Statement<'_>,
        mut sweep: Sweep,
    ) -> Result<Self, JournalError> {
        generation::ensure_temporary(&env)?;
        let live = generation::write(&env, &options, &mut next, statement, sweep.leftovers())?;
        match generation::switch(&env, &options, statement.database, &live) {
            Ok(()) => {}
            Err(SwitchError::Before(error)) => {
                generation::discard(&env, live.number, sweep.leftovers());
                return Err(error);
            }
            Err(SwitchError::After(error)) => return Err(error),
        }
        wipe_temporary(&env);
        sweep.run(&env, live.number);
        Ok(Self {
            env,
            options,
            database: statement.database,
            live,
            state: State::Open,
            last_edit: statement.last_edit,
            uncertain: 0,
            is_mirror_dirty: false,
            next,
            sweep,
            retry_from: 0,
            counters: Counters::default(),
            buffer: Vec::new(),
            body: Vec::new(),
        })
    }

    /// The database.
    pub fn database(&self) -> FileUuid {
        self.database
    }

    /// The last edit that is durable.
    pub fn last_edit(&self) -> EditIndex {
        self.last_edit
    }

    /// Whether edits are refused until [`Journal::reanchor`].
    pub fn is_fenced(&self) -> bool {
        self.state == State::Fenced
    }

    /// How it is doing.
    pub fn status(&self) -> JournalStatus {
        JournalStatus {
            generation: self.live.number,
            snapshot_bytes: self.live.snapshot_end,
            edit_bytes: self.edit_bytes(),
            file_bytes: self.file_bytes(),
            rotations: self.counters.rotations,
            failed_rotations: self.counters.failed_rotations,
            reanchors: self.counters.reanchors,
            has_mirror: self.live.mirror.is_some(),
            is_fenced: self.is_fenced(),
        }
    }

    /// Makes edits durable, all or none: one write, one sync. Returns the index of the last one.
    ///
    /// The caller has checked that they apply, one after the other, to the state it has.
    ///
    /// # Errors
    /// [`AppendError::NotApplied`]: they are not there and never will be. [`AppendError::Unknown`]: they may be
    /// there after a crash; nothing more is taken until [`Journal::reanchor`] or the next recovery.
    pub fn append(&mut self, edits: &[&VersionEdit]) -> Result<EditIndex, AppendError> {
        self.check_open().map_err(AppendError::NotApplied)?;
        if edits.is_empty() {
            return Ok(self.last_edit);
        }
        if self.is_overdue() {
            let (generation, bytes) = (self.live.number, self.edit_bytes());
            return Err(AppendError::NotApplied(JournalError::RotationOverdue { generation, bytes }));
        }
        let count = edits.len() as u64;
        let exhausted = JournalError::Exhausted { what: "edit index" };
        let last = self.last_edit.checked_add(count).ok_or(AppendError::NotApplied(exhausted))?;
        self.body.clear();
        Record::encode_edits(self.last_edit, edits.iter().copied(), &mut self.body);
        self.write_body(count)?;
        self.last_edit = last;
        Ok(last)
    }

    /// Makes the second copy durable. [`Journal::append`] does so for the edits before its own, so this only serves
    /// to have it done earlier, off the path of the next edit. A copy that fails is given up until the next
    /// generation.
    pub fn settle_mirror(&mut self) {
        if !std::mem::take(&mut self.is_mirror_dirty) {
            return;
        }
        if let Some(mirror) = &self.live.mirror
            && mirror.sync(self.options.sync).is_err()
        {
            self.live.mirror = None;
        }
    }

    /// Whether a new generation is due. After a failed attempt the next one is put off, unless no edit is taken
    /// without it.
    pub fn wants_rotation(&self) -> bool {
        let bytes = self.edit_bytes();
        let is_time = bytes >= self.retry_from || self.is_overdue();
        self.state == State::Open && bytes > self.due_bytes() && is_time
    }

    /// Whether the generation in use has grown so far that it takes no more edits.
    pub fn is_overdue(&self) -> bool {
        self.edit_bytes() / OVERDUE > self.due_bytes().max(OVERDUE_MIN)
    }

    /// Begins a new generation that states `catalog`, which must be the state after [`Journal::last_edit`].
    ///
    /// # Errors
    /// [`RotateError::NotSwitched`]: the generation in use stays, and the next attempt is due later.
    /// [`RotateError::Unknown`]: the journal takes nothing more until [`Journal::reanchor`] or the next recovery.
    pub fn rotate(&mut self, catalog: &Catalog) -> Result<(), RotateError> {
        self.check_open().map_err(RotateError::NotSwitched)?;
        match self.replace(self.last_edit, catalog) {
            Ok(()) => {
                self.counters.rotations += 1;
                Ok(())
            }
            Err(SwitchError::Before(error)) => {
                self.counters.failed_rotations += 1;
                self.retry_from = self.edit_bytes().saturating_add(self.due_bytes() / 4);
                Err(RotateError::NotSwitched(error))
            }
            Err(SwitchError::After(error)) => {
                self.counters.failed_rotations += 1;
                self.state = State::Fenced;
                Err(RotateError::Unknown(error))
            }
        }
    }

    /// Lifts the fence: states `catalog` as the truth in a generation that no recovery passes over. Whether the
    /// edits with the unknown outcome are in `catalog` is the caller's choice; they are not there otherwise, and
    /// their indices are not used again.
    ///
    /// # Errors
    /// The fence stays; to be tried again.
    pub fn reanchor(&mut self, catalog: &Catalog) -> Result<(), JournalError> {
        if self.state == State::Closed {
            return Err(JournalError::Closed);
        }
        // Whatever the old files turn out to hold, the new generation reaches at least as far and is newer.
        let exhausted = JournalError::Exhausted { what: "edit index" };
        let last_edit = self.last_edit.checked_add(self.uncertain).ok_or(exhausted)?;
        match self.replace(last_edit, catalog) {
            Ok(()) => {
                (self.last_edit, self.uncertain) = (last_edit, 0);
                self.state = State::Open;
                self.counters.reanchors += 1;
                Ok(())
            }
            Err(SwitchError::Before(error)) => Err(error),
            Err(SwitchError::After(error)) => {
                self.state = State::Fenced;
                Err(error)
            }
        }
    }

    /// Notes that the database was closed in order, and takes nothing more.
    ///
    /// # Errors
    /// Nothing is lost: the next recovery only misses the note.
    pub fn close(&mut self) -> Result<(), AppendError> {
        self.check_open().map_err(AppendError::NotApplied)?;
        self.body.clear();
        Record::CleanClose.encode(&mut self.body);
        let written = self.write_body(0);
        self.settle_mirror();
        self.state = State::Closed;
        written
    }

    fn check_open(&self) -> Result<(), JournalError> {
        match self.state {
            State::Open => Ok(()),
            State::Fenced => Err(JournalError::Fenced),
            State::Closed => Err(JournalError::Closed),
        }
    }

    /// Bytes of edits in the generation in use.
    fn edit_bytes(&self) -> u64 {
        self.live.encoder.position().offset - self.live.snapshot_end
    }

    /// Bytes of all files. Looks at none of them.
    fn file_bytes(&self) -> u64 {
        let copies = 1 + u64::from(self.live.mirror.is_some());
        let live = self.live.encoder.position().offset.saturating_mul(copies);
        live.saturating_add(Pointer::LEN as u64).saturating_add(self.sweep.kept_bytes())
    }

    /// More bytes of edits than this make a new generation due.
    fn due_bytes(&self) -> u64 {
        match self.options.rotate_min_bytes {
            0 => 0,
            min => min.max(self.live.snapshot_end.saturating_mul(2)),
        }
    }

    /// Writes the record in `body`, which carries `count` edits, and syncs it.
    fn write_body(&mut self, count: u64) -> Result<(), AppendError> {
        // The second copy may lag by one record, not by two.
        self.settle_mirror();
        let Self { live, body, buffer, .. } = self;
        let before = live.encoder.position();
        let generation = live.number;
        buffer.clear();
        let framed = live.encoder.encode(before.index - 1, body, buffer);
        let span =
            framed.map_err(|source| AppendError::NotApplied(JournalError::Block { generation, source }))?;
        let failed = JournalError::file(FileName::Manifest(generation));
        if let Err(error) = live.file.write_at(span.start, buffer) {
            // Torn bytes must not stay where the next record would follow them.
            live.encoder.cut_back(before);
            let cut = live.file.set_len(before.offset).and_then(|()| live.file.sync(self.options.sync));
            return match cut {
                Ok(()) => Err(AppendError::NotApplied(failed(error.source))),
                Err(_) => Err(self.fence(count, failed(error.source))),
            };
        }
        if let Err(error) = live.file.sync(self.options.sync) {
            return Err(self.fence(count, failed(error)));
        }
        if let Some(mirror) = &live.mirror {
            match mirror.write_at(span.start, buffer) {
                Ok(()) => self.is_mirror_dirty = true,
                // Torn bytes: the copy ends before them.
                Err(_) => live.mirror = None,
            }
        }
        Ok(())
    }

    fn fence(&mut self, uncertain: u64, error: JournalError) -> AppendError {
        self.state = State::Fenced;
        self.uncertain = uncertain;
        AppendError::Unknown(error)
    }

    /// Writes a generation and lets it take the place of the one in use.
    fn replace(&mut self, last_edit: EditIndex, catalog: &Catalog) -> Result<(), SwitchError> {
        let statement = Statement { database: self.database, last_edit, catalog };
        let leftovers = self.sweep.leftovers();
        let live = generation::write(&self.env, &self.options, &mut self.next, &statement, leftovers)
            .map_err(SwitchError::Before)?;
        match generation::switch(&self.env, &self.options, self.database, &live) {
            Ok(()) => {}
            Err(SwitchError::Before(error)) => {
                generation::discard(&self.env, live.number, leftovers);
                return Err(SwitchError::Before(error));
            }
            Err(SwitchError::After(error)) => {
                self.sweep.retire(live.number);
                return Err(SwitchError::After(error));
            }
        }
        let old = std::mem::replace(&mut self.live, live);
        self.is_mirror_dirty = false;
        self.retry_from = 0;
        self.sweep.retire(old.number);
        self.sweep.run(&self.env, self.live.number);
        Ok(())
    }
}
