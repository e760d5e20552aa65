//! The mutator: small damages of the kinds that disks, bugs and enemies make.

use super::corpus::Corpus;

/// Longest input made.
const LEN_MAX: usize = 1 << 16;

/// Values that sit at the edges of fields.
const EDGES: &[u64] = &[
    0,
    1,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0xFFFF,
    0x7FFF_FFFF,
    0xFFFF_FFFF,
    u64::MAX >> 1,
    u64::MAX - 1,
    u64::MAX,
];

/// A seeded source of chance (`SplitMix64`).
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`; 0 when `end` is 0.
    pub(super) fn below(&mut self, end: usize) -> usize {
        let drawn = self.next().checked_rem(end as u64).unwrap_or(0);
        usize::try_from(drawn).unwrap_or(0)
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }
}

/// A damaged copy of something in the corpus.
pub(super) fn mutate(corpus: &Corpus, dice: &mut Dice) -> Vec<u8> {
    let mut input = corpus.pick(dice).to_vec();
    for _ in 0..=dice.below(4) {
        match dice.below(9) {
            0 => flip_bit(&mut input, dice),
            1 => set_byte(&mut input, dice),
            2 => set_edge(&mut input, dice),
            3 => add_small(&mut input, dice),
            4 => input.truncate(dice.below(input.len() + 1)),
            5 => remove(&mut input, dice),
            6 => insert(&mut input, dice),
            7 => repeat(&mut input, dice),
            _ => splice(&mut input, corpus.pick(dice), dice),
        }
    }
    input.truncate(LEN_MAX);
    input
}

fn flip_bit(input: &mut [u8], dice: &mut Dice) {
    let (at, bit) = (dice.below(input.len()), dice.below(8));
    if let Some(byte) = input.get_mut(at) {
        *byte ^= 1 << bit;
    }
}

fn set_byte(input: &mut [u8], dice: &mut Dice) {
    let (at, value) = (dice.below(input.len()), dice.byte());
    if let Some(byte) = input.get_mut(at) {
        *byte = value;
    }
}

/// Writes an edge value, 1, 2, 4 or 8 bytes wide.
fn set_edge(input: &mut [u8], dice: &mut Dice) {
    let value = EDGES.get(dice.below(EDGES.len())).copied().unwrap_or_default().to_le_bytes();
    let (at, width) = (dice.below(input.len()), 1 << dice.below(4));
    for (to, from) in input.iter_mut().skip(at).zip(value.iter().take(width)) {
        *to = *from;
    }
}

/// Counts and offsets that are off by a little.
fn add_small(input: &mut [u8], dice: &mut Dice) {
    let (at, delta) = (dice.below(input.len()), dice.byte() % 16);
    if let Some(byte) = input.get_mut(at) {
        *byte = byte.wrapping_add(delta).wrapping_sub(8);
    }
}

fn span(input: &[u8], dice: &mut Dice) -> std::ops::Range<usize> {
    let start = dice.below(input.len());
    let len = 1 + dice.below(16);
    start..(start + len).min(input.len())
}

fn remove(input: &mut Vec<u8>, dice: &mut Dice) {
    let span = span(input, dice);
    input.drain(span);
}

fn insert(input: &mut Vec<u8>, dice: &mut Dice) {
    let at = dice.below(input.len() + 1);
    let fresh: Vec<u8> = (0..=dice.below(8)).map(|_| dice.byte()).collect();
    input.splice(at..at, fresh);
}

fn repeat(input: &mut Vec<u8>, dice: &mut Dice) {
    let span = span(input, dice);
    let copy = input.get(span.clone()).unwrap_or_default().to_vec();
    input.splice(span.end..span.end, copy);
}

/// The head of one input and the tail of another.
fn splice(input: &mut Vec<u8>, other: &[u8], dice: &mut Dice) {
    input.truncate(dice.below(input.len() + 1));
    input.extend_from_slice(other.get(dice.below(other.len() + 1)..).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_inputs_of_bounded_length() {
        let mut corpus = Corpus::new();
        corpus.offer((0..200).collect(), 1);
        corpus.offer(Vec::new(), 2);
        let make = |seed| {
            let mut dice = Dice::new(seed);
            (0..500).map(|_| mutate(&corpus, &mut dice)).collect::<Vec<_>>()
        };
        assert_eq!(make(1), make(1));
        assert_ne!(make(1), make(2));
        assert!(make(1).iter().all(|input| input.len() <= LEN_MAX));
    }
}
