//! A spool's file that no ingress has open, and its bytes where its structure is broken.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;

use super::super::scan::{Found, scan_with_places};
use super::{Content, Place, Stored, Wanted, page};
use crate::database::{Look, Unreadable};
use crate::spool::BUCKETS;

/// What is read at a time where bytes are looked for.
const STEP: usize = 8 * 1024 * 1024;

/// The next records of a spool's file that no process has open. Empty behind the last. Blocks.
pub fn page_of(file: &Look, wanted: Wanted) -> Result<Vec<Stored>, Unreadable> {
    file.read(|txn| page(txn, wanted))
}

/// What a search through a file's bytes came upon, and at which of them it begins.
pub struct Scanned {
    pub offset: u64,
    pub stored: Stored,
}

/// Shows `found` every record of the last week that the file's bytes hold, also one that begins like a record and is
/// damaged. Some of them may have been taken out of the spool already. Blocks.
pub fn scan_file(path: &Path, bodies: bool, mut found: impl FnMut(Scanned)) {
    let mut letters = 0;
    let looking = scan_with_places(path, |what, offset, record| {
        let place = match &what {
            Found::Update(it) | Found::Bad(it) => {
                Place::Update { bucket: it.partition(BUCKETS), update_id: it.update_id }
            }
            Found::Letter => {
                letters += 1;
                Place::Letter { sequence: letters - 1 }
            }
        };
        let stored = match what {
            Found::Bad(_) => Stored {
                place,
                length: record.len() as u64,
                content: Content::Damaged(bytes::Bytes::new()),
                body: None,
            },
            _ => super::stored(place, record, bodies),
        };
        found(Scanned { offset, stored });
        Ok::<_, std::convert::Infallible>(())
    });
    let Ok(()) = looking;
}

/// Where in the file these bytes begin. Blocks.
pub fn find(path: &Path, bytes: &[u8]) -> Option<u64> {
    let first = bytes.first()?;
    let mut file = std::fs::File::open(path).ok()?;
    let (mut window, mut base) = (Vec::new(), 0);
    loop {
        let kept = window.len().min(bytes.len() - 1);
        base += (window.len() - kept) as u64;
        window.drain(..window.len() - kept);
        file.seek(SeekFrom::Start(base + kept as u64)).ok()?;
        if file.by_ref().take(STEP as u64).read_to_end(&mut window).ok()? == 0 {
            return None;
        }
        let starts = window.iter().enumerate().filter(|(_, byte)| *byte == first);
        let found = starts.map(|(at, _)| at).find(|at| window[*at..].starts_with(bytes));
        if let Some(at) = found {
            return Some(base + at as u64);
        }
    }
}
