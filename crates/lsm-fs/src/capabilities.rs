//! What a mount promises beyond reading and writing.

/// One promise of a mount.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Capability {
    /// Damaged bytes are an error on read, not an answer.
    IntegrityOnRead,
    /// The file system checks its bytes by itself.
    BackgroundScrub,
    /// Overwritten blocks go elsewhere, so overwriting needs space.
    CopyOnWrite,
    /// [`crate::Fs::reflink`] shares blocks.
    Reflink,
    /// The file system takes snapshots.
    NativeSnapshot,
    /// [`crate::FsFile::punch_hole`] gives space back.
    PunchHole,
    /// [`crate::FsFile::allocate`] reserves space.
    Allocate,
    /// [`crate::Fs::sync_dir`] makes names durable.
    DirSync,
    /// A rename is durable once its directory is synced.
    RenameDurableAfterDirSync,
    /// [`crate::FsFile::try_lock`] keeps every other holder out, on this machine and on others.
    Locks,
}

/// What a mount promises. A promise that is not known to hold is not made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Capabilities(u16);

impl Capabilities {
    /// No promise at all.
    pub const NONE: Self = Self(0);

    /// These promises and one more.
    pub const fn with(self, capability: Capability) -> Self {
        Self(self.0 | 1 << capability as u16)
    }

    /// Whether the mount promises `capability`.
    pub const fn has(self, capability: Capability) -> bool {
        self.0 & 1 << capability as u16 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn promises_are_independent() {
        let some = Capabilities::NONE.with(Capability::Reflink).with(Capability::Locks);
        assert!(some.has(Capability::Reflink) && some.has(Capability::Locks));
        assert!(!some.has(Capability::PunchHole) && !Capabilities::NONE.has(Capability::Locks));
    }
}
