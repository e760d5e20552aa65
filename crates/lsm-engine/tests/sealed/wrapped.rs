//! Keys as a key service gives them: a secret for each file, which stands wrapped in the file's head.

use std::{
    path::Path,
    sync::{Arc, Mutex},
};

use lsm_engine::{
    CompactOptions, CryptoError, Encryption, FileContext, FileKey, KeyId, KeyProvider, NewFileKey, Secret,
    Tree, WrappedKey,
};
use lsm_fs::{Fs, MemFs};
use lsm_types::{ErrorKind, TreeId};

use crate::{
    ROOT,
    common::{contents, flush, sealed::encryption},
    files, fill,
    keys::check_refused,
    options,
};

const ID: KeyId = KeyId::new(1);

/// Draws secrets and wraps them: a pad that only the master key gives is laid over them, and a proof put behind.
struct Service {
    master: Secret,
    drawn: Mutex<Vec<[u8; 32]>>,
}

impl Service {
    fn new(master: u8) -> Arc<Self> {
        Arc::new(Self { master: Secret::new([master; 32]), drawn: Mutex::new(Vec::new()) })
    }

    fn pad(&self, context: &FileContext) -> [u8; 48] {
        let part = |number: u8| {
            let mut context = *context;
            context.salt[0] ^= number;
            FileKey::derive(ID, &self.master, &context).check()
        };
        [part(1), part(2), part(3)].concat().try_into().unwrap()
    }
}

impl KeyProvider for Service {
    fn current_key_id(&self, _: TreeId) -> Result<KeyId, CryptoError> {
        Ok(ID)
    }

    fn file_key(
        &self,
        id: KeyId,
        context: &FileContext,
        wrapped: Option<&WrappedKey>,
    ) -> Result<FileKey, CryptoError> {
        let wrapped = wrapped.ok_or(CryptoError::CannotUnwrap { key: id })?;
        let pad = self.pad(context);
        let (wrapped, proof) = wrapped.as_bytes().split_at(32);
        if proof != &pad[32..] {
            return Err(CryptoError::CannotUnwrap { key: id });
        }
        let secret = Secret::new(std::array::from_fn(|at| wrapped[at] ^ pad[at]));
        Ok(FileKey::derive(id, &secret, context))
    }

    fn new_file_key(&self, context: &FileContext) -> Result<NewFileKey, CryptoError> {
        let mut drawn = self.drawn.lock().unwrap();
        let secret = std::array::from_fn(|at| (drawn.len() * 97 + at * 31 + 5) as u8);
        drawn.push(secret);
        let mut wrapped = self.pad(context).to_vec();
        wrapped.iter_mut().zip(secret).for_each(|(byte, secret)| *byte ^= secret);
        let key = FileKey::derive(ID, &Secret::new(secret), context);
        Ok(NewFileKey { key, wrapped: Some(WrappedKey::new(wrapped)?) })
    }
}

/// Whoever can unwrap opens the files, nobody else does, and no secret stands in them.
#[test]
fn files_whose_keys_are_wrapped_open_for_who_can_unwrap_them() {
    let fs: Arc<dyn Fs> = Arc::new(MemFs::new());
    let service = Service::new(1);
    let sealed = Encryption::new(service.clone());
    let tree = Tree::open(options(&fs, Some(&sealed))).unwrap();
    fill(&tree, 0);
    flush(&tree);
    fill(&tree, 100);
    flush(&tree);
    tree.major_compact(&CompactOptions::default()).unwrap();
    tree.close().unwrap();

    let drawn = service.drawn.lock().unwrap().clone();
    assert!(drawn.len() >= 4, "a manifest, and tables of three jobs: {}", drawn.len());
    let mut wrapped = 0;
    for (path, bytes) in files(fs.as_ref(), Path::new(ROOT)) {
        wrapped += usize::from(path.starts_with("/db/tables") && bytes[87] == 2);
        let shows = |secret: &[u8; 32]| bytes.windows(32).any(|window| window == secret);
        assert!(!drawn.iter().any(shows), "{}", path.display());
    }
    assert!(wrapped > 0, "the heads of tables say that their keys are wrapped");

    check_refused(&fs, Some(&Encryption::new(Service::new(2))), ErrorKind::UnknownKey);
    check_refused(&fs, Some(&encryption()), ErrorKind::UnknownKey);
    let tree = Tree::open(options(&fs, Some(&Encryption::new(Service::new(1))))).unwrap();
    assert_eq!(contents(&tree).unwrap().len(), 40);
}
