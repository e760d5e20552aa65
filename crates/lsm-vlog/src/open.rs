//! Opening a value log without doing I/O: a machine that asks for ranges of the file.
//!
//! One read of the tail is enough. Directory and superblock come through the [`Locator`] and its routes, the properties
//! from their mirror when the copy next to the footer is damaged.

use alloc::{boxed::Box, vec::Vec};

use lsm_block::{
    BlockError, BlockKind, ByteRange, Dictionaries, Encryption, Expect, FrameHeader, FrameReader, Located,
    Locator, LocatorHints, Section, Step,
};
use lsm_codec::{Decoder, Dictionary};
use lsm_types::{FileKind, Location, Result, Slice, VlogId};

use crate::{
    VlogError, VlogLayout, builder::VALUE_KINDS, dictionaries, layout::checked_encoding,
    properties::Properties,
};

/// Sections besides those of values that this version can read.
const META_KINDS: [BlockKind; 4] =
    [BlockKind::VALUE_DIRECTORY, BlockKind::DICTIONARY, BlockKind::PROPERTIES, BlockKind::SUPERBLOCK_COPY];

/// Bytes that a copy of all dictionaries of a file has at most.
const DICTIONARIES_LEN_MAX: u64 =
    Dictionaries::SLOTS_MAX as u64 * (Dictionaries::LEN_MAX + FrameHeader::LEN + 16) as u64;

/// A value log being opened.
#[derive(Debug)]
pub struct OpenVlog {
    encryption: Option<Encryption>,
    file_len: u64,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// Looking for directory and superblock.
    Locating(Locator),
    /// Reading the properties.
    Reading(Box<Reading>),
    /// Reading dictionaries.
    Learning(Box<Learning>),
    /// Opened, or given up.
    Over,
}

#[derive(Debug)]
struct Reading {
    located: Located,
    reader: FrameReader,
    wanted: Section,
    /// What is wrong with the primary copy of the properties, when the mirror is being read.
    primary: Option<VlogError>,
}

/// A value log whose dictionaries are read, copy by copy.
#[derive(Debug)]
struct Learning {
    layout: Box<VlogLayout>,
    /// What the file ended with, when it was read.
    located: Located,
    wanted: Section,
    /// The dictionaries of the primary copy, when the mirror is being read.
    primary: Option<Vec<Result<Dictionary, BlockError>>>,
}

impl OpenVlog {
    /// Starts to open a file of `file_len` bytes; the range to read first.
    ///
    /// * `hints`: what is known about the file: its identity, its directory, and how much of its tail to read first
    ///   ([`VlogSummary::tail_len`](crate::VlogSummary::tail_len) reads everything at once).
    /// * `encryption`: where keys come from, and what to make of a file that is not sealed; `None` opens plain ones only.
    ///
    /// # Errors
    /// `Truncated` for a file too short to be a value log.
    pub fn start(
        file_len: u64,
        hints: LocatorHints,
        encryption: Option<Encryption>,
    ) -> Result<(Self, ByteRange)> {
        let (locator, range) = Locator::start(file_len, hints).map_err(VlogError::from)?;
        Ok((Self { encryption, file_len, stage: Stage::Locating(locator) }, range))
    }

    /// Takes the bytes of the range asked for last.
    ///
    /// # Errors
    /// What makes the file unreadable: the error of the primary copy, with that of the mirror behind it.
    pub fn feed(&mut self, bytes: impl Into<Slice>) -> Result<Step<Box<VlogLayout>>> {
        Ok(self.step(bytes.into())?)
    }

