//! From the length of a file to its superblock and directory, by the first of four routes that works.
//!
//! The routes, in order: the handle the manifest keeps; the footer, first its primary, then its mirror handle; the
//! pointer in the superblock; a scan backwards for a directory frame. An ordinary file needs one read, of its tail.
//!
//! The [`Locator`] reads nothing: it asks for ranges. Each time it gets one it goes over the routes again from the
//! start with everything it holds, so that there is no state besides the bytes.

use alloc::vec::Vec;

use lsm_codec::Decoder;
use lsm_crypto::Encryption;
use lsm_types::{FileKind, FileUuid, Slice, TreeId};

use crate::{
    BlockError, BlockKind, Checksum, Directory, DirectoryPointer, Expect, FileIdentity, Footer, FrameHeader,
    FrameReader, Handle, Superblock, Transforms, frame::MAGIC as FRAME_MAGIC,
    superblock::MAGIC as FILE_MAGIC,
};

/// A part of a file.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ByteRange {
    /// First byte.
    pub offset: u64,
    /// Bytes.
    pub len: u64,
}

/// What a machine says when fed.
#[derive(Clone, Debug)]
pub enum Step<T> {
    /// It needs to see this part of the file.
    Need(ByteRange),
    /// It is finished.
    Done(T),
}

/// The way a directory was found.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Route {
    /// By the handle given.
    Hint,
    /// By the footer.
    Footer,
    /// By the footer's handle of the mirror.
    FooterMirror,
    /// By the pointer in the superblock.
    Superblock,
    /// By scanning backwards.
    Scan,
}

/// What is known about a file before it is opened.
#[derive(Clone, Copy, Debug)]
pub struct LocatorHints {
    /// The identity the file must have.
    pub identity: Option<FileIdentity>,
    /// Where its directory lies.
    pub directory: Option<Handle>,
    /// Bytes of the file's tail to read first.
    pub tail_len: u64,
    /// Bytes of the file's tail to scan when nothing else helps; `u64::MAX` for salvage.
    pub scan_len: u64,
}

impl Default for LocatorHints {
    fn default() -> Self {
        Self { identity: None, directory: None, tail_len: 64 << 10, scan_len: 8 << 20 }
    }
}

/// A file whose directory and superblock are found and good.
#[derive(Clone, Debug)]
pub struct Located {
    /// The head of the file, or a copy of it.
    pub superblock: Superblock,
    /// The sections of the file.
    pub directory: Directory,
    /// Where the directory lies.
    pub directory_at: Handle,
    directory_frame: Slice,
    /// How it was found.
    pub route: Route,
    /// What failed on the way. Not empty: the file is damaged, and can be healed.
    pub detours: Vec<BlockError>,
    /// The tail of the file, as it was read: ordinary files have all their metadata in it.
    pub tail: (u64, Slice),
}

impl Located {
    /// A reader of the file's frames, once superblock and directory are proved by the file's key, if it has one.
    ///
    /// # Errors
    /// As [`Superblock::transforms`]; [`BlockError::Tampered`] for a forged directory or superblock.
    pub fn frame_reader(&self, encryption: Option<&Encryption>) -> Result<FrameReader, BlockError> {
        let reader = FrameReader::new(self.superblock.identity, self.superblock.transforms(encryption)?);
        if self.superblock.sealing.is_some() {
            let expect = Expect { kind: BlockKind::DIRECTORY, ordinal: None, handle: self.directory_at };
            reader.open(&expect, &self.directory_frame, &mut Decoder::new(), expect.kind.cap())?;
        }
        Ok(reader)
    }

    /// A reader for tools without keys: it checks all frames and opens those that are not sealed.
    pub fn frame_reader_without_key(&self) -> FrameReader {
        FrameReader::new(self.superblock.identity, self.superblock.transforms_without_key())
    }

    /// The part of the tail that `range` names, when the tail holds all of it.
    pub fn tail_bytes(&self, range: ByteRange) -> Option<Slice> {
        part(&self.tail, range)
    }
}

/// Directory frames that may fail before a scan gives up: keeps its time linear in what it reads.
const SCAN_TRIES_MAX: usize = 8;

/// Finds superblock and directory of a file.
#[derive(Debug)]
pub struct Locator {
    file_len: u64,
    hints: LocatorHints,
    windows: Vec<(u64, Slice)>,
    wanted: ByteRange,
}

/// Why a run over the routes ended early.
enum Stop {
    Need(ByteRange),
    Fail(BlockError),
}

