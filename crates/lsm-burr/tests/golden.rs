//! The examples of the format's page are what is really written: a change of the bytes is a new encoding.

#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "a test should fail where it fails")]

mod common;

use common::{bits, build, hashes};
use lsm_burr::{BandWidth, Bits, Builder, FilterRef, Retrieval, RetrievalBuilder};

const PAGE: &str = include_str!("../../../docs/format/filter.md");

/// The bytes of an example: what stands before `|` on each line, in hex; `NN*COUNT` repeats a byte.
fn example(name: &str) -> Vec<u8> {
    let (_, rest) =
        PAGE.split_once(&format!("<!-- golden: {name} -->\n```\n")).expect("an example of this name");
    let dump = rest.split("```").next().expect("a first part");
    let mut bytes = Vec::new();
    for word in dump.lines().filter_map(|line| line.split('|').next()).flat_map(str::split_whitespace) {
        let (hex, count) = word.split_once('*').unwrap_or((word, "1"));
        let byte = u8::from_str_radix(hex, 16).expect("two digits");
        bytes.resize(bytes.len() + count.parse::<usize>().expect("a count"), byte);
    }
    bytes
}

#[test]
fn the_list_of_the_page() {
    let (bytes, _) = build(&mut Builder::new(bits(4)), &[3, 1, 2]);
    assert_eq!(bytes, example("list"));
    let filter = FilterRef::open(&bytes).expect("well formed");
    assert_eq!([1, 2, 3, 4].map(|hash| filter.may_contain(hash)), [true, true, true, false]);
}

#[test]
fn the_retrieval_table_of_the_page() {
    let mut builder = RetrievalBuilder::new(2).expect("in range");
    for (hash, value) in [(1, 1), (2, 2), (3, 3)] {
        builder.push(hash, value).expect("fits");
    }
    let mut bytes = Vec::new();
    builder.finish(&mut bytes).expect("few enough keys");
    assert_eq!(bytes, example("retrieval"));
    let table = Retrieval::open(&bytes).expect("well formed");
    assert_eq!([1, 2, 3].map(|hash| table.get(hash)), [Some(1), Some(2), Some(3)]);
}

/// Larger structures, by a digest of their bytes (FNV-1a): layers, fractions, several layers.
#[test]
fn larger_structures_stay_as_they_are() {
    let digest = |band: BandWidth, keys: usize, r: f64| {
        let bits = Bits::new(r).expect("in range");
        let (bytes, _) = build(&mut Builder::new(bits).with_band(band), &hashes(1, keys));
        bytes.iter().fold(0xCBF2_9CE4_8422_2325_u64, |digest, &byte| {
            (digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
        })
    };
    let digests = [(256, 8.0), (257, 8.0), (2000, 1.0), (5000, 6.5), (40_000, 14.0), (200_000, 32.0)];
    let expected = [
        1_128_756_923_919_645_877,
        6_514_542_162_834_104_650,
        5_406_277_295_296_022_722,
        9_166_589_821_443_087_204,
        8_964_737_515_473_166_692,
        9_359_829_475_776_608_982,
    ];
    assert_eq!(digests.map(|(keys, r)| digest(BandWidth::Slots64, keys, r)), expected);
    let digests = [(256, 8.0), (257, 8.0), (5000, 6.5), (200_000, 32.0)];
    let expected = [
        1_128_756_923_919_645_877,
        12_728_023_836_492_983_452,
        14_395_277_911_829_614_408,
        5_838_248_074_987_795_901,
    ];
    assert_eq!(digests.map(|(keys, r)| digest(BandWidth::Slots128, keys, r)), expected);
}
