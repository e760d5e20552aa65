//! Writing a new generation: a snapshot in its own file, a mirror of it, and the switch of `CURRENT`.
//!
//! ```text
//! MANIFEST-g  written, synced         \
//! MANIFEST-g.m  written, synced        > nobody looks at g: a crash leaves the one before in use
//! directory synced                    /
//! tmp/CURRENT-g  written, synced
//! CURRENT  renamed over, directory synced: from here on g is in use
//! ```

use std::sync::Arc;

use lsm_block::{
    FileIdentity, Superblock,
    log::{LogEncoder, LogFormat, LogPosition},
};
use lsm_fs::{FsFile, OpenOptions};
use lsm_manifest::{Catalog, write_snapshot};
use lsm_types::{EditIndex, FileKind, FileUuid, IoKind, ReadAt, TreeId};

use crate::{FileName, Folder, Generation, JournalEnv, JournalError, JournalOptions, Pointer};

/// Bytes gathered before they are written.
const WRITE_LEN: usize = 1 << 20;

/// An open generation that edits can be appended to.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) number: Generation,
    pub(crate) file: Arc<dyn FsFile>,
    /// The second copy; `None` when it is off or was given up.
    pub(crate) mirror: Option<Arc<dyn FsFile>>,
    pub(crate) encoder: LogEncoder,
    /// First byte behind the snapshot.
    pub(crate) snapshot_end: u64,
    snapshot_digest: u64,
    edit_min: EditIndex,
}

/// What a new generation states.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Statement<'a> {
    pub(crate) database: FileUuid,
    pub(crate) last_edit: EditIndex,
    pub(crate) catalog: &'a Catalog,
}

impl JournalEnv {
    /// A random identity for a new file or database.
    pub fn new_uuid(&self) -> FileUuid {
        let mut bytes = [0; 16];
        self.random.fill(&mut bytes);
        FileUuid::from_bytes(bytes)
    }

    /// Removes a file if it is there; `false` when it may still be.
    pub(crate) fn try_remove(&self, file: FileName) -> bool {
        match self.fs.remove_file(&file.path(&self.dir)) {
            Ok(()) => true,
            Err(error) => error.kind == IoKind::NotFound,
        }
    }
}

/// Writes a generation with a number from `next` on, which moves past it, whether this succeeds or not. The files
/// of an attempt that failed are gone, or are named in `leftovers`.
pub(crate) fn write(
    env: &JournalEnv,
    options: &JournalOptions,
    next: &mut Generation,
    statement: &Statement<'_>,
    leftovers: &mut Vec<FileName>,
) -> Result<Live, JournalError> {
    let (number, file) = create(env, next)?;
    let written = write_copies(env, options, number, file, statement, leftovers);
    if written.is_err() {
        discard(env, number, leftovers);
    }
    written
}

/// Removes the files of a generation that never was in use.
pub(crate) fn discard(env: &JournalEnv, number: Generation, leftovers: &mut Vec<FileName>) {
    for file in [FileName::NextPointer(number), FileName::Mirror(number), FileName::Manifest(number)] {
        if !env.try_remove(file) {
            leftovers.push(file);
        }
    }
}

/// Creates the primary under the first number from `next` on whose names are free: a number may be taken by a file
/// that is not ours.
fn create(env: &JournalEnv, next: &mut Generation) -> Result<(Generation, Arc<dyn FsFile>), JournalError> {
    loop {
        let number = *next;
        *next = number.next().ok_or(JournalError::Exhausted { what: "generation number" })?;
        let mirror = FileName::Mirror(number);
        if env.fs.exists(&mirror.path(&env.dir)).map_err(JournalError::file(mirror))? {
            continue;
        }
        let name = FileName::Manifest(number);
        match env.fs.open(&name.path(&env.dir), &OpenOptions::CREATE_NEW) {
            Ok(file) => return Ok((number, file)),
            Err(error) if error.kind == IoKind::AlreadyExists => {}
            Err(source) => return Err(JournalError::File { file: name, source }),
        }
    }
}

fn write_copies(
    env: &JournalEnv,
    options: &JournalOptions,
    number: Generation,
    file: Arc<dyn FsFile>,
    statement: &Statement<'_>,
    leftovers: &mut Vec<FileName>,
) -> Result<Live, JournalError> {
    let failed = JournalError::file(FileName::Manifest(number));
    let (encoder, snapshot_digest) = write_records(env, number, &*file, statement)?;
    file.sync(options.sync).map_err(&failed)?;
    let snapshot_end = encoder.position().offset;
    let mut mirror = None;
    if options.mirror {
        // A database without its second copy is better than none that can be written.
        mirror = copy(env, options, number, &*file, snapshot_end).ok();
        if mirror.is_none() && !env.try_remove(FileName::Mirror(number)) {
            leftovers.push(FileName::Mirror(number));
        }
    }
    env.fs.sync_dir(&env.dir, options.sync_dir).map_err(JournalError::folder(Folder::Root))?;
    Ok(Live { number, file, mirror, encoder, snapshot_end, snapshot_digest, edit_min: statement.last_edit })
}

