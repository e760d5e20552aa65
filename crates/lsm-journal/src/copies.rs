//! The two copies of a generation, read as one log.
//!
//! Primary and mirror are the same bytes: a record may be taken from either, at the same place. So damage in one
//! copy costs nothing as long as the other is good there.

use lsm_block::{
    BlockError, FileIdentity, Superblock, Transforms,
    log::{LogFormat, LogPosition, LogScanner, Record, Tail},
};
use lsm_types::{FileKind, Location};

use crate::{Copies, CopyState, FileName, Generation, JournalEnv, JournalError, survey::read_file};

/// A generation with the bytes of its copies.
#[derive(Debug)]
pub(crate) struct Generations {
    pub(crate) number: Generation,
    /// What its header says; the same in both copies.
    pub(crate) header: Superblock,
    /// How its records are sealed.
    transforms: Transforms,
    /// The copies that can be used, the primary first.
    copies: Vec<Copy>,
    /// What is known of each copy without reading its records.
    states: Copies,
}

#[derive(Debug)]
struct Copy {
    side: Side,
    bytes: Vec<u8>,
    has_header: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Side {
    Primary,
    Mirror,
}

/// The header of one copy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Header {
    /// No such file.
    Missing,
    /// Shorter than a header, or nothing but zeros: a crash came before the header.
    Unwritten,
    /// Not the header of this generation.
    Unusable,
    /// A good one.
    Good(Box<Superblock>),
}

impl Header {
    /// Reads the header of a copy.
    ///
    /// # Errors
    /// When the file cannot be read, or a later version wrote it.
    pub(crate) fn read(env: &JournalEnv, number: Generation, file: FileName) -> Result<Self, JournalError> {
        let Some(mut bytes) = read_file(env, file, Superblock::LEN as u64)? else {
            return Ok(Self::Missing);
        };
        bytes.truncate(Superblock::LEN);
        Self::decode(number, &bytes)
    }

    fn decode(number: Generation, bytes: &[u8]) -> Result<Self, JournalError> {
        let at = Location { kind: FileKind::Manifest, id: number.get(), offset: 0 };
        if bytes.len() < Superblock::LEN || bytes.iter().take(Superblock::LEN).all(|&byte| byte == 0) {
            return Ok(Self::Unwritten);
        }
        match Superblock::decode(at, bytes) {
            Ok(header) => {
                let FileIdentity { kind, file_id, .. } = header.identity;
                let fits = kind == FileKind::Manifest && file_id == number.get();
                Ok(if fits { Self::Good(Box::new(header)) } else { Self::Unusable })
            }
            Err(source @ BlockError::Unsupported { .. }) => {
                Err(JournalError::Block { generation: number, source })
            }
            Err(_) => Ok(Self::Unusable),
        }
    }
}

/// What the bytes behind the last good record are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Ending {
    /// Where the next record would be.
    pub(crate) position: LogPosition,
    /// The judgement, the worse of the two copies.
    pub(crate) tail: Tail,
    /// First byte behind the longer copy.
    pub(crate) file_end: u64,
    /// Whether a record follows that was written when others were known durable.
    pub(crate) is_followed: bool,
}

impl Generations {
    /// Reads both copies; `None` when neither begins with a header of this generation and `header`'s identity.
    ///
    /// # Errors
    /// When a file cannot be read; when the generation is sealed and its key is not at hand.
    pub(crate) fn read(
        env: &JournalEnv,
        number: Generation,
        header: &Superblock,
    ) -> Result<Option<Self>, JournalError> {
        let transforms = header
            .transforms(env.encryption.as_ref())
            .map_err(|source| JournalError::Block { generation: number, source })?;
        let mut copies = Vec::new();
        let mut state = |side, file| {
            let Some(bytes) = read_file(env, file, u64::MAX - 1)? else { return Ok(CopyState::Missing) };
            let has_header = match Header::decode(number, &bytes)? {
                Header::Good(found) if found.identity != header.identity => return Ok(CopyState::Unusable),
                Header::Good(_) => true,
                // Records are bound to the file's identity, so they need no good header of their own.
                _ => false,
            };
            copies.push(Copy { side, bytes, has_header });
            Ok(CopyState::Unusable)
        };
        let primary = state(Side::Primary, FileName::Manifest(number))?;
        let mirror = state(Side::Mirror, FileName::Mirror(number))?;
        let states = Copies { primary, mirror };
        let is_usable = copies.iter().any(|copy| copy.has_header);
        Ok(is_usable.then(|| Self { number, header: header.clone(), transforms, copies, states }))
    }

