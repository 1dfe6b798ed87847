//! A file that redb may write to without its being written: what it writes stays in memory. After a crash redb mends a
//! file before it reads it, and an operator who only looks must not be the one who does that.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

use redb::StorageBackend;

/// What is copied at a time: a page of redb's.
const BLOCK: u64 = 4096;

#[derive(Debug)]
pub(super) struct Overlay {
    file: File,
    over: Mutex<Over>,
}

#[derive(Debug)]
struct Over {
    length: u64,
    /// How much of the file is seen: what lies behind it once it was cut is zeros.
    seen: u64,
    blocks: HashMap<u64, Box<[u8; BLOCK as usize]>>,
}

impl Overlay {
    pub fn new(file: File) -> io::Result<Self> {
        let length = file.metadata()?.len();
        let over = Mutex::new(Over { length, seen: length, blocks: HashMap::new() });
        Ok(Self { file, over })
    }

    fn over(&self) -> MutexGuard<'_, Over> {
        self.over.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The file's own bytes from `offset` on, zeros behind its end.
    fn below(&self, seen: u64, offset: u64, out: &mut [u8]) -> io::Result<()> {
        out.fill(0);
        let there = seen.saturating_sub(offset).min(out.len() as u64) as usize;
        self.file.read_exact_at(&mut out[..there], offset)
    }
}

/// The blocks that a stretch touches: which, where in it, and where in the stretch.
fn blocks(offset: u64, length: usize) -> impl Iterator<Item = (u64, usize, std::ops::Range<usize>)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let place = offset + at as u64;
        let within = (place % BLOCK) as usize;
        let many = (BLOCK as usize - within).min(length - at);
        let step = (place / BLOCK, within, at..at + many);
        at += many;
        (many > 0).then_some(step)
    })
}

impl StorageBackend for Overlay {
    fn len(&self) -> io::Result<u64> {
        Ok(self.over().length)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let over = self.over();
        self.below(over.seen, offset, out)?;
        for (block, within, range) in blocks(offset, out.len()) {
            if let Some(bytes) = over.blocks.get(&block) {
                let many = range.len();
                out[range].copy_from_slice(&bytes[within..within + many]);
            }
        }
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut over = self.over();
        over.blocks.retain(|block, _| block * BLOCK < length);
        over.seen = over.seen.min(length);
        over.length = length;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut over = self.over();
        for (block, within, range) in blocks(offset, data.len()) {
            if !over.blocks.contains_key(&block) {
                let mut bytes = Box::new([0; BLOCK as usize]);
                self.below(over.seen, block * BLOCK, &mut bytes[..])?;
                over.blocks.insert(block, bytes);
            }
            if let Some(bytes) = over.blocks.get_mut(&block) {
                let many = range.len();
                bytes[within..within + many].copy_from_slice(&data[range]);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again_and_the_file_stays_as_it_is() {
        let temporary = tempfile::NamedTempFile::new().unwrap();
        let bytes: Vec<u8> = (0..10_000_u32).map(|n| n as u8).collect();
        std::fs::write(temporary.path(), &bytes).unwrap();
        let overlay = Overlay::new(File::open(temporary.path()).unwrap()).unwrap();
        let mut model = bytes.clone();
        let mut write = |offset: usize, data: &[u8]| {
            overlay.write(offset as u64, data).unwrap();
            if model.len() < offset + data.len() {
                model.resize(offset + data.len(), 0);
                overlay.set_len(model.len() as u64).unwrap();
            }
            model[offset..offset + data.len()].copy_from_slice(data);
        };
        write(4090, &[7; 5000]);
        write(9999, &[8; 1]);
        overlay.set_len(20_000).unwrap();
        write(12_000, &[9; 8000]);
        model.resize(20_000, 0);
        let mut read = vec![1; 20_000];
        overlay.read(0, &mut read).unwrap();
        assert!(read[..9999] == model[..9999] && read[12_000..] == model[12_000..]);
        assert!(read[10_000..12_000].iter().all(|byte| *byte == 0));
        assert_eq!(std::fs::read(temporary.path()).unwrap(), bytes);
    }
}
