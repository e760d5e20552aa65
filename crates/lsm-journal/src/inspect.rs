//! Looking at a directory and choosing what to read, without changing anything (D-45, D-46).

use std::collections::{BTreeMap, BTreeSet};

use lsm_block::Superblock;
use lsm_types::{FileUuid, IoKind};

use crate::{
    FileName, Generation, JournalEnv, JournalError, Pointer, PointerState, RecoveryMode,
    choose::{choose, next_number},
    copies::{Generations, Header},
    scan::{Scan, Verdict},
    survey::{Current, Survey, read_pointer},
};

/// What a directory holds.
pub(crate) enum Inspection {
    /// No database, or one whose creation was cut short before anything was in it.
    Nothing {
        /// The first free number of a generation.
        next: Generation,
    },
    /// A database.
    Database(Box<Inspected>),
}

/// A database, looked at.
pub(crate) struct Inspected {
    pub(crate) database: FileUuid,
    pub(crate) pointer: PointerState,
    pub(crate) survey: Survey,
    /// All generations of this database, oldest first.
    pub(crate) scans: Vec<Scan>,
    /// The one that is the truth.
    pub(crate) chosen: Scan,
    pub(crate) generation: Generations,
    /// Files named like a generation whose header was never written.
    pub(crate) unwritten: Vec<FileName>,
    /// The first free number of a generation.
    pub(crate) next: Generation,
}

/// Looks at the directory. A writer may be at work in it: what changed under our eyes is looked at again.
pub(crate) fn inspect(env: &JournalEnv, mode: RecoveryMode) -> Result<Inspection, JournalError> {
    const TRIES: usize = 32;
    for _ in 1..TRIES {
        let pointer = read_pointer(env)?;
        match inspect_once(env, mode, pointer) {
            Err(error) if has_vanished(&error) || read_pointer(env)? != pointer => {}
            done => return done,
        }
    }
    inspect_once(env, mode, read_pointer(env)?)
}

/// Whether a file shrank while it was read.
fn has_vanished(error: &JournalError) -> bool {
    matches!(error, JournalError::File { source, .. } if source.kind == IoKind::UnexpectedEof)
}

/// The pointer is read before the names, so that the generation it names was there when the names were read.
fn inspect_once(env: &JournalEnv, mode: RecoveryMode, current: Current) -> Result<Inspection, JournalError> {
    let first = Generation::new(1);
    let Some(survey) = Survey::take(env)? else { return Ok(Inspection::Nothing { next: first }) };
    let mut headers = Headers::read(env, &survey)?;
    let pointer = match current {
        Current::Names(pointer) => Some(pointer),
        Current::Missing | Current::Damaged => None,
    };
    // Usually there is one database. Creations that were cut short leave the beginnings of several.
    let mut usable = Vec::new();
    for database in headers.databases(pointer.as_ref()) {
        let own = pointer.as_ref().filter(|pointer| pointer.database == database);
        let mut scans = Vec::new();
        for (number, header) in headers.of(database) {
            if let Some(generation) = Generations::read(env, *number, header)? {
                scans.push(Scan::of(&generation));
            }
        }
        if let Some(chosen) = choose(&scans, own, mode)?.cloned() {
            usable.push((database, scans, chosen));
        }
    }
    if let [(expected, ..), (found, _, chosen), ..] = usable.as_slice() {
        let (generation, expected, found) = (chosen.number, *expected, *found);
        return Err(JournalError::OtherDatabase { generation, expected, found });
    }
    let Some((database, scans, chosen)) = usable.pop() else {
        return nothing(env, &survey, &headers, pointer.as_ref());
    };
    let next = headers.next(pointer.as_ref())?;
    headers.good.retain(|_, header| header.identity.database == database);
    let is_foreign = pointer.is_some_and(|pointer| pointer.database != database);
    let pointer = pointer.filter(|_| !is_foreign);
    let header = headers.good.get(&chosen.number);
    let again = header.map(|header| Generations::read(env, chosen.number, header)).transpose()?.flatten();
    let lost = JournalError::GenerationLost { named: chosen.number, found: None };
    let generation = again.ok_or(lost)?;
    let state = pointer_state(current, pointer.as_ref(), chosen.number);
    Ok(Inspection::Database(Box::new(Inspected {
        database,
        pointer: state,
        survey,
        scans,
        chosen,
        generation,
        unwritten: headers.unwritten,
        next,
    })))
}

