//! Learning what the values of a file have in common, while they are written.
//!
//! ```text
//! values: v1 v2 v3 ... v400 | v401 v402 ...
//!         stored without      stored with the dictionary that v1..v400 taught, if it pays
//! ```
//!
//! A handle is given out with each value, so values cannot wait until there is a dictionary: the first ones do without.

use alloc::vec::Vec;

use lsm_block::Dictionaries;
use lsm_codec::{CodecError, Compression, Dictionary, Encoder};

use super::DictionaryOptions;

/// Bytes of a value that are looked at.
const SAMPLE_MAX: usize = 16 << 10;
/// One sample in so many is kept for the question whether the dictionary pays.
const HELD_BACK_EVERY: usize = 8;
/// A dictionary is used when it saves at least this part of what the samples take without it.
const MIN_GAIN_PERCENT: usize = 3;

/// Gathers samples until there are enough to train a dictionary.
#[derive(Debug)]
pub(super) struct Training {
    wanted: DictionaryOptions,
    level: i32,
    samples: Vec<u8>,
    lens: Vec<usize>,
    held_back: Vec<Vec<u8>>,
    seen: usize,
}

impl Training {
    pub(super) const fn new(wanted: DictionaryOptions, level: i32) -> Self {
        Self { wanted, level, samples: Vec::new(), lens: Vec::new(), held_back: Vec::new(), seen: 0 }
    }

    /// Takes a sample; whether there are enough.
    pub(super) fn take(&mut self, payload: &[u8]) -> bool {
        let sample = payload.get(..SAMPLE_MAX).unwrap_or(payload);
        self.seen += 1;
        if self.seen.is_multiple_of(HELD_BACK_EVERY) {
            self.held_back.push(sample.to_vec());
        } else {
            self.samples.extend_from_slice(sample);
            self.lens.push(sample.len());
        }
        self.samples.len() >= self.wanted.sample_bytes as usize
    }

    /// Bytes of memory in use.
    pub(super) fn memory_len(&self) -> usize {
        self.samples.capacity() + self.held_back.iter().map(Vec::capacity).sum::<usize>()
    }

    /// The dictionary, if the samples teach one that pays. It decides by samples that it was not trained on.
    pub(super) fn finish(self) -> Option<Dictionary> {
        let dictionary = Dictionaries::train(&self.samples, &self.lens, self.wanted.bytes as usize)?;
        let (with, without) = self.compare(&dictionary).ok()?;
        let limit = without - without / 100 * MIN_GAIN_PERCENT;
        (with < limit).then_some(dictionary)
    }

    /// What the samples held back take with the dictionary and without.
    fn compare(&self, dictionary: &Dictionary) -> Result<(usize, usize), CodecError> {
        let (mut with, mut without) = (0, 0);
        let (mut encoder, mut stored) = (Encoder::new(), Vec::new());
        let compression = Compression::Zstd { level: self.level };
        for sample in &self.held_back {
            // That the samples before did not shrink is to be no reason not to try this one.
            encoder.restart();
            stored.clear();
            encoder.compress_with(self.level, dictionary, sample, &mut stored)?;
            with += stored.len();
            stored.clear();
            encoder.compress(compression, sample, &mut stored)?;
            without += stored.len();
        }
        Ok((with, without))
    }
}