    fn step(&mut self, bytes: Slice) -> Result<Step<Box<VlogLayout>>, VlogError> {
        match core::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Locating(mut locator) => match locator.feed(bytes)? {
                Step::Need(range) => {
                    self.stage = Stage::Locating(locator);
                    Ok(Step::Need(range))
                }
                Step::Done(located) => self.begin(located),
            },
            Stage::Reading(reading) => self.take(reading, &bytes),
            Stage::Learning(learning) => self.learn(learning, &bytes),
            Stage::Over => {
                let at = Location { kind: FileKind::ValueLog, id: 0, offset: 0 };
                Err(BlockError::NotOurs { at }.into())
            }
        }
    }

    /// Directory and superblock are found.
    fn begin(&mut self, located: Located) -> Result<Step<Box<VlogLayout>>, VlogError> {
        let at = located.superblock.identity.at(0);
        if located.superblock.identity.kind != FileKind::ValueLog {
            return Err(BlockError::NotOurs { at }.into());
        }
        located
            .directory
            .refuse_unknown(at, |kind| VALUE_KINDS.contains(&kind) || META_KINDS.contains(&kind))?;
        let reader = located.frame_reader(self.encryption.as_ref())?;
        let kind = BlockKind::PROPERTIES;
        let wanted = *located.directory.primary(kind).ok_or(VlogError::NoSection { at, kind })?;
        self.want(Box::new(Reading { located, reader, wanted, primary: None }))
    }

    /// Goes on with the copy of the properties that is wanted, when it was read before, or asks for it.
    fn want(&mut self, reading: Box<Reading>) -> Result<Step<Box<VlogLayout>>, VlogError> {
        let expect = reading.expect();
        if let Err(error) = expect.check_handle(reading.reader.identity(), self.file_len) {
            return self.fall_back(reading, error.into());
        }
        let range = ByteRange { offset: expect.handle.offset, len: expect.handle.len.into() };
        if let Some(bytes) = reading.located.tail_bytes(range) {
            return self.take(reading, &bytes);
        }
        self.stage = Stage::Reading(reading);
        Ok(Step::Need(range))
    }

    /// Takes a copy of the properties.
    fn take(&mut self, mut reading: Box<Reading>, bytes: &Slice) -> Result<Step<Box<VlogLayout>>, VlogError> {
        match reading.properties(bytes) {
            Err(error) => self.fall_back(reading, error),
            Ok(properties) => {
                let located = &reading.located;
                let at = located.superblock.identity.at(0);
                if properties.file != VlogId::new(located.superblock.identity.file_id) {
                    return Err(VlogError::Disagree { at, what: "number of the file" });
                }
                let detours = located.detours.iter().map(|error| VlogError::from(*error));
                let layout = Box::new(VlogLayout {
                    superblock: located.superblock.clone(),
                    directory: located.directory.clone(),
                    properties,
                    reader: reading.reader,
                    file_len: self.file_len,
                    detours: detours.chain(reading.primary.take()).map(Into::into).collect::<Vec<_>>(),
                });
                let Some(wanted) = layout.directory.primary(BlockKind::DICTIONARY).copied() else {
                    return Ok(Step::Done(layout));
                };
                let located = reading.located;
                self.want_dictionaries(Box::new(Learning { layout, located, wanted, primary: None }))
            }
        }
    }

    /// Goes on with a copy of the dictionaries, when it was read before, or asks for it.
    fn want_dictionaries(&mut self, learning: Box<Learning>) -> Result<Step<Box<VlogLayout>>, VlogError> {
        let Section { offset, len, .. } = learning.wanted;
        let range = ByteRange { offset, len };
        let is_inside = offset.checked_add(len).is_some_and(|end| end <= self.file_len);
        if !is_inside || len > DICTIONARIES_LEN_MAX {
            return self.learn(learning, &Slice::empty());
        }
        if let Some(bytes) = learning.located.tail_bytes(range) {
            return self.learn(learning, &bytes);
        }
        self.stage = Stage::Learning(learning);
        Ok(Step::Need(range))
    }

    /// Takes a copy of the dictionaries. What cannot be read of both is told when a value needs it.
    fn learn(
        &mut self,
        mut learning: Box<Learning>,
        bytes: &Slice,
    ) -> Result<Step<Box<VlogLayout>>, VlogError> {
        let slots = dictionaries::decode(&learning.layout.reader, &learning.wanted, bytes);
        let Some(primary) = learning.primary.take() else {
            let mirror = learning.layout.directory.mirror(BlockKind::DICTIONARY).copied();
            return match (slots.iter().find_map(|slot| slot.as_ref().err()), mirror) {
                (Some(error), Some(mirror)) => {
                    learning.layout.detours.push(VlogError::from(*error).into());
                    (learning.wanted, learning.primary) = (mirror, Some(slots));
                    self.want_dictionaries(learning)
                }
                _ => Ok(Step::Done(learning.finish(slots))),
            };
        };
        Ok(Step::Done(learning.finish(dictionaries::merge(primary, slots))))
    }

    /// One copy of the properties is damaged.
    fn fall_back(
        &mut self,
        mut reading: Box<Reading>,
        error: VlogError,
    ) -> Result<Step<Box<VlogLayout>>, VlogError> {
        if let Some(primary) = reading.primary {
            return Err(VlogError::BothCopies { primary: Box::new(primary), mirror: Box::new(error) });
        }
        let Some(mirror) = reading.located.directory.mirror(BlockKind::PROPERTIES) else { return Err(error) };
        reading.wanted = *mirror;
        reading.primary = Some(error);
        self.want(reading)
    }
}

impl Learning {
    fn finish(self, slots: Vec<Result<Dictionary, BlockError>>) -> Box<VlogLayout> {
        let mut layout = self.layout;
        layout.reader = layout.reader.with_dictionaries(Dictionaries::new(slots));
        layout
    }
}

impl Reading {
    fn expect(&self) -> Expect {
        let ordinal = Some(u32::try_from(self.wanted.aux).unwrap_or(u32::MAX));
        Expect { kind: self.wanted.kind, ordinal, handle: self.wanted.handle() }
    }

    fn properties(&self, bytes: &Slice) -> Result<Properties, VlogError> {
        let (expect, identity) = (self.expect(), self.reader.identity());
        let frame = self.reader.open(&expect, bytes, &mut Decoder::new(), expect.kind.cap())?;
        let payload = checked_encoding(identity, &expect, frame)?;
        Properties::decode(&payload).map_err(|source| source.at(identity, expect.handle.offset, expect.kind))
    }
}
