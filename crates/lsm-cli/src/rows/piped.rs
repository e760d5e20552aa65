//! Input that may keep us waiting: read by a thread of its own, so that Ctrl-C need not wait with it.

use std::{
    io::{self, Read},
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    thread,
    time::Duration,
};

use lsm::tree::Cancel;

use crate::failure::Failure;

const CHUNK_LEN: usize = 256 << 10;
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Bytes that another thread reads.
pub(super) struct Piped {
    chunks: Receiver<io::Result<Vec<u8>>>,
    chunk: Vec<u8>,
    used: usize,
    cancel: Cancel,
}

impl Piped {
    /// Reads `input` until its end. The thread is left behind when the program ends before.
    pub(super) fn start(input: impl Read + Send + 'static, cancel: Cancel) -> Result<Self, Failure> {
        let (sender, chunks) = sync_channel(2);
        let pump = move || pump(input, &sender);
        thread::Builder::new().name("input".to_owned()).spawn(pump).map_err(Failure::Thread)?;
        Ok(Self { chunks, chunk: Vec::new(), used: 0, cancel })
    }
}

fn pump(mut input: impl Read, chunks: &SyncSender<io::Result<Vec<u8>>>) {
    loop {
        let mut chunk = vec![0; CHUNK_LEN];
        let outcome = match input.read(&mut chunk) {
            Ok(0) => return,
            Ok(len) => {
                chunk.truncate(len);
                Ok(chunk)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => Err(error),
        };
        let is_last = outcome.is_err();
        if chunks.send(outcome).is_err() || is_last {
            return;
        }
    }
}

impl Read for Piped {
    /// Ends early when the flag is raised: whoever raised it looks at it, too.
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.used == self.chunk.len() {
            if self.cancel.is_cancelled() {
                return Ok(0);
            }
            match self.chunks.recv_timeout(LOOK_AGAIN) {
                Ok(chunk) => (self.chunk, self.used) = (chunk?, 0),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(0),
            }
        }
        let mut rest = self.chunk.get(self.used..).unwrap_or_default();
        let len = rest.read(out)?;
        self.used += len;
        Ok(len)
    }
}
