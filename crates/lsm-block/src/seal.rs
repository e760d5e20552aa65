//! Sealing frames of one file: what of a file is sealed, and what each seal binds.

use alloc::{sync::Arc, vec::Vec};

use lsm_crypto::{
    AssociatedData, CryptoError, Encryption, FileContext, FileKey, KeyId, KeyProvider, Sealer, Suite,
    TAG_LEN, WrappedKey,
};
use lsm_types::SealedParts;

use crate::{
    BlockError, BlockKind, FileIdentity, FrameHeader, Superblock, Transforms, superblock::file_kind_code,
};

/// How a file is sealed, as its superblock says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sealing {
    /// The cipher.
    pub suite: Suite,
    /// Number of the master key.
    pub key: KeyId,
    /// Proves that a key is the right one.
    pub check: [u8; FileKey::CHECK_LEN],
    /// The file's own secret, wrapped, where the provider draws one per file.
    pub wrapped: Option<WrappedKey>,
}

/// What a seal does to a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Cover {
    /// The payload is encrypted, the tag follows it.
    Sealed,
    /// The payload stays readable, because a reader without the superblock (and so without a key) must find its way
    /// by it; the tag that follows proves it. It holds geometry only.
    Vouched,
    /// Nothing.
    None,
}

impl Cover {
    pub(crate) const fn of(kind: BlockKind) -> Self {
        match kind {
            BlockKind::SUPERBLOCK_COPY => Self::None,
            BlockKind::DIRECTORY | BlockKind::VALUE_DIRECTORY => Self::Vouched,
            _ => Self::Sealed,
        }
    }
}

/// The key of one open file, with what its seals bind.
#[derive(Debug)]
pub(crate) struct Seal {
    sealer: Sealer,
    file: AssociatedData,
    /// The checked bytes of the superblock, bound by the frame that everything else hangs from, so that no feature
    /// bit and no geometry of a sealed file can be forged.
    superblock: Vec<u8>,
}

impl Seal {
    /// Draws the key of a new file and says how its superblock names it.
    pub(crate) fn draw(
        superblock: &Superblock,
        encryption: &Encryption,
    ) -> Result<(Sealing, FileKey), CryptoError> {
        let context = context(superblock, encryption.suite);
        let new = encryption.keys.new_file_key(&context)?;
        let (key, check) = (new.key.id(), new.key.check());
        Ok((Sealing { suite: context.suite, key, check, wrapped: new.wrapped }, new.key))
    }

    /// Fetches the key of an existing file and makes sure that it is the right one.
    pub(crate) fn fetch(
        superblock: &Superblock,
        sealing: &Sealing,
        keys: &dyn KeyProvider,
    ) -> Result<FileKey, CryptoError> {
        let context = context(superblock, sealing.suite);
        let key = keys.file_key(sealing.key, &context, sealing.wrapped.as_ref())?;
        key.verify(&sealing.check)?;
        Ok(key)
    }

    pub(crate) fn new(
        superblock: &Superblock,
        suite: Suite,
        key: &FileKey,
    ) -> Result<Arc<Self>, CryptoError> {
        let context = context(superblock, suite);
        Ok(Arc::new(Self {
            sealer: Sealer::new(suite, key)?,
            file: AssociatedData::of_file(&context),
            superblock: superblock.bound_bytes(),
        }))
    }

    pub(crate) fn key(&self) -> KeyId {
        self.sealer.key_id()
    }

    /// Seals the bytes of `out` from `start` on, as far as their kind is, and appends the tag.
    ///
    /// * `dictionary`: hash of the dictionary that they are compressed with; 0 without one.
    pub(crate) fn seal(
        &self,
        header: &FrameHeader,
        dictionary: u64,
        start: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), CryptoError> {
        let Some(block) = out.get_mut(start..) else { return Ok(()) };
        let tag = match Cover::of(header.kind) {
            Cover::Sealed => {
                self.sealer.seal(header.ordinal, self.data(header, dictionary, &[]).as_bytes(), block)?
            }
            Cover::Vouched => {
                self.sealer.seal(header.ordinal, self.data(header, dictionary, block).as_bytes(), &mut [])?
            }
            Cover::None => return Ok(()),
        };
        out.extend_from_slice(&tag);
        Ok(())
    }

