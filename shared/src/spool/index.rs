//! What is known in memory of each bucket: whether newer updates have to go behind what it holds, here or in
//! another ingress's spool, and whether it may be drained. Pure: it holds no update and reads no clock.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::BUCKETS;
use super::table::{Head, Removed};

#[derive(Clone, Copy, Default)]
struct Bucket {
    /// Records being written.
    writing: u32,
    /// Records whose publish was begun before they were spooled, and may still be confirmed.
    pending: u32,
    /// The lowest record on disk.
    head: Option<Head>,
    /// A write failed: what is on disk has to be looked at.
    unsure: bool,
    draining: bool,
    /// It was refused a moment ago.
    rests_until: Option<Instant>,
    /// The lowest update_id that another ingress's spool holds.
    elsewhere: Option<u64>,
}

impl Bucket {
    fn is_ours(&self) -> bool {
        // What a failed write may have left was not accepted: nobody has to wait for it.
        self.writing > 0 || self.pending > 0 || self.head.is_some() || self.draining
    }

    fn is_behind(&self) -> bool {
        self.is_ours() || self.elsewhere.is_some()
    }

    /// Up to which update_id it may be drained now, if at all.
    fn ready(&self, now: Instant) -> Option<u64> {
        let last = self.elsewhere.unwrap_or(u64::MAX);
        let has_some = self.unsure || self.head.is_some_and(|head| head.update_id <= last);
        let rests = self.rests_until.is_some_and(|until| now < until);
        (has_some && self.pending == 0 && !self.draining && !rests).then_some(last)
    }
}

pub(super) struct Index {
    buckets: Mutex<Vec<Bucket>>,
    /// How many are behind something: while none is, a new update costs one look at this.
    behind: AtomicUsize,
    /// How many have to be looked at.
    unsure: AtomicUsize,
    /// Where the next round of draining begins, so that every bucket has its turn.
    turn: AtomicUsize,
}

impl Index {
    pub fn new(heads: &[(u16, Head)]) -> Self {
        let buckets = Mutex::new(vec![Bucket::default(); usize::from(BUCKETS)]);
        let index = Self {
            buckets,
            behind: AtomicUsize::new(0),
            unsure: AtomicUsize::new(0),
            turn: AtomicUsize::new(0),
        };
        for (bucket, head) in heads {
            index.change(*bucket, |it| it.head = Some(*head));
        }
        index
    }

    /// Whether an update of this bucket would overtake one that is spooled.
    pub fn is_behind(&self, bucket: u16) -> bool {
        self.behind.load(Ordering::Acquire) > 0
            && self.lock().get(usize::from(bucket)).is_some_and(Bucket::is_behind)
    }

    /// A record is about to be written; `pending` if its publish may still be confirmed.
    pub fn begin(&self, bucket: u16, pending: bool) {
        self.change(bucket, |it| {
            it.writing += 1;
            it.pending += u32::from(pending);
        });
    }

    /// It is on disk.
    pub fn stored(&self, bucket: u16, head: Head) {
        self.change(bucket, |it| {
            if it.head.is_none_or(|lowest| head.update_id < lowest.update_id) {
                it.head = Some(head);
            }
        });
    }

    /// Its write has ended.
    pub fn written(&self, bucket: u16, failed: bool) {
        self.change(bucket, |it| {
            it.writing = it.writing.saturating_sub(1);
            it.unsure |= failed;
        });
    }

    /// Its publish was confirmed, or never will be.
    pub fn resolved(&self, bucket: u16) {
        self.change(bucket, |it| it.pending = it.pending.saturating_sub(1));
    }

    /// Records were removed, and this is the lowest now.
    pub fn removed(&self, bucket: u16, removed: &Removed) {
        self.change(bucket, |it| (it.head, it.unsure) = (removed.head, false));
    }

    /// The buckets that may be drained now, at most so many, each with the update_id up to which; they count as
    /// being drained from here on.
    pub fn take_ready(&self, most: usize, now: Instant) -> Vec<(u16, u64)> {
        let mut buckets = self.lock();
        let first = self.turn.load(Ordering::Relaxed) as u16;
        let mut ready = Vec::new();
        for bucket in (first..BUCKETS).chain(0..first) {
            if ready.len() == most {
                break;
            }
            let Some(it) = buckets.get_mut(usize::from(bucket)) else { continue };
            if let Some(last) = it.ready(now) {
                self.counted(it, |it| it.draining = true);
                ready.push((bucket, last));
            }
        }
        ready
    }

    /// The next round begins with this one, which had no room in this one.
    pub fn has_turn(&self, bucket: u16) {
        self.turn.store(usize::from(bucket), Ordering::Relaxed);
    }

    /// It is no longer being drained; after a failure it rests until then.
    pub fn drained(&self, bucket: u16, rests_until: Option<Instant>) {
        self.change(bucket, |it| (it.draining, it.rests_until) = (false, rests_until));
    }

    /// What the other ingresses hold: the lowest update_id of each of their buckets.
    pub fn set_elsewhere(&self, heads: &HashMap<u16, u64>) {
        let mut buckets = self.lock();
        for (bucket, it) in (0..).zip(buckets.iter_mut()) {
            self.counted(it, |it| it.elsewhere = heads.get(&bucket).copied());
        }
    }