fn write_records(
    env: &JournalEnv,
    number: Generation,
    file: &dyn FsFile,
    statement: &Statement<'_>,
) -> Result<(LogEncoder, u64), JournalError> {
    let failed = JournalError::file(FileName::Manifest(number));
    let identity = FileIdentity {
        kind: FileKind::Manifest,
        file_id: number.get(),
        uuid: env.new_uuid(),
        database: statement.database,
        tree: TreeId::new(0),
    };
    // A generation is never written on by another process, so its frames are numbered once.
    let (header, transforms) = Superblock::new(identity, env.clock.now(), statement.last_edit)
        .begin(env.encryption.as_ref(), |salt| env.random.fill(salt))
        .map_err(|source| JournalError::Block { generation: number, source })?;
    let mut encoder = LogEncoder::new(identity, transforms, LogFormat::MANIFEST, LogPosition::START);
    let mut bytes = header.encode().to_vec();
    let mut start = 0;
    let mut flush = |bytes: &mut Vec<u8>| {
        let written = file.write_at(start, bytes).map_err(|error| failed(error.source));
        start += bytes.len() as u64;
        bytes.clear();
        written
    };
    // Nothing of this file is known durable yet, hence the hint 0.
    let digest = write_snapshot(statement.catalog, statement.database, statement.last_edit, |record| {
        encoder
            .encode(0, record, &mut bytes)
            .map_err(|source| JournalError::Block { generation: number, source })?;
        if bytes.len() >= WRITE_LEN { flush(&mut bytes) } else { Ok(()) }
    })?;
    flush(&mut bytes)?;
    Ok((encoder, digest))
}

/// Makes the mirror: a copy of the `len` bytes of the primary, synced.
fn copy(
    env: &JournalEnv,
    options: &JournalOptions,
    number: Generation,
    primary: &dyn FsFile,
    len: u64,
) -> Result<Arc<dyn FsFile>, JournalError> {
    let name = FileName::Mirror(number);
    let failed = JournalError::file(name);
    let mirror = env.fs.open(&name.path(&env.dir), &OpenOptions::CREATE_NEW).map_err(&failed)?;
    let mut buffer = vec![0; usize::try_from(len).unwrap_or(usize::MAX).min(WRITE_LEN)];
    let mut offset = 0;
    while offset < len {
        let step = usize::try_from(len - offset).unwrap_or(usize::MAX).min(buffer.len());
        let part = buffer.get_mut(..step).unwrap_or_default();
        primary.read_exact_at(offset, part).map_err(&failed)?;
        mirror.write_at(offset, part).map_err(|error| failed(error.source))?;
        offset += step as u64;
    }
    mirror.sync(options.sync).map_err(&failed)?;
    Ok(mirror)
}

/// Why `CURRENT` was not switched.
pub(crate) enum SwitchError {
    /// It is as it was.
    Before(JournalError),
    /// It may name either generation after a crash.
    After(JournalError),
}

/// Lets `CURRENT` name the generation.
pub(crate) fn switch(
    env: &JournalEnv,
    options: &JournalOptions,
    database: FileUuid,
    live: &Live,
) -> Result<(), SwitchError> {
    let pointer = Pointer {
        database,
        generation: live.number,
        edit_min: live.edit_min,
        snapshot_digest: live.snapshot_digest,
    };
    let name = FileName::NextPointer(live.number);
    let next = name.path(&env.dir);
    write_pointer(env, options, name, &pointer).map_err(SwitchError::Before)?;
    let renamed = env.fs.rename(&next, &FileName::Current.path(&env.dir));
    renamed.map_err(|source| SwitchError::After(JournalError::File { file: FileName::Current, source }))?;
    let synced = env.fs.sync_dir(&env.dir, options.sync_dir);
    synced.map_err(|source| SwitchError::After(JournalError::Folder { folder: Folder::Root, source }))
}

fn write_pointer(
    env: &JournalEnv,
    options: &JournalOptions,
    name: FileName,
    pointer: &Pointer,
) -> Result<(), JournalError> {
    let failed = JournalError::file(name);
    let file = env.fs.open(&name.path(&env.dir), &OpenOptions::REPLACE).map_err(&failed)?;
    file.write_at(0, &pointer.encode()).map_err(|error| failed(error.source))?;
    file.sync(options.sync).map_err(&failed)
}

/// Makes sure that there is a folder for files on their way to another name.
pub(crate) fn ensure_temporary(env: &JournalEnv) -> Result<(), JournalError> {
    let folder = Folder::Temporary;
    match env.fs.create_dir(&folder.path(&env.dir)) {
        Err(source) if source.kind != IoKind::AlreadyExists => Err(JournalError::Folder { folder, source }),
        _ => Ok(()),
    }
}