    /// Opens a stored payload into `out`, which then holds it without its tag, and nothing else. `false` for a payload
    /// that is only vouched for: it is compared, and `out` left alone.
    ///
    /// * `dictionary`: as for [`Seal::seal`].
    pub(crate) fn open(
        &self,
        header: &FrameHeader,
        dictionary: u64,
        stored: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<bool, CryptoError> {
        let (block, tag) = stored.split_last_chunk::<TAG_LEN>().ok_or(CryptoError::BrokenSeal)?;
        if Cover::of(header.kind) == Cover::Vouched {
            let data = self.data(header, dictionary, block);
            self.sealer.open(header.ordinal, data.as_bytes(), (&[], tag), &mut [])?;
            return Ok(false);
        }
        out.resize(block.len(), 0);
        self.sealer.open(header.ordinal, self.data(header, dictionary, &[]).as_bytes(), (block, tag), out)?;
        Ok(true)
    }

    /// What is authenticated along with a frame: its place and shape. The frame that everything else hangs from binds
    /// the superblock too, and one that is only vouched for its payload.
    fn data(&self, header: &FrameHeader, dictionary: u64, vouched: &[u8]) -> Bound {
        let flags = u16::from_le_bytes([header.flags, header.codec]);
        let lengths = [header.logical_len, header.unsealed_len()];
        let data = self.file.for_block(header.kind.code(), header.encoding, flags, header.ordinal, lengths);
        let data = data.with_dictionary(dictionary);
        let log = BlockKind::MANIFEST_WHOLE.code()..=BlockKind::WAL_LAST.code();
        let is_root = Cover::of(header.kind) == Cover::Vouched;
        if is_root || (header.ordinal == 0 && log.contains(&header.kind.code())) {
            return Bound::More([data.as_bytes(), self.superblock.as_slice(), vouched].concat());
        }
        Bound::Place(data)
    }
}

/// What is authenticated along with a frame.
enum Bound {
    /// The frame's place and shape: that is all for most frames, and takes no memory.
    Place(AssociatedData),
    /// These, and more behind them.
    More(Vec<u8>),
}

impl Bound {
    fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Place(data) => data.as_bytes(),
            Self::More(bytes) => bytes,
        }
    }
}

fn context(superblock: &Superblock, suite: Suite) -> FileContext {
    let FileIdentity { kind, file_id, uuid, database, tree } = superblock.identity;
    FileContext {
        database,
        file: uuid,
        tree,
        file_id,
        kind: file_kind_code(kind),
        suite,
        salt: superblock.salt,
    }
}

impl Superblock {
    /// Gives a file about to be written a key of its own and says so in its superblock, and answers what happens to
    /// its payloads. Without `encryption` the file stays plain.
    ///
    /// Called once in the life of a file: its blocks are numbered, and under one key no number may be used twice.
    ///
    /// * `random`: fills bytes with chance, for the salt that makes the key this life's own.
    ///
    /// # Errors
    /// [`BlockError::Key`] when the provider hands out none.
    pub fn begin(
        mut self,
        encryption: Option<&Encryption>,
        random: impl FnOnce(&mut [u8]),
    ) -> Result<(Self, Transforms), BlockError> {
        let Some(encryption) = encryption else {
            let plain = Transforms::new(self.checksum);
            return Ok((self, plain));
        };
        let at = self.identity.at(0);
        debug_assert!(self.identity.kind.sealed_parts() == SealedParts::Frames, "only frames can be sealed");
        debug_assert!(self.sealing.is_none(), "a file is sealed once");
        random(&mut self.salt);
        let (sealing, key) =
            Seal::draw(&self, encryption).map_err(|source| BlockError::Key { at, source })?;
        let suite = sealing.suite;
        self.sealing = Some(sealing);
        let seal = Seal::new(&self, suite, &key).map_err(|source| BlockError::Key { at, source })?;
        let transforms = Transforms::sealed(self.checksum, seal);
        Ok((self, transforms))
    }
}
