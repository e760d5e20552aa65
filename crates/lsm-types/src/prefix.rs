//! Which prefixes of a key a filter should know.
//!
//! A prefix filter lets a scan pass over tables that hold no key with its prefix. What counts as a prefix worth
//! knowing is the caller's business: an extractor names the prefixes of each key when a table is written, and says
//! for a scan whether every key behind its prefix was named.

use alloc::{format, string::String};

/// Names the prefixes of a key that filters should know.
///
/// An extractor never changes what a read answers, only what it reads: as long as [`PrefixExtractor::covers`] tells the
/// truth, a table that is passed over holds nothing the scan is after.
pub trait PrefixExtractor: Send + Sync + 'static {
    /// Recorded in every table whose filter holds its prefixes. Parameters belong to the name.
    fn name(&self) -> &str;

    /// Recorded beside the name; to be counted up whenever the same name starts to mean something else.
    fn version(&self) -> u32 {
        1
    }

    /// Calls `emit` with each prefix of `key`, shortest first. May call it never.
    fn prefixes(&self, key: &[u8], emit: &mut dyn FnMut(&[u8]));

    /// Whether every key starting with `prefix` had it emitted.
    fn covers(&self, prefix: &[u8]) -> bool;
}

/// The first `len` bytes of keys that have as many.
///
/// ```
/// use lsm_types::{FixedPrefix, PrefixExtractor};
///
/// let extractor = FixedPrefix::new(4);
/// assert!(extractor.covers(b"user") && !extractor.covers(b"use") && !extractor.covers(b"users"));
/// ```
#[derive(Clone, Debug)]
pub struct FixedPrefix {
    len: usize,
    name: String,
}

impl FixedPrefix {
    /// Prefixes of `len` bytes; at least 1.
    pub fn new(len: usize) -> Self {
        let len = len.max(1);
        Self { len, name: format!("lsm.fixed({len})") }
    }
}

impl PrefixExtractor for FixedPrefix {
    fn name(&self) -> &str {
        &self.name
    }

    fn prefixes(&self, key: &[u8], emit: &mut dyn FnMut(&[u8])) {
        if let Some(prefix) = key.get(..self.len) {
            emit(prefix);
        }
    }

    fn covers(&self, prefix: &[u8]) -> bool {
        prefix.len() == self.len
    }
}

/// Everything up to and with a delimiter: `user/` and `user/17/` of `user/17/name`.
#[derive(Clone, Debug)]
pub struct DelimitedPrefix {
    delimiter: u8,
    depth: usize,
    name: String,
}

impl DelimitedPrefix {
    /// The prefixes that end with one of the first `depth` bytes equal to `delimiter`; at least the first.
    pub fn new(delimiter: u8, depth: usize) -> Self {
        let depth = depth.max(1);
        Self { delimiter, depth, name: format!("lsm.delimited({delimiter},{depth})") }
    }

    fn ends<'a>(&self, key: &'a [u8]) -> impl Iterator<Item = usize> + use<'a> {
        let delimiter = self.delimiter;
        let ends = key.iter().enumerate().filter(move |(_, byte)| **byte == delimiter).map(|(at, _)| at + 1);
        ends.take(self.depth)
    }
}

impl PrefixExtractor for DelimitedPrefix {
    fn name(&self) -> &str {
        &self.name
    }

    fn prefixes(&self, key: &[u8], emit: &mut dyn FnMut(&[u8])) {
        for end in self.ends(key) {
            emit(key.get(..end).unwrap_or_default());
        }
    }

    fn covers(&self, prefix: &[u8]) -> bool {
        self.ends(prefix).any(|end| end == prefix.len())
    }
}

#[cfg(test)]
mod tests {
    use alloc::{boxed::Box, vec::Vec};

    use super::*;
    use proptest::prelude::*;

    fn emitted(extractor: &dyn PrefixExtractor, key: &[u8]) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        extractor.prefixes(key, &mut |prefix| found.push(prefix.to_vec()));
        found
    }

    #[test]
    fn prefixes_come_shortest_first() {
        assert_eq!(emitted(&FixedPrefix::new(3), b"abcd"), [b"abc"]);
        assert!(emitted(&FixedPrefix::new(3), b"ab").is_empty());
        let delimited = DelimitedPrefix::new(b'/', 2);
        assert_eq!(emitted(&delimited, b"a/b/c/d"), [&b"a/"[..], b"a/b/"]);
        assert!(emitted(&delimited, b"abc").is_empty());
        assert!(!delimited.covers(b"a/b/c/"), "deeper than what is emitted");
    }

    #[test]
    fn parameters_stand_in_the_name() {
        assert_ne!(FixedPrefix::new(3).name(), FixedPrefix::new(4).name());
        assert_ne!(DelimitedPrefix::new(b'/', 1).name(), DelimitedPrefix::new(b'/', 2).name());
    }

    proptest! {
        /// Proves E-152 in part: what an extractor covers is named by every key behind it.
        #[test]
        fn covered_prefixes_are_emitted(
            prefix in prop::collection::vec(prop_oneof![Just(b'/'), Just(b'a'), any::<u8>()], 0..6),
            tail in prop::collection::vec(prop_oneof![Just(b'/'), Just(b'a'), any::<u8>()], 0..6),
            size in 1_usize..5,
        ) {
            let key = [&prefix[..], &tail[..]].concat();
            let extractors: [Box<dyn PrefixExtractor>; 2] =
                [Box::new(FixedPrefix::new(size)), Box::new(DelimitedPrefix::new(b'/', size))];
            for extractor in extractors {
                let found = emitted(extractor.as_ref(), &key);
                prop_assert!(!extractor.covers(&prefix) || found.contains(&prefix));
                prop_assert!(found.iter().all(|prefix| key.starts_with(prefix) && extractor.covers(prefix)));
                prop_assert!(found.is_sorted_by_key(Vec::len));
            }
        }
    }
}