    /// Hands every record to `visit` in order, each from the copy that has it; returns the place behind the last.
    pub(crate) fn walk<E>(
        &self,
        mut visit: impl FnMut(&Record<'_>) -> Result<(), E>,
    ) -> Result<LogPosition, E> {
        self.walk_from(LogPosition::START, &mut visit)
    }

    /// As [`Self::walk`], going on behind damage; returns the bytes that were passed over. For salvage only.
    pub(crate) fn walk_all<E>(&self, mut visit: impl FnMut(&Record<'_>) -> Result<(), E>) -> Result<u64, E> {
        let mut passed_over = 0;
        let mut position = self.walk_from(LogPosition::START, &mut visit)?;
        loop {
            let behind = self.copies.iter().filter_map(|copy| self.next_record(copy, position));
            let Some((record, next)) = behind.min_by_key(|(record, _)| record.start) else {
                return Ok(passed_over);
            };
            passed_over += record.start.saturating_sub(position.offset);
            visit(&record)?;
            position = self.walk_from(next, &mut visit)?;
        }
    }

    /// The first record of a copy behind the damage at `position`, and the place behind it.
    fn next_record<'a>(&self, copy: &'a Copy, position: LogPosition) -> Option<(Record<'a>, LogPosition)> {
        let mut scanner = self.scanner(&copy.bytes, position);
        loop {
            scanner.resync()?;
            if let Some(record) = scanner.next() {
                return Some((record, scanner.position()));
            }
        }
    }

    fn walk_from<E>(
        &self,
        mut position: LogPosition,
        visit: &mut impl FnMut(&Record<'_>) -> Result<(), E>,
    ) -> Result<LogPosition, E> {
        // Copies in a row that do not get past the position.
        let mut stuck = 0;
        for copy in self.copies.iter().cycle() {
            let mut scanner = self.scanner(&copy.bytes, position);
            for record in scanner.by_ref() {
                visit(&record)?;
            }
            stuck = if scanner.position() == position { stuck + 1 } else { 1 };
            position = scanner.position();
            if stuck >= self.copies.len() {
                break;
            }
        }
        Ok(position)
    }

    /// Judges what follows `position`, the end of [`Self::walk`].
    pub(crate) fn ending(&self, position: LogPosition) -> Ending {
        let mut ending =
            Ending { position, tail: Tail::Clean { at: position.offset }, file_end: 0, is_followed: false };
        for copy in &self.copies {
            ending.file_end = ending.file_end.max(copy.bytes.len() as u64);
            let mut scanner = self.scanner(&copy.bytes, position);
            let tail = scanner.tail(0);
            if severity(&tail) > severity(&ending.tail) {
                ending.tail = tail;
            }
            while scanner.resync().is_some() {
                ending.is_followed |= scanner.by_ref().any(|record| record.durable > 0);
            }
        }
        ending
    }

    /// What each copy is worth when the log ends at `end`.
    pub(crate) fn copies(&self, end: LogPosition) -> Copies {
        let mut states = self.states;
        for copy in &self.copies {
            let mut scanner = self.scanner(&copy.bytes, LogPosition::START);
            let tail = scanner.tail(0);
            let state = match tail {
                _ if !copy.has_header => CopyState::Unusable,
                _ if scanner.position().offset >= end.offset => CopyState::Whole,
                Tail::Corrupt { .. } | Tail::UnsyncedGap { .. } => CopyState::Damaged,
                Tail::Clean { .. } | Tail::Torn { .. } => CopyState::Behind,
            };
            match copy.side {
                Side::Primary => states.primary = state,
                Side::Mirror => states.mirror = state,
            }
        }
        states
    }

    fn scanner<'a>(&self, bytes: &'a [u8], position: LogPosition) -> LogScanner<'a> {
        let transforms = self.transforms.clone();
        LogScanner::new(self.header.identity, transforms, LogFormat::MANIFEST, bytes, 0).anchored(position)
    }
}

fn severity(tail: &Tail) -> u8 {
    match tail {
        Tail::Clean { .. } => 0,
        Tail::Torn { .. } => 1,
        Tail::UnsyncedGap { .. } => 2,
        Tail::Corrupt { .. } => 3,
    }
}
