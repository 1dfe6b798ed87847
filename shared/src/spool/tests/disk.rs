//! A disk whose power can fail: what was not synced is lost, or there, or there in part.

use std::io;
use std::sync::{Arc, Mutex};

use redb::StorageBackend;

/// What a disk writes in one piece.
const SECTOR: usize = 512;

#[derive(Clone, Debug, Default)]
pub(super) struct Disk(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// What a reader sees.
    now: Vec<u8>,
    /// What is sure to survive.
    synced: Vec<u8>,
    /// What was written since, in order.
    unsynced: Vec<(u64, Vec<u8>)>,
    /// After so many more writes and syncs the power fails.
    left: Option<usize>,
}

impl State {
    fn step(&mut self) -> io::Result<()> {
        match &mut self.left {
            Some(0) => Err(io::Error::other("the power has failed")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

impl Disk {
    /// Lets the power fail after so many more writes.
    pub fn fail_after(&self, writes: usize) {
        self.0.lock().unwrap().left = Some(writes);
    }

    /// The disk as the next process finds it: `keep` decides for each write since the last sync how many of
    /// its sectors arrived, of so many.
    pub fn after_crash(&self, mut keep: impl FnMut(usize) -> usize) -> Self {
        let state = self.0.lock().unwrap();
        let mut found = state.synced.clone();
        // The length is the file system's business: it kept the last one, or an earlier one.
        if keep(1) == 1 {
            found.resize(state.now.len(), 0);
        }
        for (offset, data) in &state.unsynced {
            let sectors = data.len().div_ceil(SECTOR);
            let arrived = (keep(sectors) * SECTOR).min(data.len());
            let at = *offset as usize;
            if at + arrived <= found.len() {
                found[at..at + arrived].copy_from_slice(&data[..arrived]);
            }
        }
        let state = State { now: found.clone(), synced: found, ..State::default() };
        Self(Arc::new(Mutex::new(state)))
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().now.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.0.lock().unwrap();
        let at = offset as usize;
        let bytes = state.now.get(at..at + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        state.step()?;
        state.now.resize(len as usize, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        state.step()?;
        state.synced = state.now.clone();
        state.unsynced.clear();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        state.step()?;
        let at = offset as usize;
        let target = state.now.get_mut(at..at + data.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        target.copy_from_slice(data);
        state.unsynced.push((offset, data.to_vec()));
        Ok(())
    }
}
