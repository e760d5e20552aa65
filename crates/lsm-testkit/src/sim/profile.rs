//! Which disk is simulated: what it may do to changes that were not synced.

/// What a disk may do to changes that no sync covers. Each is a legal disk; [`Profile::Posix`] allows the most but for
/// stale bytes, so what passes there holds on every honest disk.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Profile {
    /// Only the process dies: every completed call is there afterwards.
    Process,
    /// As ext4 in its default mode: names survive in order, syncing a file makes all names so far durable, and a length
    /// does not survive without the bytes under it.
    Ext4Ordered,
    /// The weakest reading of POSIX: see [the module](crate::sim).
    #[default]
    Posix,
    /// As [`Profile::Posix`], but a sector within the length whose bytes did not survive holds what lay on the disk
    /// before: bytes of the pattern [`crate::sim::SimConfig::stale_pattern`].
    StaleExposed,
}

impl Profile {
    /// From the disk that promises most to the one that promises least.
    pub const STRONGEST_FIRST: [Self; 4] =
        [Self::Process, Self::Ext4Ordered, Self::Posix, Self::StaleExposed];

    /// Whether names survive in the order in which they changed.
    pub(super) fn orders_names(self) -> bool {
        self == Self::Ext4Ordered
    }
}
