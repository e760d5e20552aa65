//! What can go wrong: little when building, anything when opening bytes of unknown origin.

/// Why no filter was built.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Debug, thiserror::Error)]
pub enum BuildError {
    /// One structure counts its keys in 32 bits; `keys` were given. The builder is empty again.
    #[error("{keys} keys are too many for one filter")]
    TooManyKeys {
        /// Keys given.
        keys: u64,
    },
    /// Bits per key lie from 1 to 32.
    #[error("{bits} bits per key are not in 1..=32")]
    Bits {
        /// What was asked for.
        bits: f64,
    },
    /// A number does not fit into the bits of its retrieval table.
    #[error("{value} does not fit into {width} bits")]
    Value {
        /// The number.
        value: u32,
        /// Bits of the table.
        width: u8,
    },
    /// A rate of false positives lies from 2^-32 to 1/2.
    #[error("a false-positive rate of {rate} is not in 2^-32..=1/2")]
    Rate {
        /// What was asked for.
        rate: f64,
    },
}

/// The number of keys as a head has it.
pub(crate) fn key_count(keys: usize) -> Result<u32, BuildError> {
    u32::try_from(keys).map_err(|_| BuildError::TooManyKeys { keys: keys as u64 })
}

/// Why bytes are no filter. A caller that finds one treats every key as possibly present.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FilterError {
    /// The bytes end too early.
    #[error("a filter of {need} bytes was cut to {have}")]
    Truncated {
        /// Bytes wanted.
        need: u64,
        /// Bytes there.
        have: u64,
    },
    /// A newer or foreign structure: not damaged, only unknown here.
    #[error("field `{field}` of a filter holds {value}, which this version does not know")]
    Unsupported {
        /// Name of the field, as in the format's page.
        field: &'static str,
        /// What it holds.
        value: u64,
    },
    /// A field contradicts the others or the length.
    #[error("field `{field}` of a filter cannot hold {value}")]
    Malformed {
        /// Name of the field, as in the format's page.
        field: &'static str,
        /// What it holds.
        value: u64,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One number of keys more than a head can hold is refused.
    #[cfg(target_pointer_width = "64")]
    #[test]
    fn keys_are_counted_in_32_bits() {
        assert_eq!(key_count(u32::MAX as usize), Ok(u32::MAX));
        assert_eq!(key_count(1 << 32), Err(BuildError::TooManyKeys { keys: 1 << 32 }));
    }
}
