//! Seals against independent vectors, against every change of what they bind, and keys that never show.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic fails the test")]

use std::sync::{Arc, Mutex};

use lsm_crypto::{
    AssociatedData, CryptoError, FileContext, FileKey, KeyChain, KeyFileError, KeyId, KeyProvider,
    NonceAudit, Sealer, Secret, Suite, Tag, WrappedKey,
};
use lsm_types::{ErrorKind, Fault, FileUuid, TreeId};
use proptest::prelude::*;

fn master() -> Secret {
    Secret::new(std::array::from_fn(|at| u8::try_from(at).unwrap()))
}

fn context(suite: Suite) -> FileContext {
    FileContext {
        database: FileUuid::from_bytes([1; 16]),
        file: FileUuid::from_bytes([2; 16]),
        tree: TreeId::new(9),
        file_id: 7,
        kind: 1,
        suite,
        salt: [0x5A; 32],
    }
}

fn data(context: &FileContext) -> AssociatedData {
    AssociatedData::of_file(context)
        .for_block(1, 1, u16::from_le_bytes([3, 2]), 5, [100, 4])
        .with_dictionary(0x1122_3344_5566_7788)
}

fn sealer(context: &FileContext) -> Sealer {
    Sealer::new(context.suite, &FileKey::derive(KeyId::new(1), &master(), context)).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

#[track_caller]
fn check_vector(suite: Suite, check: &str, sealed: &str) {
    let context = context(suite);
    let key = FileKey::derive(KeyId::new(1), &master(), &context);
    assert_eq!(hex(&key.check()), check);
    let mut block = *b"rows";
    let tag = Sealer::new(suite, &key).unwrap().seal(5, data(&context).as_bytes(), &mut block).unwrap();
    assert_eq!(hex(&block) + &hex(&tag), sealed);
}

/// The vectors come from Python's `hmac`, `hashlib` and `cryptography`, given salt, information, nonce and associated
/// data as `docs/format/crypto.md` describes them. Proves F-55.
#[test]
fn derivation_nonce_and_suites_agree_with_independent_vectors() {
    check_vector(
        Suite::Aes256Gcm,
        "5006720ec832e099d289925b0aa8a2a7",
        "015200a46168b310a4bed6d61cc002900f3507f8",
    );
    check_vector(
        Suite::ChaCha20Poly1305,
        "1b331104a9e2668d1a6280cc76fdaeeb",
        "e7b49d7266c9e2c00f939a810b37523ef6786f0c",
    );
}

#[test]
fn associated_data_has_the_documented_bytes() {
    let expected = "4c534d41010001000202020202020202020202020202020201010101010101010101010101010101\
                    07000000000000000101030205000000640000000400000009000000\
                    88776655443322110000000000000000000000000000000000000000";
    assert_eq!(hex(data(&context(Suite::Aes256Gcm)).as_bytes()), expected);
}

#[test]
fn a_change_of_any_bit_breaks_the_seal() {
    for suite in [Suite::Aes256Gcm, Suite::ChaCha20Poly1305] {
        let context = context(suite);
        let (sealer, data) = (sealer(&context), *data(&context).as_bytes());
        let mut block = *b"sixteen bytes...and a few more";
        let tag = sealer.seal(5, &data, &mut block).unwrap();
        let open = |ordinal, data: &[u8], bytes: &[u8], tag: &Tag| {
            sealer.open(ordinal, data, (bytes, tag), &mut vec![0; bytes.len()])
        };

        assert_eq!(open(5, &data, &block, &tag), Ok(()));
        for bit in 0..data.len() * 8 {
            let mut changed = data;
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open(5, &changed, &block, &tag), Err(CryptoError::BrokenSeal), "data bit {bit}");
        }
        for bit in 0..block.len() * 8 {
            let mut changed = block;
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open(5, &data, &changed, &tag), Err(CryptoError::BrokenSeal), "block bit {bit}");
        }
        for bit in 0..tag.len() * 8 {
            let mut changed = tag;
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open(5, &data, &block, &changed), Err(CryptoError::BrokenSeal), "tag bit {bit}");
        }
        assert_eq!(open(6, &data, &block, &tag), Err(CryptoError::BrokenSeal), "another ordinal");
        assert_eq!(open(5, &data, &block[1..], &tag), Err(CryptoError::BrokenSeal), "a shorter block");
    }
}

