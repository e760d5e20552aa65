//! Inputs worth mutating: the seeds, and every input that made the decoder answer something new.

use std::collections::HashSet;

use super::mutate::Dice;

/// Most inputs kept; past it nothing more is learnt by keeping.
const INPUTS_MAX: usize = 4096;

/// The inputs kept for one target.
pub(super) struct Corpus {
    inputs: Vec<Vec<u8>>,
    outcomes: HashSet<u64>,
}

impl Corpus {
    pub(super) fn new() -> Self {
        Self { inputs: Vec::new(), outcomes: HashSet::new() }
    }

    /// Keeps `input` if nothing gave its outcome before.
    pub(super) fn offer(&mut self, input: Vec<u8>, outcome: u64) {
        if self.inputs.len() < INPUTS_MAX && self.outcomes.insert(outcome) {
            self.inputs.push(input);
        }
    }

    /// One of them; empty bytes while there is none.
    pub(super) fn pick(&self, dice: &mut Dice) -> &[u8] {
        self.inputs.get(dice.below(self.inputs.len())).map_or(&[], Vec::as_slice)
    }

    pub(super) fn len(&self) -> usize {
        self.inputs.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_news_is_kept() {
        let mut corpus = Corpus::new();
        assert_eq!(corpus.pick(&mut Dice::new(1)), b"");
        corpus.offer(vec![1], 7);
        corpus.offer(vec![2], 7);
        assert_eq!((corpus.len(), corpus.pick(&mut Dice::new(1))), (1, &[1][..]));
    }
}
