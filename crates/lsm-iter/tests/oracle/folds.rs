//! What becomes of operands in a flush or compaction, case by case. The operator joins its parts with `+`.

use crate::survivors::job;

/// Proves C-76, C-77, E-44: operands fold onto a base, or onto proven nothing.
#[test]
fn at_a_boundary() {
    let joining = |watermark| job(watermark).joining(false);
    joining(9).check("a:op@3 a:op@2 a:put@1", "a:put@3=1+2+3 | fold a:op@2 fold a:put@1 | F8");
    joining(9).check("a:op@3 a:put@1", "a:put@3=1+3 | fold a:put@1 | F8");
    joining(9).check("a:op@3 a:op@2 a:del@1", "a:put@3=2+3 | fold a:op@2 a:del@1 | F8");
    joining(9).check("a:op@3 a:del@2 a:put@1", "a:put@3 | a:del@2 a:put@1 | F8");
    joining(9)
        .check("a:op@3 a:op@2 a:put@1 a:put@0", "a:put@3=1+2+3 | fold a:op@2 fold a:put@1 a:put@0 | F8");
    joining(9).check(
        "a:op@3 a:put@1 b:put@1 c:op@2 c:put@1",
        "a:put@3=1+3 b:put@1 c:put@2=1+2 | fold a:put@1 fold c:put@1 | F8",
    );
    joining(9).at_bottom().check("a:op@3", "a:put@0 | | F8");
    joining(9).at_bottom().check("a:op@3 a:op@2", "a:put@0=2+3 | fold a:op@2 | F8");
}

/// Proves E-44, E-45: where the base may lie elsewhere nothing is guessed; operands are combined only if the operator
/// composes. Fault: engine W-5.
#[test]
fn without_a_boundary() {
    job(9).joining(false).check("a:op@3", "a:op@3 | |");
    job(9).joining(false).check("a:op@3 a:op@2", "a:op@3 a:op@2 | |");
    job(9).joining(true).check("a:op@3 a:op@2", "a:op@3=2+3 | fold a:op@2 | F8");
    job(9).joining(true).check("a:op@3", "a:op@3 | |");
    job(9).joining(true).check("a:op@3 a:op@2 b:op@1", "a:op@3=2+3 b:op@1 | fold a:op@2 | F8");
    job(9).joining(false).check("a:op@3 a:op@2 a:ind@1", "a:op@3 a:op@2 a:ind@1 | |");
}

/// Proves C-81: a container outside the job may hold a version between the operands and their base.
#[test]
fn with_something_in_between() {
    let parted = |composes| job(9).joining(composes).with(|job| job.around.adjacent = false);
    parted(true).check("a:op@3 a:op@2 a:put@1", "a:op@3 a:op@2 a:put@1 | |");
    parted(false).check("a:op@3 a:del@2 a:put@1", "a:op@3 a:del@2 | a:put@1 | F8");
    parted(false).deleted(2).check("a:op@3 a:put@1", "a:op@3 a:put@1 | |");
}

/// Proves C-78, E-48: operands at or above the watermark stay, and the stretch below folds by itself.
#[test]
fn around_the_watermark() {
    let joining = |watermark| job(watermark).joining(true);
    joining(3).check("a:op@3 a:op@2 a:put@1", "a:op@3 a:put@2=1+2 | fold a:put@1 | F2");
    joining(4).check("a:op@3 a:op@2 a:put@1", "a:put@3=1+2+3 | fold a:op@2 fold a:put@1 | F3");
    joining(1).check("a:op@3 a:op@2 a:put@1", "a:op@3 a:op@2 a:put@1 | |");
    joining(3).check("a:op@5 a:op@3 a:op@2 a:op@1", "a:op@5 a:op@3 a:op@2=1+2 | fold a:op@1 | F2");
    joining(4).check("a:put@5 a:op@3 a:put@1", "a:put@5 a:put@3=1+3 | fold a:put@1 | F3");
}

/// Proves C-79, E-47: a range tombstone below the watermark cuts the chain at every stage; the base below it does not
/// count, operands below it end the chain. Fault: engine W-4.
#[test]
fn under_a_range_tombstone() {
    let joining = |watermark, delete| job(watermark).joining(true).deleted(delete);
    joining(9, 2).check("a:op@3 a:put@1", "a:put@3 | a:put@1 | F8");
    joining(9, 3).check("a:op@4 a:op@3 a:op@2 a:put@1", "a:put@4=3+4 | fold a:op@3 a:op@2 a:put@1 | F8");
    joining(9, 2).at_bottom().check("a:op@3 a:put@1", "a:put@3 | range a:put@1 | F8");
    joining(9, 5).check("a:op@3 a:op@2 a:put@1", "a:op@3 a:op@2 a:put@1 | |");
    joining(9, 5).at_bottom().check("a:op@3 a:put@1", "| range a:op@3 range a:put@1 | F8");
    joining(9, 2).check("a:op@3", "a:put@3 | |");
    joining(5, 5).check("a:op@4 a:put@1", "a:put@4=1+4 | fold a:put@1 | F4");
}

/// Proves E-58, C-68 (the exception under a fold): operands end at a weak tombstone and do not annihilate with it; an
/// older weak tombstone outlives the fold, except at the bottom.
#[test]
fn with_weak_tombstones() {
    let joining = |watermark| job(watermark).joining(true);
    joining(9).check("a:op@3 a:weak@2", "a:put@3 a:weak@2 | |");
    joining(9).check("a:op@3 a:weak@2 a:put@1", "a:put@3 | pair a:weak@2 pair a:put@1 | F8");
    joining(9).at_bottom().check("a:op@3 a:weak@2", "a:put@0 | evicted a:weak@2 | F8");
    joining(9).check("a:op@4 a:put@3 a:weak@2", "a:put@4=3+4 a:weak@2 | fold a:put@3 | F8");
    joining(9).check("a:weak@4 a:op@3 a:put@1", "a:weak@4 | a:op@3 a:put@1 | F8");
}

/// Proves C-82, E-50: what the operator refuses stays, and the job goes on.
#[test]
fn refused() {
    job(20).joining(true).check("a:op@14 a:op@13 a:put@1 b:put@1", "a:op@14 a:op@13 a:put@1 b:put@1 | |");
    job(20)
        .joining(true)
        .check("a:op@13 a:op@12 b:op@3 b:put@1", "a:op@13 a:op@12 b:put@3=1+3 | fold b:put@1 | F19");
    job(20).joining(true).at_bottom().check("a:op@13 a:op@12", "a:op@13 a:op@12 | |");
}

/// Proves C-91: what was folded at the bottom is zeroed like any value, under no range tombstone.
#[test]
fn zeroed() {
    let joining = |watermark| job(watermark).joining(true).at_bottom();
    joining(9).check("a:op@5 a:op@4 a:put@3", "a:put@0=3+4+5 | fold a:op@4 fold a:put@3 | F8");
    joining(9).deleted(2).check("a:op@5 a:put@3", "a:put@5=3+5 | fold a:put@3 | F8");
    joining(9).deleted(12).check("a:op@5 a:put@3", "a:put@5=3+5 | fold a:put@3 | F8");
    joining(5).check("a:op@7 a:op@4 a:put@3", "a:op@7 a:put@0=3+4 | fold a:put@3 | F4");
}
