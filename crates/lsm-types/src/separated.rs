//! The port through which values come that lie in other files than their keys.

use core::{cell::OnceCell, fmt};

use crate::{Error, Result, Slice};

/// Fetches values that were moved out of tables.
pub trait SeparatedValues: Send + Sync {
    /// The value that an indirection of `key` leads to.
    ///
    /// * `handle`: what the entry holds in place of the value ([`crate::ValueHandle`]).
    ///
    /// # Errors
    /// When it leads nowhere, to another key, or to damaged bytes: never another value.
    fn fetch(&self, key: &[u8], handle: &[u8]) -> Result<Slice>;
}

/// A separated value that is fetched when somebody first asks for it.
pub struct SeparatedValue<'a> {
    values: &'a dyn SeparatedValues,
    key: &'a [u8],
    handle: &'a [u8],
    fetched: OnceCell<Result<Slice>>,
}

impl<'a> SeparatedValue<'a> {
    /// The value that the indirection `handle` of `key` leads to. Fetches nothing.
    pub const fn new(values: &'a dyn SeparatedValues, key: &'a [u8], handle: &'a [u8]) -> Self {
        Self { values, key, handle, fetched: OnceCell::new() }
    }

    /// The value.
    ///
    /// # Errors
    /// As [`SeparatedValues::fetch`]; the same again when it is asked again.
    pub fn get(&self) -> Result<&[u8]> {
        let fetched = self.fetched.get_or_init(|| self.values.fetch(self.key, self.handle));
        fetched.as_ref().map(|value| &**value).map_err(Clone::clone)
    }

    /// Why it could not be fetched, when somebody has tried.
    pub fn failure(&self) -> Option<Error> {
        self.fetched.get().and_then(|fetched| fetched.as_ref().err().cloned())
    }
}

impl fmt::Debug for SeparatedValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SeparatedValue of {:?}", Slice::copy_from(self.key))
    }
}