impl From<BlockError> for Stop {
    fn from(error: BlockError) -> Self {
        Self::Fail(error)
    }
}

/// Result of one attempt: what stops everything is in the error, what only ends the attempt in the value.
type Attempt<T> = Result<Result<T, BlockError>, Stop>;

impl Locator {
    /// A locator for a file of `file_len` bytes, and the first range it needs.
    ///
    /// # Errors
    /// [`BlockError::Truncated`] when no superblock and footer fit.
    pub fn start(file_len: u64, hints: LocatorHints) -> Result<(Self, ByteRange), BlockError> {
        let need = (Superblock::LEN + Footer::LEN) as u64;
        if file_len < need {
            let at = provisional(&hints, FileUuid::default()).at(0);
            return Err(BlockError::Truncated { at, need, have: file_len });
        }
        let len = hints.tail_len.clamp(Footer::LEN as u64, file_len);
        let wanted = ByteRange { offset: file_len - len, len };
        Ok((Self { file_len, hints, windows: Vec::new(), wanted }, wanted))
    }

    /// Takes in the bytes of the range asked for last.
    ///
    /// # Errors
    /// When no route is left, the error of the first one; [`BlockError::NotOurs`] when nothing about the file is
    /// ours; [`BlockError::Unsupported`] and [`BlockError::OtherFile`] at once.
    pub fn feed(&mut self, bytes: Slice) -> Result<Step<Located>, BlockError> {
        let ByteRange { offset, len } = self.wanted;
        if bytes.len() as u64 != len {
            let at = provisional(&self.hints, FileUuid::default()).at(offset);
            return Err(BlockError::Truncated { at, need: len, have: bytes.len() as u64 });
        }
        self.windows.push((offset, bytes));
        match self.run() {
            Ok(located) => Ok(Step::Done(located)),
            Err(Stop::Need(range)) => {
                self.wanted = range;
                Ok(Step::Need(range))
            }
            Err(Stop::Fail(error)) => Err(error),
        }
    }

    fn run(&self) -> Result<Located, Stop> {
        let mut detours = Vec::new();
        let (uuid, directory_at, directory, route) = self.find_directory(&mut detours)?;
        let superblock = self.find_superblock(uuid, &directory, &mut detours)?;
        let tail = self.windows.first().cloned().unwrap_or_default();
        let directory_frame = self.bytes(directory_at.range())?;
        Ok(Located { superblock, directory, directory_at, directory_frame, route, detours, tail })
    }

    fn find_directory(
        &self,
        detours: &mut Vec<BlockError>,
    ) -> Result<(FileUuid, Handle, Directory, Route), Stop> {
        let mut uuid = self.hints.identity.map(|identity| identity.uuid);
        if let (Some(uuid), Some(handle)) = (uuid, self.hints.directory)
            && let Some(directory) = note(self.try_directory(uuid, handle)?, detours)
        {
            return Ok((uuid, handle, directory, Route::Hint));
        }
        if let Some(footer) = note(self.footer()?, detours) {
            uuid = Some(footer.uuid);
            let primary = (footer.directory, Route::Footer);
            let mirror = footer.mirror.map(|mirror| (mirror, Route::FooterMirror));
            for (handle, route) in [Some(primary), mirror].into_iter().flatten() {
                if let Some(directory) = note(self.try_directory(footer.uuid, handle)?, detours) {
                    return Ok((footer.uuid, handle, directory, route));
                }
            }
        }
        let head = note(self.head()?, detours);
        if let Some(superblock) = &head {
            uuid = Some(superblock.identity.uuid);
            if let DirectoryPointer::At(handle) = superblock.directory
                && let Some(directory) = note(self.try_directory(superblock.identity.uuid, handle)?, detours)
            {
                return Ok((superblock.identity.uuid, handle, directory, Route::Superblock));
            }
        }
        if let Some((uuid, handle, directory)) = self.scan(uuid, detours)? {
            return Ok((uuid, handle, directory, Route::Scan));
        }
        Err(Stop::Fail(self.verdict(uuid, detours)))
    }

    /// The error of a file without a directory.
    fn verdict(&self, uuid: Option<FileUuid>, detours: &[BlockError]) -> BlockError {
        let at = provisional(&self.hints, FileUuid::default()).at(0);
        let foreign =
            uuid.is_none() && detours.iter().any(|error| matches!(error, BlockError::NotOurs { .. }));
        match detours.first() {
            Some(first) if !foreign => *first,
            _ => BlockError::NotOurs { at },
        }
    }

