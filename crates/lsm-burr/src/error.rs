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
    /// A rate of false positives lies from 2^-32 to 1/2.
    #[error("a false-positive rate of {rate} is not in 2^-32..=1/2")]
    Rate {
        /// What was asked for.
        rate: f64,
    },
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