    /// Each bucket's lowest update, for those that hold any.
    pub fn heads(&self) -> Vec<(u16, Head)> {
        let buckets = self.lock();
        (0..).zip(buckets.iter()).filter_map(|(number, it)| Some((number, it.head?))).collect()
    }

    /// Whether there is nothing to drain, now or later.
    pub fn is_idle(&self) -> bool {
        self.behind.load(Ordering::Acquire) == 0 && self.unsure.load(Ordering::Acquire) == 0
    }

    fn change(&self, bucket: u16, change: impl FnOnce(&mut Bucket)) {
        if let Some(it) = self.lock().get_mut(usize::from(bucket)) {
            self.counted(it, change);
        }
    }

    fn counted(&self, it: &mut Bucket, change: impl FnOnce(&mut Bucket)) {
        let (was_behind, was_unsure) = (it.is_behind(), it.unsure);
        change(it);
        count(&self.behind, was_behind, it.is_behind());
        count(&self.unsure, was_unsure, it.unsure);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Bucket>> {
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn count(of: &AtomicUsize, before: bool, now: bool) {
    match (before, now) {
        (false, true) => of.fetch_add(1, Ordering::Release),
        (true, false) => of.fetch_sub(1, Ordering::Release),
        _ => 0,
    };
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn head(update_id: u64) -> Head {
        Head { update_id, received_ms: 1 }
    }

    fn index() -> (Index, Instant) {
        (Index::new(&[(7, head(70))]), Instant::now())
    }

    #[test]
    fn what_a_file_held_is_waited_for_from_the_start() {
        let (index, now) = index();
        assert!(index.is_behind(7) && !index.is_behind(8));
        assert_eq!(index.take_ready(9, now), [(7, u64::MAX)]);
        assert_eq!(index.take_ready(9, now), [], "it is being drained already");
        index.removed(7, &Removed::default());
        assert!(index.is_behind(7), "until the drain has ended");
        index.drained(7, None);
        assert!(!index.is_behind(7));
        assert_eq!(index.behind.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn an_update_goes_behind_one_that_is_being_written() {
        let (index, now) = (Index::new(&[]), Instant::now());
        index.begin(1, false);
        assert!(index.is_behind(1));
        assert_eq!(index.take_ready(9, now), [], "not on disk yet");
        index.stored(1, head(5));
        index.stored(1, head(3));
        index.stored(1, head(4));
        index.written(1, false);
        assert_eq!(index.heads(), [(1, head(3))]);
        assert_eq!(index.take_ready(9, now), [(1, u64::MAX)]);
    }

    #[test]
    fn what_may_still_be_confirmed_is_not_published_again() {
        let (index, now) = (Index::new(&[]), Instant::now());
        index.begin(1, true);
        index.stored(1, head(3));
        index.written(1, false);
        assert_eq!(index.take_ready(9, now), []);
        index.resolved(1);
        assert_eq!(index.take_ready(9, now), [(1, u64::MAX)]);
    }

    #[test]
    fn a_lower_update_elsewhere_comes_first() {
        let (index, now) = index();
        index.set_elsewhere(&HashMap::from([(7, 69), (8, 1)]));
        assert!(index.is_behind(8), "new updates go behind what another holds");
        assert_eq!(index.take_ready(9, now), []);
        index.set_elsewhere(&HashMap::from([(7, 71)]));
        assert!(!index.is_behind(8));
        assert_eq!(index.take_ready(9, now), [(7, 71)]);
    }

    #[test]
    fn after_a_failed_write_the_bucket_is_looked_at() {
        let (index, now) = (Index::new(&[]), Instant::now());
        index.begin(1, false);
        index.written(1, true);
        assert!(!index.is_behind(1) && !index.is_idle(), "it was not accepted, and may be there");
        assert_eq!(index.take_ready(9, now), [(1, u64::MAX)]);
        index.removed(1, &Removed::default());
        index.drained(1, None);
        assert!(!index.is_behind(1) && index.is_idle());
    }

    #[test]
    fn a_bucket_that_was_refused_rests() {
        let (index, now) = index();
        index.take_ready(9, now);
        index.drained(7, Some(now + Duration::from_secs(1)));
        assert_eq!(index.take_ready(9, now), []);
        assert_eq!(index.take_ready(9, now + Duration::from_secs(1)).len(), 1);
    }

    #[test]
    fn every_bucket_has_its_turn() {
        let heads: Vec<_> = (0..6).map(|bucket| (bucket, head(1))).collect();
        let (index, now) = (Index::new(&heads), Instant::now());
        let mut seen = Vec::new();
        for _ in 0..3 {
            // As a drain does that has room for two.
            let ready = index.take_ready(1024, now);
            seen.extend(ready[..2].iter().map(|(bucket, _)| *bucket));
            index.has_turn(ready[2].0);
            ready.iter().for_each(|(bucket, _)| index.drained(*bucket, None));
        }
        assert_eq!(seen, [0, 1, 2, 3, 4, 5]);
    }
}