    /// The footer; refused for good when it belongs to another file.
    fn footer(&self) -> Attempt<Footer> {
        let offset = self.file_len - Footer::LEN as u64;
        let bytes = self.bytes(ByteRange { offset, len: Footer::LEN as u64 })?;
        let at = provisional(&self.hints, FileUuid::default()).at(offset);
        let footer = fatal_if_unsupported(Footer::decode(at, &bytes))?;
        if let Ok(footer) = &footer {
            self.same_file(footer.uuid)?;
        }
        Ok(footer)
    }

    /// The superblock at the start of the file; refused for good when it belongs to another file.
    fn head(&self) -> Attempt<Superblock> {
        let bytes = self.bytes(ByteRange { offset: 0, len: Superblock::LEN as u64 })?;
        self.superblock_from(&bytes)
    }

    fn superblock_from(&self, bytes: &[u8]) -> Attempt<Superblock> {
        let at = provisional(&self.hints, FileUuid::default()).at(0);
        let superblock = fatal_if_unsupported(Superblock::decode(at, bytes))?;
        if let Ok(superblock) = &superblock {
            let found = superblock.identity.uuid;
            self.same_file(found)?;
            if let Some(expected) = self.hints.identity
                && expected != superblock.identity
            {
                return Err(Stop::Fail(BlockError::OtherFile { at, expected: expected.uuid, found }));
            }
        }
        Ok(superblock)
    }

    fn same_file(&self, found: FileUuid) -> Result<(), BlockError> {
        match self.hints.identity {
            Some(expected) if expected.uuid != found => {
                Err(BlockError::OtherFile { at: expected.at(0), expected: expected.uuid, found })
            }
            _ => Ok(()),
        }
    }

    /// The directory behind a handle.
    fn try_directory(&self, uuid: FileUuid, handle: Handle) -> Attempt<Directory> {
        let payload = match self.frame(uuid, BlockKind::DIRECTORY, handle)? {
            Ok(payload) => payload,
            Err(error) => return Ok(Err(error)),
        };
        let at = provisional(&self.hints, uuid).at(handle.offset);
        fatal_if_unsupported(Directory::decode(at, &payload, self.file_len))
    }

    /// The payload of a metadata frame, which is never compressed. The checksum in use stands in the superblock,
    /// which may not be at hand: the two there are are tried in turn.
    fn frame(&self, uuid: FileUuid, kind: BlockKind, handle: Handle) -> Attempt<Slice> {
        let identity = provisional(&self.hints, uuid);
        let expect = Expect { kind, ordinal: None, handle };
        if let Err(error) = expect.check_handle(&identity, self.file_len) {
            return Ok(Err(error));
        }
        let bytes = self.bytes(handle.range())?;
        let mut first_error = None;
        for checksum in Checksum::ALL {
            let reader = FrameReader::new(identity, Transforms::new(checksum));
            match reader.open(&expect, &bytes, &mut Decoder::new(), kind.cap()) {
                Ok(frame) => return Ok(Ok(frame.payload)),
                Err(error @ BlockError::Unsupported { .. }) => return Err(Stop::Fail(error)),
                Err(error) => _ = first_error.get_or_insert(error),
            }
        }
        let none = BlockError::Decode { at: identity.at(handle.offset), kind, field: "checksum" };
        Ok(Err(first_error.unwrap_or(none)))
    }

    /// The last directory frame of the file that is whole.
    fn scan(
        &self,
        uuid: Option<FileUuid>,
        detours: &mut Vec<BlockError>,
    ) -> Result<Option<(FileUuid, Handle, Directory)>, Stop> {
        let len = self.hints.scan_len.min(self.file_len);
        let base = self.file_len - len;
        let window = self.bytes(ByteRange { offset: base, len })?;
        let Some(uuid) = uuid.or_else(|| self.uuid_from_copy(&window)) else { return Ok(None) };
        let identity = provisional(&self.hints, uuid);
        let [m0, m1] = FRAME_MAGIC;
        let start_of_frame = [m0, m1, BlockKind::DIRECTORY.code()];
        let mut tries = 0;
        for at in candidates(&window, &start_of_frame) {
            let offset = base + at as u64;
            let head = window.get(at..).unwrap_or_default();
            let header = FrameHeader::decode(&identity, offset, BlockKind::DIRECTORY, head);
            let Some(len) = header.ok().and_then(|header| header.frame_len()) else { continue };
            let handle = Handle { offset, len };
            if let Some(directory) = note(self.try_directory(uuid, handle)?, detours) {
                return Ok(Some((uuid, handle, directory)));
            }
            tries += 1;
            if tries == SCAN_TRIES_MAX {
                break;
            }
        }
        Ok(None)
    }

