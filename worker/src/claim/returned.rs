//! The first updates of a claim: those that were handed out before come first, in any order (facts R4).

use std::time::Duration;

use shared::queue::{Delivery, Updates};
use tokio::time::{Instant, timeout_at};

/// No more are waited for after this much silence, where all that were in the queue are here.
const SILENCE: Duration = Duration::from_millis(250);

/// For so long after the first fresh update of a claim a returned one may still come: a node that has just
/// started, or a cluster that has just changed its leader, can tell a wrong number of them (facts R6a).
const LATE_RETURNS: Duration = Duration::from_millis(150);

/// Updates that were in the queue and don't come: somebody emptied it.
const PATIENCE: Duration = Duration::from_secs(2);

/// The beginning of a claim.
pub struct First {
    /// Sorted by update_id.
    pub returned: Vec<Delivery>,
    pub fresh: Vec<Delivery>,
}

/// Collects until all that were in the queue when it was claimed are here, or as many as may be in hand. Where
/// updates come in order there is nothing to collect.
pub async fn settle_down(first: Option<Delivery>, updates: &mut Updates, prefetch: u16) -> First {
    let mut returned = Vec::from_iter(first);
    let mut fresh = Vec::new();
    let Some(in_queue) = updates.returned else { return First { returned, fresh } };
    let enough = usize::from(prefetch).min(in_queue as usize);
    let mut fresh_since = None;
    loop {
        let count = returned.len() + fresh.len();
        if count >= usize::from(prefetch) {
            break;
        }
        let now = Instant::now();
        let until = match fresh_since {
            _ if count < enough => now + PATIENCE,
            Some(since) => (now + SILENCE).min(since + LATE_RETURNS),
            None => now + SILENCE,
        };
        match timeout_at(until, updates.deliveries.recv()).await {
            Ok(Some(delivery)) if delivery.redelivered => returned.push(delivery),
            Ok(Some(delivery)) => {
                fresh.push(delivery);
                fresh_since.get_or_insert(now);
            }
            Ok(None) | Err(_) => break,
        }
    }
    returned.sort_by_key(|delivery| delivery.content.as_ref().map_or(0, |envelope| envelope.update_id));
    First { returned, fresh }
}
