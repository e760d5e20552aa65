//! The registry of decoders. A target takes any bytes and may not panic; its number says what the decoder saw (how
//! far it came, which error it gave), and an input that gives a new number is kept and mutated further.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Bound;

use lsm_types::{
    ByteReader,
    batch::{self, BatchOp, EncodedBatch},
    varint,
};

/// One decoder.
pub(super) struct Target {
    /// Name on the command line.
    pub(super) name: &'static str,
    /// Decodes, and answers what it saw.
    pub(super) run: fn(&[u8]) -> u64,
    /// Well-formed inputs to start from.
    pub(super) seeds: fn() -> Vec<Vec<u8>>,
}

/// The decoders that everything else is read with.
pub(super) const TARGETS: [Target; 3] = [
    Target { name: "varint", run: run_varint, seeds: varint_seeds },
    Target { name: "byte_reader", run: run_byte_reader, seeds: byte_reader_seeds },
    Target { name: "batch", run: run_batch, seeds: batch_seeds },
];

/// One number for anything a decoder may have seen.
pub(super) fn seen(what: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

/// An accepted varint is the one encoding of its value.
fn run_varint(bytes: &[u8]) -> u64 {
    let decoded = varint::decode(bytes);
    if let Ok((value, len)) = decoded {
        let mut again = Vec::new();
        varint::encode(value, &mut again);
        assert_eq!(bytes.get(..len), Some(&again[..]), "two encodings of {value}");
    }
    seen(decoded.map(|(_, len)| len).map_err(|error| std::mem::discriminant(&error)))
}

fn varint_seeds() -> Vec<Vec<u8>> {
    [0, 0x7F, 0x80, 0x3FFF, u64::from(u32::MAX), u64::MAX >> 1, u64::MAX]
        .into_iter()
        .map(|value| {
            let mut bytes = Vec::new();
            varint::encode(value, &mut bytes);
            bytes
        })
        .collect()
}

/// Fields of every width, then a list whose count is not to be believed.
fn run_byte_reader(bytes: &[u8]) -> u64 {
    let mut reader = ByteReader::new(bytes);
    let mut fields = || -> Result<usize, lsm_types::reader::ReadError> {
        reader.u8()?;
        reader.u16()?;
        reader.u32()?;
        reader.u64()?;
        let count = reader.count(2)?;
        let mut items: Vec<&[u8]> = Vec::with_capacity(count);
        for _ in 0..count {
            items.push(reader.prefixed()?);
            reader.u8()?;
        }
        Ok(items.len())
    };
    let outcome = fields();
    seen((outcome.map_err(|error| std::mem::discriminant(&error)), reader.remaining().min(16)))
}

fn byte_reader_seeds() -> Vec<Vec<u8>> {
    let mut bytes = vec![1; 15];
    bytes.extend([2, 3, b'a', b'b', b'c', 0, 0, 9]);
    vec![bytes, Vec::new()]
}

/// An accepted batch is the one encoding of its operations.
fn run_batch(bytes: &[u8]) -> u64 {
    let decoded = EncodedBatch::decode(bytes);
    if let Ok(batch) = decoded {
        let mut again = Vec::new();
        batch::encode(batch.iter(), &mut again);
        assert_eq!(bytes, again, "two encodings of a batch");
    }
    let kinds = decoded
        .map(|batch| -> Vec<_> { batch.iter().take(4).map(|op| std::mem::discriminant(&op)).collect() });
    seen(kinds.map_err(|error| std::mem::discriminant(&error)))
}

fn batch_seeds() -> Vec<Vec<u8>> {
    let key = b"key";
    let ops = [
        BatchOp::Put { key, value: b"value" },
        BatchOp::Remove { key },
        BatchOp::RemoveWeak { key },
        BatchOp::Merge { key, operand: b"+" },
        BatchOp::RemoveRange { lower: Bound::Included(key), upper: Bound::Excluded(b"kez") },
        BatchOp::RemoveRange { lower: Bound::Unbounded, upper: Bound::Unbounded },
        BatchOp::RemovePrefix { prefix: key },
    ];
    (0..=ops.len())
        .map(|count| {
            let mut bytes = Vec::new();
            batch::encode(ops.into_iter().take(count), &mut bytes);
            bytes
        })
        .collect()
}
