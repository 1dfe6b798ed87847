//! The bytes of the chosen letters while a replay or an export goes on: in a file that has no name, since a hundred
//! thousand updates need not fit in memory, and nobody else shall read them.

use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::FileExt as _;

use bytes::Bytes;
use shared::program::Failure;
use shared::queue::Letter;

use super::entry::{Entry, Kept};

pub struct Spill {
    file: std::io::BufWriter<File>,
    end: u64,
}

impl Spill {
    pub fn new() -> Result<Self, Failure> {
        let file = tempfile::tempfile().map_err(failed)?;
        Ok(Self { file: std::io::BufWriter::with_capacity(1 << 18, file), end: 0 })
    }

    /// Forgets all that is in it.
    pub fn clear(&mut self) -> Result<(), Failure> {
        self.file.seek(SeekFrom::Start(0)).map_err(failed)?;
        self.file.get_ref().set_len(0).map_err(failed)?;
        self.end = 0;
        Ok(())
    }

    pub fn keep(&mut self, letter: &Letter) -> Result<Kept, Failure> {
        let (update, rest) = (letter.body.len(), letter.rest.as_ref().map(Bytes::len));
        self.file.write_all(&letter.body).map_err(failed)?;
        self.file.write_all(letter.rest.as_deref().unwrap_or_default()).map_err(failed)?;
        let kept = Kept { at: self.end, update, rest };
        self.end += (update + rest.unwrap_or(0)) as u64;
        Ok(kept)
    }

    /// All that was kept can be read from now on.
    pub fn flush(&mut self) -> Result<(), Failure> {
        self.file.flush().map_err(failed)
    }

    /// The letter with its bytes; without any where none were kept.
    pub fn letter(&self, entry: &Entry) -> Result<Letter, Failure> {
        let Some(Kept { at, update, rest }) = entry.kept else { return Ok(entry.letter.clone()) };
        let mut bytes = vec![0; update + rest.unwrap_or(0)];
        self.file.get_ref().read_exact_at(&mut bytes, at).map_err(failed)?;
        let mut bytes = Bytes::from(bytes);
        let body = bytes.split_to(update);
        Ok(Letter { body, rest: rest.map(|_| bytes), ..entry.letter.clone() })
    }
}

fn failed(error: std::io::Error) -> Failure {
    Failure::Failed(format!("a temporary file can't be used: {error}"))
}
