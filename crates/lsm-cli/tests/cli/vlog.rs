//! `lsm vlog` on a file that a writer made, sound and damaged.

use lsm_types::{EditIndex, FileKind, FileUuid, KeyOrder, SeqNo, TreeId, UnixNanos};
use lsm_vlog::{VlogBuilder, VlogOptions};

use crate::tool::Place;

fn value_log() -> Vec<u8> {
    let identity = lsm_vlog::FileIdentity {
        kind: FileKind::ValueLog,
        file_id: 7,
        uuid: FileUuid::from_bytes([1; 16]),
        database: FileUuid::from_bytes([2; 16]),
        tree: TreeId::new(0),
    };
    let head = lsm_vlog::Superblock::new(identity, UnixNanos::new(0), EditIndex::new(0));
    let mut builder = VlogBuilder::new(head, VlogOptions::new(KeyOrder::bytewise()), Vec::new()).unwrap();
    builder.add(b"apples", SeqNo::ZERO, &[b'a'; 2000]).unwrap();
    builder.add(b"pears", SeqNo::ZERO, &vec![b'p'; 3 << 20]).unwrap();
    builder.finish().unwrap().1
}

#[test]
fn a_value_log_is_shown_without_its_database() {
    let place = Place::new();
    let bytes = value_log();
    place.file("lone.blob", &bytes);
    let out = place.run(["vlog", "lone.blob", "--verify"]).ok().out();
    assert!(out.contains("apples") && out.contains("pears") && out.contains("1 of them in chunks"), "{out}");
    let report = place.run(["vlog", "lone.blob", "--json", "--values", "1"]).ok().json();
    assert_eq!(
        (report["values"].as_u64(), report["value_bytes"].as_u64()),
        (Some(2), Some(2000 + (3 << 20)))
    );
    assert_eq!(report["first"].as_array().unwrap().len(), 1);
    assert_eq!(report["first"][0]["key"], "apples");

    let mut damaged = bytes;
    damaged[512 + 50] ^= 1;
    place.file("damaged.blob", &damaged);
    let report = place.run(["vlog", "damaged.blob", "--verify", "--json"]).code(1).json();
    assert_eq!(report["findings"].as_array().unwrap().len(), 1);
    place.run(["vlog", "damaged.blob"]).code(1);
    place.file("garbage", [7; 900]);
    place.run(["vlog", "garbage"]).says("cannot open the value log");
    place.run(["vlog", "missing"]).code(3);
}
