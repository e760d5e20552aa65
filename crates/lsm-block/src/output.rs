//! Where the bytes of a file that is written go.

use alloc::vec::Vec;

use lsm_types::Result;

/// Where the bytes of a file go, front to back.
pub trait Output {
    /// Takes the next bytes.
    fn write(&mut self, bytes: &[u8]) -> Result<()>;

    /// Takes `len` zero bytes; a file system that can leaves a hole.
    fn skip(&mut self, mut len: u64) -> Result<()> {
        let zeros = [0; 4 << 10];
        while len > 0 {
            let piece = usize::try_from(len).unwrap_or(usize::MAX).min(zeros.len());
            self.write(zeros.get(..piece).unwrap_or_default())?;
            len -= piece as u64;
        }
        Ok(())
    }
}

impl Output for Vec<u8> {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.extend_from_slice(bytes);
        Ok(())
    }
}

impl<O: Output + ?Sized> Output for &mut O {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        (**self).write(bytes)
    }

    fn skip(&mut self, len: u64) -> Result<()> {
        (**self).skip(len)
    }
}
