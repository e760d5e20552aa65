//! Positions: reading, writing, appending, lengths.

use std::path::Path;

use lsm_fs::{AccessHint, Fs, MAX_FILE_LEN};
use lsm_types::{IoKind, ReadAt};

use super::{contents, create, create_with, fails, within};

pub(super) fn check(fs: &dyn Fs, root: &Path) {
    within(fs, root, reading);
    within(fs, root, writing);
    within(fs, root, lengths);
    within(fs, root, overflow);
    within(fs, root, hints);
    within(fs, root, concurrent_appends);
}

fn reading(fs: &dyn Fs, dir: &Path) {
    let file = create_with(fs, &dir.join("file"), b"0123456789");
    let mut out = [b'.'; 4];
    assert_eq!((file.read_at(2, &mut out), out), (Ok(4), *b"2345"));
    assert_eq!((file.read_at(8, &mut out), out), (Ok(2), *b"8945"), "a read stops at the end of the file");
    assert_eq!((file.read_at(10, &mut out), out), (Ok(0), *b"8945"));
    assert_eq!(file.read_at(1 << 40, &mut out), Ok(0), "past the end there is nothing");
    assert_eq!(file.read_at(3, &mut []), Ok(0));
    assert_eq!((file.read_exact_at(6, &mut out), out), (Ok(()), *b"6789"));
    fails(file.read_exact_at(7, &mut out), IoKind::UnexpectedEof);
}

fn writing(fs: &dyn Fs, dir: &Path) {
    let file = create(fs, &dir.join("file"));
    file.write_at(3, b"abc").unwrap();
    assert_eq!(contents(&*file), b"\0\0\0abc", "a gap reads as zeros");
    file.write_at(5, b"CDE").unwrap();
    assert_eq!(file.append(b"end"), Ok(8));
    file.write_at(1, b"").unwrap();
    assert_eq!(contents(&*file), b"\0\0\0abCDEend");
    // Past several pages and sectors, with odd borders.
    let long: Vec<u8> = (0..100_003_u32).map(|i| (i % 251 + 1).to_le_bytes()[0]).collect();
    assert_eq!(file.append(&long), Ok(11));
    file.write_at(4_095, &long).unwrap();
    let mut expected = [b"\0\0\0abCDEend".as_slice(), &long].concat();
    expected.resize(4_095 + long.len(), 0);
    if let Some(part) = expected.get_mut(4_095..) {
        part.copy_from_slice(&long);
    }
    assert!(contents(&*file) == expected);
}

fn lengths(fs: &dyn Fs, dir: &Path) {
    let file = create_with(fs, &dir.join("file"), &[7; 10_000]);
    file.set_len(5_000).unwrap();
    file.set_len(9_000).unwrap();
    let expected = [vec![7; 5_000], vec![0; 4_000]].concat();
    assert!(contents(&*file) == expected, "what was cut off does not come back");
    assert_eq!(fs.metadata(&dir.join("file")).unwrap().len, 9_000);
    assert_eq!(file.append(b"x"), Ok(9_000));
    file.set_len(1 << 33).unwrap();
    let mut out = [1; 2];
    assert_eq!((file.read_at((1 << 33) - 2, &mut out), out), (Ok(2), [0; 2]));
    file.set_len(0).unwrap();
    assert!(file.is_empty().unwrap());
}

fn overflow(fs: &dyn Fs, dir: &Path) {
    let file = create_with(fs, &dir.join("file"), b"bytes");
    for offset in [MAX_FILE_LEN, u64::MAX] {
        fails(file.read_at(offset, &mut [0]), IoKind::InvalidInput);
        fails(file.write_at(offset, b"x"), IoKind::InvalidInput);
        fails(file.allocate(offset, 1, lsm_fs::AllocateMode::KeepLen), IoKind::InvalidInput);
        fails(file.punch_hole(offset, 1), IoKind::InvalidInput);
        fails(file.set_len(offset.max(MAX_FILE_LEN + 1)), IoKind::InvalidInput);
    }
    assert_eq!(contents(&*file), b"bytes");
}

fn hints(fs: &dyn Fs, dir: &Path) {
    let file = create_with(fs, &dir.join("file"), b"bytes");
    file.hint(AccessHint::Default);
    file.hint(AccessHint::Sequential);
    file.hint(AccessHint::Random);
    file.hint(AccessHint::WriteOnce);
    file.hint(AccessHint::WillNeed { offset: 0, len: 0 });
    file.hint(AccessHint::WillNeed { offset: u64::MAX, len: u64::MAX });
    assert_eq!(contents(&*file), b"bytes", "a hint changes nothing");
}

/// Threads that append through one handle each find their bytes, whole, where they were told.
fn concurrent_appends(fs: &dyn Fs, dir: &Path) {
    let file = create(fs, &dir.join("file"));
    let appended: Vec<(u64, u8)> = std::thread::scope(|scope| {
        let append = |mark: u8| {
            let file = &file;
            move || (0..20).map(|_| (file.append(&[mark; 333]).unwrap(), mark)).collect::<Vec<_>>()
        };
        let threads: Vec<_> = (1..=4).map(|mark| scope.spawn(append(mark))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(file.len().unwrap(), 80 * 333);
    for (offset, mark) in appended {
        let mut out = [0; 333];
        file.read_exact_at(offset, &mut out).unwrap();
        assert_eq!(out, [mark; 333]);
    }
}
