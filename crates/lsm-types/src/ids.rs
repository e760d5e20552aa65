//! Identities that must not be mixed up: each is its own type.

use core::fmt;

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($raw:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
        pub struct $name($raw);

        impl $name {
            /// Wraps a raw number.
            pub const fn new(raw: $raw) -> Self {
                Self(raw)
            }

            /// The raw number.
            pub const fn get(self) -> $raw {
                self.0
            }

            /// The number `n` later, `None` on overflow.
            pub const fn checked_add(self, n: $raw) -> Option<Self> {
                match self.0.checked_add(n) {
                    Some(raw) => Some(Self(raw)),
                    None => None,
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id! {
    /// Number of a table file; one counter per database, never reused.
    TableId(u64)
}
id! {
    /// Number of a value-log file; shares the counter of tables.
    VlogId(u64)
}
id! {
    /// Number of a delete-vector file; shares the counter of tables.
    VectorId(u64)
}
id! {
    /// Number of a tree (keyspace) in its database; 0 is the only tree of a standalone one.
    TreeId(u32)
}
id! {
    /// Number of a run: a group of tables with disjoint entry ranges. Stable while the run lives.
    RunId(u64)
}
id! {
    /// Number of a route: a root directory besides that of the database, where tables of some levels lie.
    RouteId(u32)
}

impl RouteId {
    /// The directory of the database itself.
    pub const PRIMARY: Self = Self(0);
}

id! {
    /// Depth of a level; 0 holds flushed runs.
    Level(u8)
}
id! {
    /// Number of a version edit, counted over all generations and trees of a database.
    EditIndex(u64)
}
id! {
    /// Wall-clock time in nanoseconds since the Unix epoch.
    UnixNanos(u64)
}

/// 64-bit hash of a user key, computed once per operation and handed down.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct KeyHash(u64);

impl KeyHash {
    /// Seed of the hash of a whole key.
    pub const SEED: u64 = 0;
    /// Seed of the hash of a prefix, another one, so that a key says nothing about prefixes of the same bytes.
    pub const PREFIX_SEED: u64 = 0x5052_4546_4958_4553;

    /// Hash of a whole user key: XXH3-64, seed [`KeyHash::SEED`].
    #[inline]
    pub fn of(key: &[u8]) -> Self {
        Self(xxh3_64(key))
    }

    /// Hash of a prefix that an extractor named: XXH3-64, seed [`KeyHash::PREFIX_SEED`].
    #[inline]
    pub fn of_prefix(prefix: &[u8]) -> Self {
        Self(xxh3_64_with_seed(prefix, Self::PREFIX_SEED))
    }

    /// Wraps a hash that was computed before.
    pub const fn from_raw(raw: u64) -> Self {
        Self(raw)
    }

    /// The hash.
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// Random 128-bit identity of a file or a database; never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct FileUuid([u8; 16]);

impl FileUuid {
    /// Wraps sixteen random bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for FileUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for FileUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
