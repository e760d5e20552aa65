//! What becomes of merge operands: the plug-in that folds them.

use alloc::string::String;

use crate::{ErrorKind, Fault, Result, Slice};

/// Folds the operands of a key onto its value.
///
/// Every method is a pure function of its arguments: reads, flushes and compactions call it whenever they like, in
/// parts or as a whole, and their answers have to agree. `lsm_testkit::laws` checks that.
///
/// ```
/// use lsm_types::{MergeOperator, Result, Slice};
///
/// /// Keeps the longest.
/// struct Longest;
///
/// impl MergeOperator for Longest {
///     fn name(&self) -> &str {
///         "example.longest"
///     }
///
///     fn full_merge(&self, _key: &[u8], base: Option<&[u8]>, operands: &[&[u8]]) -> Result<Slice> {
///         let all = base.into_iter().chain(operands.iter().copied());
///         Ok(all.max_by_key(|value| value.len()).unwrap_or_default().into())
///     }
/// }
///
/// assert_eq!(Longest.full_merge(b"k", None, &[b"a", b"bcd", b"ef"])?, Slice::from("bcd"));
/// # Ok::<(), lsm_types::Error>(())
/// ```
pub trait MergeOperator: Send + Sync + 'static {
    /// Stored with the tree; opening with another name fails unless the options say otherwise.
    fn name(&self) -> &str;

    /// The value of `key` after `operands`, oldest first and at least one, were applied to `base`.
    ///
    /// `base` is `None` only when the key certainly has no value; it may itself be the result of an earlier fold:
    /// `full_merge(full_merge(base, a), b)` is `full_merge(base, a ++ b)`.
    ///
    /// # Errors
    /// What the reader of the key is to hear. The operands stay, so a later version of the operator may do better.
    fn full_merge(&self, key: &[u8], base: Option<&[u8]>, operands: &[&[u8]]) -> Result<Slice>;

    /// Combines adjacent operands, oldest first, into one that does the same to every base, absent included:
    /// `full_merge(base, [compose(a)] ++ b)` is `full_merge(base, a ++ b)`.
    ///
    /// `None`, the default, leaves them as they are.
    fn compose(&self, key: &[u8], operands: &[&[u8]]) -> Option<Slice> {
        let _ = (key, operands);
        None
    }
}

/// Why an operator cannot fold. Operators may also return errors of their own that implement [`Fault`].
#[non_exhaustive]
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MergeError {
    /// A value or an operand is not what the operator works on.
    #[error("{what} has {len} bytes, where the operator expects {expected}")]
    Length {
        /// The value or the operand.
        what: &'static str,
        /// Its length.
        len: usize,
        /// What it would have to be.
        expected: usize,
    },
    /// Anything else.
    #[error("{problem}")]
    Refused {
        /// What is wrong.
        problem: String,
    },
}

impl Fault for MergeError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::MergeFailed
    }
}