#[test]
fn a_key_fits_one_file_only() {
    let ours = context(Suite::Aes256Gcm);
    let check = FileKey::derive(KeyId::new(1), &master(), &ours).check();
    let others = [
        FileContext { database: FileUuid::from_bytes([3; 16]), ..ours },
        FileContext { file: FileUuid::from_bytes([3; 16]), ..ours },
        FileContext { kind: 3, ..ours },
        FileContext { suite: Suite::ChaCha20Poly1305, ..ours },
        FileContext { salt: [0; 32], ..ours },
    ];
    for other in others {
        let key = FileKey::derive(KeyId::new(1), &master(), &other);
        assert_eq!(key.verify(&check), Err(CryptoError::WrongKey { key: KeyId::new(1) }), "{other:?}");
    }
    let wrong = FileKey::derive(KeyId::new(1), &Secret::new([0; 32]), &ours);
    assert_eq!(wrong.verify(&check).unwrap_err().kind(), ErrorKind::WrongKey);
    FileKey::derive(KeyId::new(1), &master(), &ours).verify(&check).unwrap();
}

#[test]
fn chains_hand_out_known_keys_and_change_the_current_one() {
    let context = context(Suite::Aes256Gcm);
    let mut keys = KeyChain::new(KeyId::new(1), master()).with_key(KeyId::new(2), Secret::new([9; 32]));
    let tree = TreeId::new(9);
    assert_eq!(keys.current_key_id(tree), Ok(KeyId::new(1)));
    assert_eq!(keys.make_current(KeyId::new(3)), Err(CryptoError::UnknownKey { key: KeyId::new(3) }));
    assert_eq!(keys.current_key_id(tree), Ok(KeyId::new(1)));
    assert_eq!(keys.assign(tree, KeyId::new(3)), Err(CryptoError::UnknownKey { key: KeyId::new(3) }));
    keys.assign(TreeId::new(5), KeyId::new(1)).unwrap();
    keys.make_current(KeyId::new(2)).unwrap();
    assert_eq!(keys.current_key_id(TreeId::new(5)), Ok(KeyId::new(1)));
    assert_eq!(keys.remove(KeyId::new(1)), Err(CryptoError::InUse { key: KeyId::new(1) }));
    assert_eq!(keys.remove(KeyId::new(2)), Err(CryptoError::InUse { key: KeyId::new(2) }));
    let new = keys.new_file_key(&context).unwrap();
    assert_eq!(new.key.id(), KeyId::new(2));
    assert_eq!(new.wrapped, None);
    let again = keys.file_key(KeyId::new(2), &context, None).unwrap();
    again.verify(&new.key.check()).unwrap();
    let unknown = keys.file_key(KeyId::new(7), &context, None).unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::UnknownKey);
    let mut erased = keys.clone();
    erased.unassign(TreeId::new(5));
    erased.remove(KeyId::new(1)).unwrap();
    let gone = erased.file_key(KeyId::new(1), &context, None).unwrap_err();
    assert_eq!(gone, CryptoError::UnknownKey { key: KeyId::new(1) });
    let wrapped = WrappedKey::new(vec![1]).unwrap();
    let refused = keys.file_key(KeyId::new(1), &context, Some(&wrapped)).unwrap_err();
    assert_eq!(refused, CryptoError::CannotUnwrap { key: KeyId::new(1) });
    let too_long = WrappedKey::new(vec![0; 191]).unwrap_err();
    assert_eq!(too_long, CryptoError::WrappedTooLong { len: 191, max: 190 });
}

/// A database may live through more keys than a byte counts, each of which goes on opening what it sealed.
/// Fault: formats W-21.
#[test]
fn a_chain_may_be_longer_than_a_byte_counts() {
    let context = context(Suite::Aes256Gcm);
    let secret = |number: u32| {
        let mut bytes = [7; 32];
        bytes[..4].copy_from_slice(&number.to_le_bytes());
        Secret::new(bytes)
    };
    let numbers: Vec<u32> = (1..=300).chain([70_000, u32::MAX]).collect();
    let first = KeyChain::new(KeyId::new(0), secret(0));
    let mut keys =
        numbers.iter().fold(first, |keys, number| keys.with_key(KeyId::new(*number), secret(*number)));
    let mut checks = std::collections::BTreeSet::new();
    for number in numbers {
        keys.make_current(KeyId::new(number)).unwrap();
        let new = keys.new_file_key(&context).unwrap();
        assert_eq!(new.key.id(), KeyId::new(number));
        assert!(checks.insert(new.key.check()), "{number} is another key");
        keys.file_key(KeyId::new(number), &context, None).unwrap().verify(&new.key.check()).unwrap();
    }
}

