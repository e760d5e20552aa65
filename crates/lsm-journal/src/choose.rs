//! Which generation is the truth (D-45). Pure: generations and pointer in, number out.

use crate::{
    Generation, JournalError, Pointer, RecoveryMode,
    scan::{Scan, Verdict},
};

/// Picks the generation whose last edit is highest, of equals the newest.
///
/// * `pointer`: what `CURRENT` says, when it verifies and belongs to this database.
///
/// `None` when no generation can be used and nothing says that one ever could.
///
/// # Errors
/// Refuses whenever a generation that cannot be used may have held edits that the chosen one lacks.
pub(crate) fn choose<'a>(
    scans: &'a [Scan],
    pointer: Option<&Pointer>,
    mode: RecoveryMode,
) -> Result<Option<&'a Scan>, JournalError> {
    let usable = scans.iter().filter(|scan| matches!(scan.verdict, Verdict::Good(_)));
    let chosen = usable.max_by_key(|scan| (scan.reach.map(|reach| reach.last_edit), scan.number));
    if let Some(error) = scans.iter().find_map(|scan| hidden_loss(scan, chosen, pointer)) {
        return Err(error);
    }
    if let Some(pointer) = pointer {
        check_pointer(scans, pointer, chosen, mode)?;
    }
    if let Some(Scan { number, verdict: Verdict::Good(Some(tail)), .. }) = chosen
        && mode == RecoveryMode::StrictNoTruncate
    {
        return Err(JournalError::TornTail {
            generation: *number,
            offset: tail.offset,
            bytes: tail.bytes,
            class: tail.class,
        });
    }
    Ok(chosen)
}

/// The error of a damaged generation that the chosen one does not make up for. It does when it is newer and goes
/// further than what can still be read: then it was begun from a state that included what is damaged now.
fn hidden_loss(scan: &Scan, chosen: Option<&Scan>, pointer: Option<&Pointer>) -> Option<JournalError> {
    let Verdict::Damaged(error) = &scan.verdict else { return None };
    let is_in_use = pointer.is_some_and(|pointer| pointer.generation == scan.number);
    let is_superseded = chosen.is_some_and(|chosen| {
        let last = |scan: &Scan| scan.reach.map(|reach| reach.last_edit);
        chosen.number > scan.number && last(chosen) > last(scan)
    });
    (is_in_use || !is_superseded).then(|| error.clone())
}

/// Checks that nothing that `CURRENT` vouches for is missing.
fn check_pointer(
    scans: &[Scan],
    pointer: &Pointer,
    chosen: Option<&Scan>,
    mode: RecoveryMode,
) -> Result<(), JournalError> {
    let named = scans.iter().find(|scan| scan.number == pointer.generation);
    let is_usable = named.is_some_and(|scan| matches!(scan.verdict, Verdict::Good(_)));
    let is_passed = chosen.is_some_and(|chosen| chosen.number > pointer.generation);
    let is_cut_short = named.is_some_and(|scan| scan.verdict == Verdict::Incomplete);
    let is_tolerated = mode == RecoveryMode::TolerateTail && is_cut_short && chosen.is_some();
    if !is_usable && !is_passed && !is_tolerated {
        return Err(JournalError::GenerationLost {
            named: pointer.generation,
            found: chosen.map(|chosen| chosen.number),
        });
    }
    match chosen.and_then(|chosen| chosen.reach) {
        Some(reach) if reach.last_edit < pointer.edit_min => {
            Err(JournalError::EditsLost { expected: pointer.edit_min, found: reach.last_edit })
        }
        _ => Ok(()),
    }
}

/// The number that a new generation may take: above all that were ever in use.
pub(crate) fn next_number(numbers: impl Iterator<Item = Generation>) -> Result<Generation, JournalError> {
    let last = numbers.max().unwrap_or(Generation::new(0));
    last.next().ok_or(JournalError::Exhausted { what: "generation number" })
}