    /// The identity of a file that lost its head and its footer, from a copy of its superblock.
    fn uuid_from_copy(&self, window: &[u8]) -> Option<FileUuid> {
        candidates(window, &FILE_MAGIC).take(SCAN_TRIES_MAX).find_map(|at| {
            let found = self.superblock_from(window.get(at..).unwrap_or_default());
            found.ok()?.ok().map(|superblock| superblock.identity.uuid)
        })
    }

    /// The superblock the directory vouches for: a copy in the tail, the head of the file, the mirror copy.
    fn find_superblock(
        &self,
        uuid: FileUuid,
        directory: &Directory,
        detours: &mut Vec<BlockError>,
    ) -> Result<Superblock, Stop> {
        let before = detours.len();
        let copy = directory.primary(BlockKind::SUPERBLOCK_COPY);
        let mirror = directory.mirror(BlockKind::SUPERBLOCK_COPY);
        for source in [copy.map(Some), Some(None), mirror.map(Some)].into_iter().flatten() {
            let raw = match source {
                Some(section) => self.frame(uuid, BlockKind::SUPERBLOCK_COPY, section.handle())?,
                None => Ok(self.bytes(ByteRange { offset: 0, len: Superblock::LEN as u64 })?),
            };
            let superblock = match raw {
                Ok(raw) => self.superblock_from(&raw)?.and_then(|superblock| {
                    let vouched = raw.first_chunk().map(Superblock::digest_of);
                    if vouched == Some(directory.superblock_digest) && superblock.identity.uuid == uuid {
                        return Ok(superblock);
                    }
                    let (at, kind) = (superblock.identity.at(0), BlockKind::SUPERBLOCK_COPY);
                    Err(BlockError::Decode { at, kind, field: "digest" })
                }),
                Err(error) => Err(error),
            };
            if let Some(superblock) = note(superblock, detours) {
                return Ok(superblock);
            }
        }
        let none = BlockError::NotOurs { at: provisional(&self.hints, uuid).at(0) };
        Err(Stop::Fail(detours.get(before).copied().unwrap_or(none)))
    }

    /// Bytes of the file, from what was read or by asking for them.
    fn bytes(&self, range: ByteRange) -> Result<Slice, Stop> {
        self.windows.iter().find_map(|window| part(window, range)).ok_or(Stop::Need(range))
    }
}

impl Handle {
    const fn range(self) -> ByteRange {
        ByteRange { offset: self.offset, len: self.len as u64 }
    }
}

/// The identity as far as it is known: enough to check frames, and to name the file in errors.
fn provisional(hints: &LocatorHints, uuid: FileUuid) -> FileIdentity {
    hints.identity.unwrap_or(FileIdentity {
        kind: FileKind::Table,
        file_id: 0,
        uuid,
        database: FileUuid::default(),
        tree: TreeId::new(0),
    })
}

/// The part of `window` that `range` names, when it holds all of it.
fn part((start, bytes): &(u64, Slice), range: ByteRange) -> Option<Slice> {
    let from = usize::try_from(range.offset.checked_sub(*start)?).ok()?;
    let to = from.checked_add(usize::try_from(range.len).ok()?)?;
    (to <= bytes.len()).then(|| bytes.slice(from..to))
}

/// Positions of `pattern` in `window`, last first.
fn candidates<'a>(window: &'a [u8], pattern: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    let starts = window.windows(pattern.len()).enumerate().rev();
    starts.filter(move |(_, bytes)| *bytes == pattern).map(|(at, _)| at)
}

/// Damage ends an attempt; bytes from the future end them all.
fn fatal_if_unsupported<T>(result: Result<T, BlockError>) -> Attempt<T> {
    match result {
        Err(error @ BlockError::Unsupported { .. }) => Err(Stop::Fail(error)),
        other => Ok(other),
    }
}

/// The value, or a line in the list of detours.
fn note<T>(result: Result<T, BlockError>, detours: &mut Vec<BlockError>) -> Option<T> {
    result.map_err(|error| detours.push(error)).ok()
}
