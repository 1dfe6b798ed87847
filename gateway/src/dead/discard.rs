//! Removing letters for ever, a batch at a time, so that it can be stopped.

use std::sync::Arc;

use serde_json::json;
use shared::program::{Failure, Stopped};
use tokio_util::sync::CancellationToken;

use super::entry::Entry;
use super::source::Source;
use crate::output::{Output, note, say};

/// Letters between two looks at Ctrl-C.
const BATCH: usize = 1024;

/// How many were removed when all were, or when it was stopped. `done` hears of each batch.
pub async fn discard(
    source: &mut Source,
    entries: &[Arc<Entry>],
    stop: &CancellationToken,
    mut done: impl FnMut(usize),
) -> Result<usize, Failure> {
    let mut removed = 0;
    for batch in entries.chunks(BATCH) {
        if stop.is_cancelled() {
            break;
        }
        source.remove(batch).await?;
        removed += batch.len();
        done(batch.len());
    }
    Ok(removed)
}

/// Tells how many were removed, of how many; none where nobody agreed to that.
pub fn told(discarded: Option<(usize, usize)>, output: Output) -> Result<Stopped, Failure> {
    let (removed, chosen) = discarded.unwrap_or_default();
    let words = match discarded {
        None => "nothing was discarded".to_owned(),
        Some(_) if removed == chosen => format!("discarded: {removed}"),
        Some(_) => format!("discarded: {removed} of {chosen}"),
    };
    match output {
        Output::Json => say(&json!({ "discarded": removed }).to_string())?,
        Output::Words => say(&words)?,
    }
    if removed < chosen {
        note(&format!("stopped: told to, with {removed} of {chosen} discarded; the others are left"));
    }
    Ok(match discarded {
        Some(_) if removed == chosen => Stopped::Clean,
        Some(_) if removed > 0 => Stopped::Partly,
        _ => Stopped::TimeRanOut,
    })
}

#[cfg(test)]
mod tests {
    use shared::queue::Letter;

    use super::*;
    use crate::dead::entry::Place;

    #[tokio::test]
    async fn a_stop_leaves_the_next_batches_and_is_partly_done() {
        let letter = || Letter::malformed(String::new(), None, None, "x".into());
        let entries = (0..2 * BATCH + 1).map(|at| Entry::new(at.to_string(), letter(), Place::Embedded(0)));
        let entries: Vec<Arc<Entry>> = entries.map(Arc::new).collect();
        let stop = CancellationToken::new();
        let mut seen = Vec::new();
        let removed = discard(&mut Source::Nothing, &entries, &stop, |count| seen.push(count)).await;
        assert_eq!((removed.unwrap(), seen.as_slice()), (entries.len(), &[BATCH, BATCH, 1][..]));
        let removed = discard(&mut Source::Nothing, &entries, &stop, |_| stop.cancel()).await.unwrap();
        assert_eq!(removed, BATCH);
        let ended = |discarded| told(discarded, Output::Words).unwrap();
        assert_eq!(ended(Some((removed, entries.len()))), Stopped::Partly);
        assert_eq!(discard(&mut Source::Nothing, &entries, &stop, |_| {}).await.unwrap(), 0);
        assert_eq!(ended(Some((0, 1))), Stopped::TimeRanOut);
        assert_eq!(ended(None), Stopped::TimeRanOut);
        assert_eq!(ended(Some((0, 0))), Stopped::Clean);
    }
}
