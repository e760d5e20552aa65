//! The fixed head of a structure and its table of layers (`docs/format/filter.md`, section 1).

use crate::hash::THRESHOLD_BITS;
use crate::{BandWidth, Bits, FilterError, HashId, Structure};

/// Bytes of the fixed head.
pub(crate) const LEN: usize = 32;
/// Bytes of a layer's entry.
pub(crate) const LAYER_LEN: usize = 8;
/// What head, table and solution start at a multiple of.
pub(crate) const ALIGN: usize = 64;
/// The most layers the format has.
pub(crate) const LAYERS_MAX: usize = 6;
/// The version of each structure's payload.
const ENCODING: u8 = 1;

/// Band, bucket and threshold width, as the head has them.
fn equations(band: BandWidth) -> [u8; 3] {
    [band.code(), band.bucket_log2(), THRESHOLD_BITS]
}

/// One layer, as its entry has it.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct LayerEntry {
    pub(crate) slots: u32,
    pub(crate) threshold_len: u32,
    /// Which try to fill the layer this is; part of its seed. Stands in the fixed head.
    pub(crate) attempt: u8,
}

/// The fixed head and the table of layers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Header {
    pub(crate) structure: Structure,
    pub(crate) bits: Bits,
    pub(crate) keys: u32,
    pub(crate) seed: u64,
    pub(crate) hash_id: HashId,
    /// Of no meaning in a list.
    pub(crate) band: BandWidth,
    pub(crate) stash: u32,
    pub(crate) layer_count: usize,
    pub(crate) layers: [LayerEntry; LAYERS_MAX],
}

impl Header {
    pub(crate) fn layers(&self) -> &[LayerEntry] {
        self.layers.get(..self.layer_count).unwrap_or_default()
    }

    /// Where the payload starts.
    pub(crate) fn len(structure: Structure, layer_count: usize) -> usize {
        match structure {
            Structure::FingerprintList => LEN,
            _ => (LEN + layer_count * LAYER_LEN).next_multiple_of(ALIGN),
        }
    }

    /// Writes head and table over the first bytes of `out`; what follows them up to the payload is left as it is.
    pub(crate) fn encode(&self, out: &mut [u8]) {
        let mut head = [0; LEN];
        head[0] = self.structure.code();
        head[1] = ENCODING;
        head[2] = self.bits.whole();
        head[3] = u8::try_from(self.layer_count).unwrap_or(u8::MAX);
        head[4..8].copy_from_slice(&self.keys.to_le_bytes());
        head[8..16].copy_from_slice(&self.seed.to_le_bytes());
        head[16] = self.hash_id.0;
        if self.structure != Structure::FingerprintList {
            [head[17], head[18], head[19]] = equations(self.band);
        }
        head[20..24].copy_from_slice(&self.stash.to_le_bytes());
        for (byte, layer) in head[24..30].iter_mut().zip(&self.layers) {
            *byte = layer.attempt;
        }
        head[30..32].copy_from_slice(&self.bits.fraction().to_le_bytes());
        let table = self
            .layers()
            .iter()
            .flat_map(|layer| (u64::from(layer.threshold_len) << 32 | u64::from(layer.slots)).to_le_bytes());
        for (target, byte) in out.iter_mut().zip(head.into_iter().chain(table)) {
            *target = byte;
        }
    }

    /// Reads a head and its table; the lengths it gives are compared with nothing yet.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, FilterError> {
        let cut = |need: usize| FilterError::Truncated { need: need as u64, have: bytes.len() as u64 };
        let head: &[u8; LEN] = bytes.first_chunk().ok_or(cut(LEN))?;
        let unsupported = |field, value: u8| FilterError::Unsupported { field, value: value.into() };
        let malformed = |field, value: u64| FilterError::Malformed { field, value };

        let structure = Structure::from_code(head[0]).ok_or(unsupported("structure", head[0]))?;
        if head[1] != ENCODING {
            return Err(unsupported("encoding", head[1]));
        }
        let layered = structure != Structure::FingerprintList;
        // Only filters have wide bands.
        let band = BandWidth::from_code(head[17]).filter(|_| structure == Structure::Membership);
        let band = band.unwrap_or_default();
        let equations = if layered { equations(band) } else { [0; 3] };
        for (at, field) in ["band", "log2 bucket", "threshold bits"].into_iter().enumerate() {
            let found = head[17..20].get(at).copied().unwrap_or_default();
            if equations.get(at) != Some(&found) {
                return Err(unsupported(field, found));
            }
        }
        let fraction = u16::from_le_bytes([head[30], head[31]]);
        let bits = Bits::from_parts(head[2], fraction).ok_or(malformed("result bits", head[2].into()))?;
        if fraction != 0 && structure != Structure::Membership {
            return Err(malformed("fraction", fraction.into()));
        }
        let layer_count = usize::from(head[3]);
        if layer_count > LAYERS_MAX || !layered && layer_count > 0 {
            return Err(malformed("layers", head[3].into()));
        }
        let table_end = LEN + layer_count * LAYER_LEN;
        let table = bytes.get(LEN..table_end).ok_or(cut(table_end))?;
        let mut layers = [LayerEntry::default(); LAYERS_MAX];
        let entries = table.chunks_exact(LAYER_LEN).zip(&head[24..30]);
        for (layer, (entry, &attempt)) in layers.iter_mut().zip(entries) {
            let Some((slots, threshold_len)) = entry.split_first_chunk() else { continue };
            let slots = u32::from_le_bytes(*slots);
            let threshold_len = threshold_len.first_chunk().map_or(0, |len| u32::from_le_bytes(*len));
            *layer = LayerEntry { slots, threshold_len, attempt };
        }
        let keys = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
        let [.., s0, s1, s2, s3, s4, s5, s6, s7] = *bytes.first_chunk::<16>().ok_or(cut(LEN))?;
        let seed = u64::from_le_bytes([s0, s1, s2, s3, s4, s5, s6, s7]);
        let stash = u32::from_le_bytes([head[20], head[21], head[22], head[23]]);
        Ok(Self { structure, bits, keys, seed, hash_id: HashId(head[16]), band, stash, layer_count, layers })
    }
}