#[test]
fn key_files_are_read_and_their_faults_named_without_quoting_them() {
    let one = "01".repeat(32);
    let two = "Ff".repeat(32);
    let mut keys = KeyChain::from_file(format!("# keys\n\n 1 {one}\n12\t{two}\n").into_bytes()).unwrap();
    assert_eq!(keys.current_key_id(TreeId::new(0)), Ok(KeyId::new(12)));
    assert_eq!(KeyChain::from_file(vec![0xFF]).unwrap_err(), KeyFileError::Line { line: 1 });
    keys.make_current(KeyId::new(1)).unwrap();

    let fault = |text: &str| KeyChain::parse(text).unwrap_err();
    assert_eq!(fault(""), KeyFileError::Empty);
    assert_eq!(fault("# only talk"), KeyFileError::Empty);
    for bad in ["1", "x 00", "1 0g", &format!("1 {one}0"), &format!("1 {one} more"), &format!("-1 {one}")] {
        assert_eq!(fault(&format!("# line\n{bad}")), KeyFileError::Line { line: 2 }, "{bad}");
    }
    let repeated = fault(&format!("1 {one}\n1 {two}"));
    assert_eq!(repeated, KeyFileError::Repeated { line: 2, id: KeyId::new(1) });
    assert!(!repeated.to_string().to_lowercase().contains("ffff"));
}

#[test]
fn keys_never_show() {
    let context = context(Suite::Aes256Gcm);
    let secret = Secret::from_hex(&"ab".repeat(32)).unwrap();
    let keys = KeyChain::new(KeyId::new(1), secret.clone());
    let key = keys.file_key(KeyId::new(1), &context, None).unwrap();
    let sealer = Sealer::new(context.suite, &key).unwrap();
    let shown = format!("{secret:?} {keys:?} {key:?} {sealer:?}");
    assert_eq!(
        shown,
        "Secret(..) KeyChain { keys: [(KeyId(1), Secret(..))], current: KeyId(1), trees: [] } \
         FileKey { id: KeyId(1), .. } Sealer { key_id: KeyId(1), .. }"
    );
}

#[derive(Debug, Default)]
struct Spent(Mutex<Vec<[u8; 12]>>);

impl NonceAudit for Spent {
    fn spent(&self, _: [u8; FileKey::CHECK_LEN], nonce: [u8; 12]) {
        self.0.lock().unwrap().push(nonce);
    }
}

#[test]
fn audits_hear_of_each_nonce_and_nonces_follow_ordinals() {
    let context = context(Suite::Aes256Gcm);
    let spent = Arc::new(Spent::default());
    let key = FileKey::derive(KeyId::new(1), &master(), &context).audited(spent.clone());
    let sealer = Sealer::new(context.suite, &key).unwrap();
    for ordinal in [0, 1, 0x8000_0000, u32::MAX] {
        sealer.seal(ordinal, &[], &mut [0; 8]).unwrap();
    }
    let spent = spent.0.lock().unwrap();
    let ordinals: Vec<_> = spent.iter().map(|nonce| hex(&nonce[4..])).collect();
    assert_eq!(ordinals, ["0000000000000000", "0000000001000000", "0000000000000080", "00000000ffffffff"]);
    assert!(spent.iter().all(|nonce| nonce[..4] == spent[0][..4]), "the prefix is the file's");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_was_sealed_opens(block in prop::collection::vec(any::<u8>(), 0..300), ordinal: u32, chacha: bool) {
        let suite = if chacha { Suite::ChaCha20Poly1305 } else { Suite::Aes256Gcm };
        let context = context(suite);
        let (sealer, data) = (sealer(&context), data(&context));
        let mut cipher_text = block.clone();
        let tag = sealer.seal(ordinal, data.as_bytes(), &mut cipher_text).unwrap();
        prop_assert!(block.len() < 16 || cipher_text != block);
        let mut opened = vec![0xEE; block.len()];
        sealer.open(ordinal, data.as_bytes(), (&cipher_text, &tag), &mut opened).unwrap();
        prop_assert_eq!(opened, block);
    }
}
