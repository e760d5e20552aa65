//! What a merge operator has to keep to, checked on examples.
//!
//! The engine folds operands whenever it likes, in parts or as a whole. An operator that keeps these laws gives the
//! same values whatever it does.

use lsm_types::{MergeOperator, Slice};

/// One example: a key, the value it has, and operands, oldest first.
#[derive(Clone, Debug, Default)]
pub struct MergeExample {
    /// The key.
    pub key: Vec<u8>,
    /// The value below the operands; `None` for no value.
    pub base: Option<Vec<u8>>,
    /// The operands, oldest first; at least one.
    pub operands: Vec<Vec<u8>>,
}

/// A law that an operator breaks, and the example that shows it.
#[derive(Clone, Debug, thiserror::Error)]
#[error(
    "the merge operator breaks the law `{law}` at operand {at} of {example:?}: {found:?} instead of {expected:?}"
)]
pub struct BrokenLaw {
    /// The law.
    pub law: &'static str,
    /// The example.
    pub example: MergeExample,
    /// Where the operands were parted.
    pub at: usize,
    /// What folding all operands at once gives.
    pub expected: Option<Slice>,
    /// What folding them in parts gives.
    pub found: Option<Slice>,
}

/// Checks `operator` on each example:
///
/// - it is a function: the same call gives the same answer;
/// - folding in two steps, at any place, gives what folding at once gives;
/// - operands that were composed, at any place, do to the base what they do one by one.
///
/// A fold that fails has no value to compare: what matters is that it fails whatever the steps, or not at all.
///
/// # Errors
/// The first law found broken.
pub fn check_merge_laws(
    operator: &dyn MergeOperator,
    examples: impl IntoIterator<Item = MergeExample>,
) -> Result<(), Box<BrokenLaw>> {
    examples.into_iter().try_for_each(|example| Check { operator, example: &example }.all())
}

struct Check<'a> {
    operator: &'a dyn MergeOperator,
    example: &'a MergeExample,
}

impl Check<'_> {
    fn all(&self) -> Result<(), Box<BrokenLaw>> {
        let operands: Vec<&[u8]> = self.example.operands.iter().map(Vec::as_slice).collect();
        let base = self.example.base.as_deref();
        let expected = self.fold(base, &operands);
        self.equal("an operator is a function", 0, expected.as_ref(), self.fold(base, &operands))?;
        for at in 1..operands.len() {
            let (older, newer) = operands.split_at(at);
            // What the first step refuses is never there to be folded on.
            if let Some(folded) = self.fold(base, older) {
                let found = self.fold(Some(&folded), newer);
                self.equal("folding in steps is folding at once", at, expected.as_ref(), found)?;
            }
            self.composed(at, base, &operands, expected.as_ref())?;
        }
        Ok(())
    }

    /// Every stretch that ends at `at`, composed, between what is older and what is newer.
    fn composed(
        &self,
        at: usize,
        base: Option<&[u8]>,
        operands: &[&[u8]],
        expected: Option<&Slice>,
    ) -> Result<(), Box<BrokenLaw>> {
        for from in 0..=at {
            let (Some(older), Some(stretch), Some(newer)) =
                (operands.get(..from), operands.get(from..=at), operands.get(at + 1..))
            else {
                continue;
            };
            let Some(one) = self.operator.compose(&self.example.key, stretch) else { continue };
            let with_one = [older, &[&one], newer].concat();
            let found = self.fold(base, &with_one);
            self.equal("composed operands do what they do one by one", at, expected, found)?;
        }
        Ok(())
    }

    fn fold(&self, base: Option<&[u8]>, operands: &[&[u8]]) -> Option<Slice> {
        self.operator.full_merge(&self.example.key, base, operands).ok()
    }

    fn equal(
        &self,
        law: &'static str,
        at: usize,
        expected: Option<&Slice>,
        found: Option<Slice>,
    ) -> Result<(), Box<BrokenLaw>> {
        if expected == found.as_ref() {
            return Ok(());
        }
        let example = self.example.clone();
        Err(Box::new(BrokenLaw { law, example, at, expected: expected.cloned(), found }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operators::{Join, SetEdit};
    use lsm_types::{
        Result,
        operators::{AddI64, Append, Flags, Max, Min},
    };
    use proptest::prelude::*;

    fn examples(
        part: impl Strategy<Value = Vec<u8>>,
        base: impl Strategy<Value = Vec<u8>>,
    ) -> impl Strategy<Value = MergeExample> {
        let operands = prop::collection::vec(part, 1..6);
        (prop::option::of(base), operands).prop_map(|(base, operands)| MergeExample {
            key: b"key".to_vec(),
            base,
            operands,
        })
    }

    fn bytes(len: std::ops::RangeInclusive<usize>) -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(any::<u8>(), len)
    }

    fn letters() -> impl Strategy<Value = Vec<u8>> {
        "[+-][a-c]".prop_map(String::into_bytes)
    }

    #[track_caller]
    fn check(operator: &dyn MergeOperator, example: MergeExample) {
        check_merge_laws(operator, [example]).unwrap();
    }

    proptest! {
        /// Proves E-43 (a base may be an earlier fold), E-45 (the law of composition) for all operators of ours.
        #[test]
        fn stock_operators_keep_the_laws(
            any in examples(bytes(0..=9), bytes(0..=9)),
            numbers in examples(bytes(8..=8), bytes(8..=8)),
            flags in examples(bytes(16..=16), bytes(8..=8)),
            edits in examples(letters(), "[a-c]{0,1}".prop_map(String::into_bytes)),
        ) {
            check(&AddI64, numbers);
            check(&Flags, flags);
            check(&Append, any.clone());
            check(&Max, any.clone());
            check(&Min, any.clone());
            check(&Join::new(true), any);
            check(&SetEdit, edits);
        }
    }

    /// Takes the last operand for a new value when composing, forgetting that it would be appended.
    struct Wrong;

    impl MergeOperator for Wrong {
        fn name(&self) -> &'static str {
            "test.wrong"
        }

        fn full_merge(&self, key: &[u8], base: Option<&[u8]>, operands: &[&[u8]]) -> Result<Slice> {
            Append.full_merge(key, base, operands)
        }

        fn compose(&self, _: &[u8], operands: &[&[u8]]) -> Option<Slice> {
            operands.last().map(|&last| last.into())
        }
    }

    /// Averages: folding in steps weighs the older ones less.
    struct Average;

    impl MergeOperator for Average {
        fn name(&self) -> &'static str {
            "test.average"
        }

        fn full_merge(&self, _: &[u8], base: Option<&[u8]>, operands: &[&[u8]]) -> Result<Slice> {
            let all: Vec<usize> = base.iter().chain(operands).map(|part| part.len()).collect();
            Ok(Slice::from(vec![0; all.iter().sum::<usize>() / all.len()]))
        }
    }

    /// Proves E-45 (a broken law is found).
    #[test]
    fn broken_laws_are_found() {
        let example = |operands: &[&[u8]]| MergeExample {
            key: b"key".to_vec(),
            base: None,
            operands: operands.iter().map(|operand| operand.to_vec()).collect(),
        };
        let found = check_merge_laws(&Wrong, [example(&[b"a", b"b"])]).unwrap_err();
        assert_eq!(found.law, "composed operands do what they do one by one");
        let found = check_merge_laws(&Average, [example(&[b"", b"", b"aaaa"])]).unwrap_err();
        assert_eq!(found.law, "folding in steps is folding at once");
    }
}
