//! The crash driver finds what is wrong with stores that are wrong on purpose, within the effort that the engine's own
//! tests spend, and nothing in the same stores when they are right.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod log;
mod snapshots;
mod tables;
mod toy;

use lsm_testkit::crash::{Campaign, Effort, Subject, Tally, Violation, campaign};
use lsm_testkit::sim::{Profile, SimConfig, Strategy};

use log::Log;
use snapshots::Snapshots;
use tables::Tables;
use toy::Toy;

/// Images after which the gate gives up on finding anything.
const GATE_IMAGES: u64 = 20_000;

/// As the engine's tests plan it.
fn plan() -> Campaign {
    Campaign {
        seed: 1,
        first: 0,
        config: SimConfig::DEFAULT,
        effort: Effort {
            strategy: Strategy::GATE,
            nested_one_in: 50,
            go_on_one_in: 16,
            go_on_ops: 8,
            seed: 0,
        },
        ops_max: 40,
        exhaustive_len: 3,
        faulty_one_in: 2,
    }
}

fn run<S: Subject>(
    plan: &Campaign,
    make: impl Fn() -> S + Sync,
    images: u64,
) -> Result<Tally, Box<Violation>> {
    let more = |tally: &Tally| tally.counts.images < images && tally.workloads < 5_000;
    campaign(plan, |_| make(), more)
}

#[track_caller]
fn caught<P: Copy + Sync>(protocol: P)
where
    Toy<P>: Subject,
{
    let violation = run(&plan(), || Toy(protocol), GATE_IMAGES).unwrap_err();
    assert!(violation.to_string().contains("workload: seed 1"), "{violation}");
}

#[track_caller]
fn passes<P: Copy + Sync>(protocol: P)
where
    Toy<P>: Subject,
{
    for profile in Profile::STRONGEST_FIRST {
        for own_syncs_only in [false, true] {
            let config = SimConfig { profile, own_syncs_only, ..SimConfig::DEFAULT };
            if let Err(violation) = run(&Campaign { config, ..plan() }, || Toy(protocol), 200) {
                panic!("{profile:?}: {violation}");
            }
        }
    }
}

#[test]
fn right_protocols_pass() {
    passes(Snapshots::Right);
    passes(Log::Right);
    passes(Tables::Right);
}

/// Fault: durability W-7.
#[test]
fn a_missing_directory_sync_is_caught() {
    caught(Snapshots::NoDirectorySync);
    caught(Log::NameNotSynced);
}

/// Fault: durability W-36.
#[test]
fn a_rename_before_the_sync_is_caught() {
    caught(Snapshots::RenameBeforeSync);
}

/// Fault: durability W-4.
#[test]
fn an_append_behind_a_torn_one_is_caught() {
    caught(Log::AppendAfterTorn);
}

#[test]
fn a_retried_sync_is_caught() {
    caught(Snapshots::SyncRetried);
    caught(Snapshots::SyncErrorIgnored);
}

#[test]
fn a_failed_sync_that_a_later_open_believes_is_caught() {
    caught(Log::TailBelieved);
}

#[test]
fn an_unlink_before_the_install_is_caught() {
    caught(Snapshots::UnlinkBeforeInstall);
}

#[test]
fn a_pointer_before_its_snapshot_is_caught() {
    caught(Snapshots::PointerBeforeSnapshot);
}

#[test]
fn an_acknowledgement_before_the_sync_is_caught() {
    caught(Log::NoSync);
    caught(Log::BarrierAlone);
}

#[test]
fn a_length_that_is_not_synced_is_caught() {
    caught(Log::LengthNotSynced);
}

/// Fault: durability W-5.
#[test]
fn outputs_deleted_while_their_install_is_in_doubt_are_caught() {
    caught(Tables::OutputsDeletedInDoubt);
}

#[test]
fn inputs_deleted_before_their_install_are_caught() {
    caught(Tables::InputsDeletedEarly);
}

#[test]
fn a_number_given_twice_is_caught() {
    caught(Tables::NumbersFromTheDirectory);
}

#[test]
fn a_file_left_behind_is_caught() {
    caught(Tables::OrphansStay);
}

/// The weakest reading of POSIX allows it to sync a file through any handle; an error may then go unseen, and a
/// disk that says so is stricter.
#[test]
fn a_sync_through_another_handle_is_caught() {
    let config = SimConfig { own_syncs_only: true, ..SimConfig::DEFAULT };
    assert!(run(&Campaign { config, ..plan() }, || Toy(Snapshots::SyncedElsewhere), GATE_IMAGES).is_err());
}

/// What a fault needs to show: the report says how strong a disk still does not hide it. Faults that only show in a second
/// crash, or in going on, are not looked for: of these it says nothing.
#[test]
fn the_strongest_disk_that_shows_a_fault_is_told() {
    let effort = Effort { nested_one_in: 0, go_on_one_in: 0, ..plan().effort };
    let plan = Campaign { effort, ..plan() };
    let profile = |protocol| run(&plan, || Toy(protocol), GATE_IMAGES).unwrap_err().profile;
    // On ext4, syncing the file makes its name durable.
    assert_eq!(profile(Snapshots::NoDirectorySync), Some(Profile::Posix));
    assert_eq!(profile(Snapshots::UnlinkBeforeInstall), Some(Profile::Process));
}