/// What `CURRENT` said; `own` is its content where it belongs to this database.
pub(crate) fn pointer_state(current: Current, own: Option<&Pointer>, chosen: Generation) -> PointerState {
    match (current, own) {
        (_, Some(pointer)) if pointer.generation == chosen => PointerState::Agrees,
        (_, Some(pointer)) => PointerState::Names(pointer.generation),
        (Current::Missing, None) => PointerState::Missing,
        (Current::Damaged, None) => PointerState::Damaged,
        (Current::Names(_), None) => PointerState::Foreign,
    }
}

/// No generation can be used. That is fine in a directory in which a creation was cut short, or never begun.
pub(crate) fn nothing(
    env: &JournalEnv,
    survey: &Survey,
    headers: &Headers,
    pointer: Option<&Pointer>,
) -> Result<Inspection, JournalError> {
    match survey.find_content(env)? {
        Some(file) => Err(JournalError::PartialState { file }),
        None => Ok(Inspection::Nothing { next: headers.next(pointer)? }),
    }
}

/// A number above that of every file named like a generation, whatever is in it, and above what `CURRENT` names.
pub(crate) fn next_in(env: &JournalEnv) -> Result<Generation, JournalError> {
    let named = match read_pointer(env)? {
        Current::Names(pointer) => Some(pointer.generation),
        Current::Missing | Current::Damaged => None,
    };
    let survey = Survey::take(env)?.unwrap_or_default();
    next_number(survey.generations.into_keys().chain(named))
}

/// The headers of all files named like generations.
pub(crate) struct Headers {
    pub(crate) good: BTreeMap<Generation, Superblock>,
    pub(crate) unwritten: Vec<FileName>,
}

impl Headers {
    pub(crate) fn read(env: &JournalEnv, survey: &Survey) -> Result<Self, JournalError> {
        let mut headers = Self { good: BTreeMap::new(), unwritten: Vec::new() };
        for (number, (has_primary, has_mirror)) in &survey.generations {
            let names =
                [(*has_primary, FileName::Manifest(*number)), (*has_mirror, FileName::Mirror(*number))];
            for (_, file) in names.into_iter().filter(|(is_there, _)| *is_there) {
                match Header::read(env, *number, file)? {
                    Header::Good(header) => {
                        // The primary comes first and wins where the two are not copies of each other.
                        headers.good.entry(*number).or_insert(*header);
                    }
                    Header::Unwritten => headers.unwritten.push(file),
                    Header::Missing | Header::Unusable => {}
                }
            }
        }
        Ok(headers)
    }

    /// The databases that generations belong to: only that of `CURRENT` where it is among them.
    pub(crate) fn databases(&self, pointer: Option<&Pointer>) -> BTreeSet<FileUuid> {
        let found: BTreeSet<FileUuid> = self.good.values().map(|header| header.identity.database).collect();
        match pointer {
            Some(pointer) if found.contains(&pointer.database) => BTreeSet::from([pointer.database]),
            _ => found,
        }
    }

    /// The generations of a database.
    pub(crate) fn of(&self, database: FileUuid) -> impl Iterator<Item = (&Generation, &Superblock)> {
        self.good.iter().filter(move |(_, header)| header.identity.database == database)
    }

    pub(crate) fn next(&self, pointer: Option<&Pointer>) -> Result<Generation, JournalError> {
        let named = pointer.map(|pointer| pointer.generation);
        next_number(self.good.keys().copied().chain(named))
    }
}

impl Inspected {
    /// Generations older than the one in use, newest first, that were complete.
    pub(crate) fn complete(&self) -> impl Iterator<Item = Generation> + '_ {
        let complete = self.scans.iter().filter(|scan| matches!(scan.verdict, Verdict::Good(_)));
        complete.map(|scan| scan.number).rev()
    }
}
