//! The caller's merge operator, kept from taking the engine down with it.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use lsm_types::{MergeOperator, Result, Slice};

use crate::EngineError;

/// An operator whose panics are errors of the key it was called for.
pub(crate) struct Contained(pub(crate) Arc<dyn MergeOperator>);

impl MergeOperator for Contained {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn full_merge(&self, key: &[u8], base: Option<&[u8]>, operands: &[&[u8]]) -> Result<Slice> {
        // Nothing of ours is changed while the operator runs, and operators are functions of their arguments.
        catch_unwind(AssertUnwindSafe(|| self.0.full_merge(key, base, operands)))
            .unwrap_or_else(|_| Err(EngineError::OperatorPanicked.into()))
    }

    fn compose(&self, key: &[u8], operands: &[&[u8]]) -> Option<Slice> {
        catch_unwind(AssertUnwindSafe(|| self.0.compose(key, operands))).unwrap_or_default()
    }
}
