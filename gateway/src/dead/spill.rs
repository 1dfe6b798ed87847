//! The bytes of letters while they are in hand: in a file that has no name, since a hundred thousand updates need not fit
//! in memory, and nobody else shall read them.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use bytes::Bytes;
use shared::program::Failure;
use shared::queue::Letter;

use super::entry::{Entry, Kept};

/// Bytes that are written at once.
const CHUNK: usize = 1 << 18;

/// The most bytes that are kept of letters that nobody asked for, so that somebody else may look at them.
const SPARE: u64 = 256 * 1024 * 1024;

/// One file, of which the end is in memory until there is a chunk of it.
struct Pile {
    file: File,
    written: u64,
    ahead: Vec<u8>,
}

impl Pile {
    fn new() -> Result<Self, Failure> {
        let file = tempfile::tempfile().map_err(failed)?;
        Ok(Self { file, written: 0, ahead: Vec::with_capacity(CHUNK) })
    }

    fn clear(&mut self) -> Result<(), Failure> {
        self.file.set_len(0).map_err(failed)?;
        self.written = 0;
        self.ahead.clear();
        Ok(())
    }

    fn end(&self) -> u64 {
        self.written + self.ahead.len() as u64
    }

    /// Nothing is lost where the disk fails: the same again may go well.
    fn flush(&mut self) -> Result<(), Failure> {
        self.file.write_all_at(&self.ahead, self.written).map_err(failed)?;
        self.written = self.end();
        self.ahead.clear();
        Ok(())
    }

    fn keep(&mut self, letter: &Letter, spare: bool) -> (Kept, Result<(), Failure>) {
        let (update, rest) = (letter.body.len(), letter.rest.as_ref().map(Bytes::len));
        let kept = Kept { at: self.end(), update, rest, spare };
        self.ahead.extend_from_slice(&letter.body);
        self.ahead.extend_from_slice(letter.rest.as_deref().unwrap_or_default());
        (kept, if self.ahead.len() >= CHUNK { self.flush() } else { Ok(()) })
    }
}

pub struct Spill {
    chosen: Pile,
    /// None where the disk has no room for it.
    spare: Option<Pile>,
}

impl Spill {
    pub fn new() -> Result<Self, Failure> {
        Ok(Self { chosen: Pile::new()?, spare: Some(Pile::new()?) })
    }

    /// Forgets all that is in it.
    pub fn clear(&mut self) -> Result<(), Failure> {
        self.chosen.clear()?;
        self.spare.as_mut().map_or(Ok(()), Pile::clear)
    }

    /// What was asked for has the room of what was not.
    pub fn keep(&mut self, letter: &Letter) -> Result<Kept, Failure> {
        let (kept, written) = self.chosen.keep(letter, false);
        if written.is_err() && self.spare.take().is_some() {
            self.chosen.flush()?;
        } else {
            written?;
        }
        Ok(kept)
    }

    /// For others to look at, while there is room.
    pub fn keep_spare(&mut self, letter: &Letter) -> Option<Kept> {
        let pile = self.spare.as_mut().filter(|pile| pile.end() < SPARE)?;
        let (kept, written) = pile.keep(letter, true);
        if written.is_err() {
            self.spare = None;
            return None;
        }
        Some(kept)
    }

    /// All that was kept can be read from now on.
    pub fn flush(&mut self) -> Result<(), Failure> {
        if self.spare.as_mut().is_some_and(|pile| pile.flush().is_err()) {
            self.spare = None;
        }
        self.chosen.flush()
    }

    /// Another end of it, which reads what is flushed by now.
    pub fn reader(&self) -> Result<Reader, Failure> {
        let copy = |pile: &Pile| pile.file.try_clone().map_err(failed);
        Ok(Reader { chosen: copy(&self.chosen)?, spare: self.spare.as_ref().map(copy).transpose()? })
    }

    /// The letter with its bytes; without any where none were kept.
    pub fn letter(&self, entry: &Entry) -> Result<Letter, Failure> {
        match entry.kept {
            Some(kept) if !kept.spare => read(&self.chosen.file, kept, entry),
            _ => Ok(entry.letter.clone()),
        }
    }
}

/// Reads beside its owner.
pub struct Reader {
    chosen: File,
    spare: Option<File>,
}

impl Reader {
    /// None where its bytes were not kept, or are no longer there.
    pub fn letter(&self, entry: &Entry) -> Option<Letter> {
        let kept = entry.kept?;
        let file = if kept.spare { self.spare.as_ref()? } else { &self.chosen };
        read(file, kept, entry).ok()
    }
}

fn read(file: &File, Kept { at, update, rest, .. }: Kept, entry: &Entry) -> Result<Letter, Failure> {
    let mut bytes = vec![0; update + rest.unwrap_or(0)];
    file.read_exact_at(&mut bytes, at).map_err(failed)?;
    let mut bytes = Bytes::from(bytes);
    let body = bytes.split_to(update);
    Ok(Letter { body, rest: rest.map(|_| bytes), ..entry.letter.clone() })
}

fn failed(error: std::io::Error) -> Failure {
    Failure::Failed(format!("a temporary file can't be used: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dead::entry::Place;

    fn letter(body: &'static str, rest: Option<&'static str>) -> Letter {
        let letter = Letter::malformed(String::new(), None, None, body.into());
        Letter { rest: rest.map(Bytes::from), ..letter }
    }

    #[test]
    fn what_was_kept_is_read_by_its_owner_and_beside_it() {
        let mut spill = Spill::new().unwrap();
        let letters = [letter("one", None), letter("two", Some("still to send")), letter("three", Some(""))];
        let entries: Vec<Entry> = letters
            .iter()
            .enumerate()
            .map(|(at, letter)| {
                let kept = if at == 1 { spill.keep_spare(letter) } else { spill.keep(letter).ok() };
                let mut entry = Entry::new(at.to_string(), letter.clone(), Place::Embedded(0));
                entry.kept = kept;
                entry
            })
            .collect();
        spill.flush().unwrap();
        let reader = spill.reader().unwrap();
        for (entry, letter) in entries.iter().zip(&letters) {
            assert_eq!(reader.letter(entry).as_ref(), Some(letter));
        }
        assert_eq!(spill.letter(&entries[2]).unwrap(), letters[2]);
        spill.clear().unwrap();
        assert_eq!(reader.letter(&entries[0]), None);
    }
}
