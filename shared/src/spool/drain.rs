//! Brings what is spooled to the broker: each bucket in order, one record at a time, many buckets at once.
//!
//! One at a time, because a broker may refuse an update and take the next: with two of one chat on the way the
//! second would overtake the first. Over a thousand buckets that is as fast as plain publishing.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::FutureExt as _;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio_util::sync::CancellationToken;

use super::inner::Inner;
use super::table::{self, Page};
use super::{BUCKETS, events};
use crate::queue::{Letter, PublishError, Publisher, record};
use crate::traces::{Kind, Span};

/// Records of a bucket that are read at a time. They are removed together, so this is what a crash has
/// published again, and what a bucket saves in commits.
const RECORDS: usize = 16;

/// A bucket's page has no more bytes than this, but for a single large record.
const PAGE_BYTES: usize = 64 * 1024;

/// The most bytes read and not yet removed (I5); one page may go over it.
const BYTES: usize = 8 * 1024 * 1024;

/// A bucket that was refused is tried again after this.
const REST: Duration = Duration::from_millis(250);

/// How often it is looked whether the broker takes something again.
const LOOK: Duration = Duration::from_millis(50);

/// Letters that are published at once.
const LETTERS: usize = 64;

pub(super) struct Drain {
    pub inner: Arc<Inner>,
    pub publisher: Publisher,
}

impl Drain {
    /// Drains until `stop`; what is on its way then stays on disk too, and is found to have been seen.
    pub async fn run(self, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.updates() => {}
            () = self.letters() => {}
        }
    }

    async fn updates(&self) {
        let mut runs = FuturesUnordered::new();
        let mut bytes = 0;
        loop {
            if bytes < BYTES && self.may_begin() {
                for page in self.read(usize::from(BUCKETS) - runs.len(), BYTES - bytes).await {
                    bytes += page.bytes;
                    runs.push(self.run_of(page));
                }
            }
            let idle = self.inner.index.is_idle();
            tokio::select! {
                Some(ended) = runs.next() => {
                    bytes -= ended;
                    while let Some(Some(ended)) = runs.next().now_or_never() {
                        bytes -= ended;
                    }
                }
                () = self.inner.changed.notified() => {}
                () = tokio::time::sleep(LOOK), if !idle => {}
            }
        }
    }

    fn may_begin(&self) -> bool {
        self.publisher.takes() && self.inner.settled.load(Ordering::Relaxed)
    }

    /// The next page of each bucket that is ready.
    async fn read(&self, most: usize, bytes: usize) -> Vec<Page> {
        let ready = self.inner.index.take_ready(most, Instant::now());
        if ready.is_empty() {
            return Vec::new();
        }
        let wanted = ready.clone();
        let reading =
            self.inner.database.read(move |txn| table::pages(txn, &wanted, RECORDS, PAGE_BYTES, bytes));
        let (pages, rest) = match reading.await {
            Ok(pages) => (pages, None),
            Err(error) => {
                events::unread(&error);
                (Vec::new(), Some(Instant::now() + REST))
            }
        };
        // Those that had no room this time are the first of the next.
        if let Some((bucket, _)) = ready.get(pages.len()) {
            self.inner.index.has_turn(*bucket);
        }
        ready.iter().skip(pages.len()).for_each(|(bucket, _)| self.inner.index.drained(*bucket, rest));
        pages
    }

    /// Publishes a bucket's page and removes what was confirmed; the bytes of the page.
    async fn run_of(&self, page: Page) -> usize {
        let Page { bucket, records, bytes } = page;
        let mut confirmed = Vec::with_capacity(records.len());
        let mut failed = false;
        for (update_id, bytes) in records {
            match self.publish(bytes).await {
                Ok(()) => confirmed.push(update_id),
                Err(error) => {
                    events::refused(&error);
                    failed = true;
                    break;
                }
            }
        }
        let count = confirmed.len() as u64;
        // Also with none: after a write that failed this is how the bucket is looked at. What is confirmed is not
        // published again because a disk is full: only its removal is tried again.
        while let Err(error) = self.inner.remove(bucket, confirmed.clone()).await {
            events::unwritten(&error);
            tokio::time::sleep(REST).await;
        }
        events::drained(count);
        self.inner.index.drained(bucket, failed.then(|| Instant::now() + REST));
        self.inner.announce.notify_one();
        bytes
    }

    async fn publish(&self, bytes: Bytes) -> Result<(), PublishError> {
        let published = match record::to_update(bytes) {
            Ok(envelope) => {
                // Nothing is said of what had no trace when it was spooled.
                let traceparent = envelope.traceparent.as_deref();
                let span = traceparent.map(|given| Span::begin("drain", Kind::Producer, Some(given)));
                let published = self.publisher.publish(&envelope).await;
                if let Some(span) = span {
                    if published.is_ok() { span.outcome("confirmed") } else { span.failed("refused") }
                }
                published
            }
            Err(bytes) => {
                events::unreadable();
                self.publisher.bury(&unreadable(bytes)).await
            }
        };
        published.inspect(|()| self.inner.trust())
    }

    async fn letters(&self) {
        loop {
            if self.inner.letters.load(Ordering::Relaxed) > 0 && self.may_begin() {
                self.drain_letters().await;
            }
            tokio::time::sleep(REST).await;
        }
    }

    async fn drain_letters(&self) {
        let mut after = None;
        loop {
            let reading = self.inner.database.read(move |txn| table::letters(txn, after, LETTERS));
            let page = match reading.await {
                Ok(page) if page.is_empty() => return,
                Ok(page) => page,
                Err(error) => return events::unread(&error),
            };
            after = page.last().map(|(sequence, _)| *sequence);
            let burying = page.into_iter().map(async |(sequence, bytes)| {
                let letter = record::to_letter(bytes.clone()).unwrap_or_else(|| unreadable(bytes));
                self.publisher.bury(&letter).await.ok().map(|()| sequence)
            });
            let buried: Vec<u64> =
                futures_util::future::join_all(burying).await.into_iter().flatten().collect();
            let count = buried.len() as u64;
            match self.inner.remove_letters(buried).await {
                Ok(()) => events::drained(count),
                Err(error) => return events::unread(&error),
            }
        }
    }
}

fn unreadable(bytes: Bytes) -> Letter {
    Letter::malformed("a record of the spool can't be read".to_owned(), None, None, bytes)
}
