//! Takes a request's body in. What large bodies cost is bounded for the whole process, whoever sends how
//! many of them at once (invariant I5): one that finds no room is not read on, and TCP slows its sender.
//!
//! A body that waits has what its connection has read ahead, some 0.4 MiB, so no more may wait than there
//! are seats; to who finds none, "come again" is said at once. Telegram itself never gets there: it has at
//! most 100 connections (facts T5), and one update in some thousands is large.
//!
//! A body takes its room once, for all of its length, and only when its first bytes are here. Room that
//! was taken piece by piece could fill up with halves, each waiting for the others' end; room that was
//! taken before the first bytes could be held by senders who do no more than announce. Who has the secret,
//! sends some and then stalls can hold up other large bodies, for `BODY_TIME`; small ones never.

use std::sync::Arc;
use std::time::Duration;

use actix_web::error::PayloadError;
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _};
use shared::update::MAX_BODY_BYTES;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};

/// A body that is not there after this is not coming: Telegram itself gives up after 60 s (facts T6).
const BODY_TIME: Duration = Duration::from_secs(10);

/// For so long what is over the limit is read and dropped.
const TOO_LARGE_TIME: Duration = Duration::from_millis(300);

/// All large bodies together. Beside each the broker's client may have a copy of its own.
const ROOM: usize = 16 * 1024 * 1024;

/// So many more may wait for room.
const SEATS: usize = 100;

/// Up to here a body needs no room, which is nearly every update (1 or 2 KiB): the server's own buffers of
/// a connection are larger. A sender of a byte a second never gets beyond it in `BODY_TIME`.
const SMALL: usize = 16 * 1024;

/// Room is counted in these, since a semaphore takes no more than 32 bits at once.
const UNIT: usize = 1024;

/// The memory that large bodies may have. Cheap to clone; clones share it.
#[derive(Clone)]
pub struct Room {
    free: Arc<Semaphore>,
    seats: Arc<Semaphore>,
}

pub enum Body {
    Whole(Bytes),
    TooLarge,
    /// It ended early or did not come in time.
    Broken,
    /// There was no room for it in time.
    NoRoom,
}

/// Reads a body of at most `MAX_BODY_BYTES`. `announced` is its length, where the request says it. Without
/// a `room` nothing is kept and what comes is empty: a stranger's body is read only so that the answer is
/// not lost to a reset. For the same reason what is over the limit is read for a moment more.
pub async fn read<S>(mut payload: S, announced: Option<usize>, room: Option<&Room>) -> Body
where
    S: Stream<Item = Result<Bytes, PayloadError>> + Unpin,
{
    let whole = announced.unwrap_or(MAX_BODY_BYTES);
    let body = take_in(&mut payload, whole, room.filter(|_| whole <= MAX_BODY_BYTES)).await;
    if matches!(body, Body::TooLarge) {
        let rest = async { while payload.next().await.is_some_and(|chunk| chunk.is_ok()) {} };
        // Whether it ended is all the same.
        let _ = timeout(TOO_LARGE_TIME, rest).await;
    }
    body
}

/// `whole` is the most that it can have.
async fn take_in<S>(payload: &mut S, whole: usize, room: Option<&Room>) -> Body
where
    S: Stream<Item = Result<Bytes, PayloadError>> + Unpin,
{
    let deadline = Instant::now() + BODY_TIME;
    let mut kept = Kept::default();
    let mut length = 0;
    loop {
        let chunk = match timeout_at(deadline, payload.next()).await {
            Ok(Some(Ok(chunk))) => chunk,
            Ok(None) => return Body::Whole(kept.into_bytes()),
            Ok(Some(Err(_))) | Err(_) => return Body::Broken,
        };
        length += chunk.len();
        if length > MAX_BODY_BYTES {
            return Body::TooLarge;
        }
        if length > whole {
            return Body::Broken;
        }
        let Some(room) = room else { continue };
        if length > SMALL && kept.place.is_none() {
            kept.place = timeout_at(deadline, room.take(whole)).await.ok().flatten();
            if kept.place.is_none() {
                return Body::NoRoom;
            }
            kept.bytes.reserve(whole - kept.bytes.len());
        }
        kept.bytes.extend_from_slice(&chunk);
    }
}

impl Room {
    /// Waits for so much room, in the order of those who ask: a stream of small ones starves no large one.
    /// None where already as many wait as may.
    async fn take(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let units = bytes.div_ceil(UNIT) as u32;
        if let Ok(place) = Arc::clone(&self.free).try_acquire_many_owned(units) {
            return Some(place);
        }
        let _seat = self.seats.try_acquire().ok()?;
        Arc::clone(&self.free).acquire_many_owned(units).await.ok()
    }
}

impl Default for Room {
    fn default() -> Self {
        Self { free: Arc::new(Semaphore::new(ROOM / UNIT)), seats: Arc::new(Semaphore::new(SEATS)) }
    }
}

/// What came of a body, and the room that it has.
#[derive(Default)]
struct Kept {
    bytes: BytesMut,
    place: Option<OwnedSemaphorePermit>,
}

impl Kept {
    /// The room is free again when the last copy of the bytes is gone. That can be after the answer: what
    /// was refused as late still waits for its confirm.
    fn into_bytes(self) -> Bytes {
        if self.place.is_some() { Bytes::from_owner(self) } else { self.bytes.freeze() }
    }
}

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream::{self, FuturesUnordered};

    use super::*;

    fn chunks(sizes: &[usize]) -> impl Stream<Item = Result<Bytes, PayloadError>> + Unpin + use<> {
        stream::iter(sizes.iter().map(|size| Ok(Bytes::from(vec![b'x'; *size]))).collect::<Vec<_>>())
    }

    /// Sends what it has and then nothing, for ever.
    fn stuck(sizes: &[usize]) -> impl Stream<Item = Result<Bytes, PayloadError>> + Unpin + use<> {
        chunks(sizes).chain(stream::pending())
    }

    fn free(room: &Room) -> usize {
        room.free.available_permits() * UNIT
    }

    async fn whole(room: &Room, sizes: &[usize]) -> Bytes {
        let length = sizes.iter().sum();
        let Body::Whole(bytes) = read(chunks(sizes), Some(length), Some(room)).await else {
            panic!("{sizes:?} is not taken")
        };
        assert_eq!(bytes.len(), length);
        bytes
    }

    #[tokio::test(start_paused = true)]
    async fn a_large_body_has_its_room_until_the_last_copy_is_gone() {
        let room = Room::default();
        let small = whole(&room, &[SMALL / 2, SMALL / 2]).await;
        assert_eq!(free(&room), ROOM, "a small body needs none");
        let large = whole(&room, &[SMALL, 100 * UNIT]).await;
        let copy = large.slice(5..);
        drop((small, large));
        assert_eq!(ROOM - free(&room), SMALL + 100 * UNIT);
        drop(copy);
        assert_eq!(free(&room), ROOM);
    }

    #[tokio::test(start_paused = true)]
    async fn who_finds_no_room_waits_and_is_refused_in_the_end() {
        let room = Room::default();
        let held: Vec<Bytes> = stream::iter(0..ROOM / MAX_BODY_BYTES)
            .then(async |_| whole(&room, &[MAX_BODY_BYTES]).await)
            .collect()
            .await;
        let begun = Instant::now();
        assert!(matches!(read(chunks(&[SMALL + 1]), Some(SMALL + 1), Some(&room)).await, Body::NoRoom));
        assert_eq!(begun.elapsed(), BODY_TIME);
        whole(&room, &[SMALL]).await;
        let (waited, ()) = tokio::join!(whole(&room, &[SMALL, SMALL]), async { drop(held) });
        drop(waited);
        assert_eq!(free(&room), ROOM);
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_wait_for_room_than_there_are_seats() {
        let room = Room::default();
        let body = async |bytes| read(chunks(&[bytes]), Some(bytes), Some(&room)).await;
        let _held = room.take(ROOM).await;
        let began = Instant::now();
        let mut waiting: FuturesUnordered<_> = (0..=SEATS).map(|_| body(MAX_BODY_BYTES)).collect();
        assert!(matches!(waiting.next().await, Some(Body::NoRoom)));
        assert_eq!(began.elapsed(), Duration::ZERO, "the one without a seat");
        assert!(matches!(body(SMALL).await, Body::Whole(_)), "a small one needs none");
        assert!(matches!(waiting.next().await, Some(Body::NoRoom)));
        assert_eq!(began.elapsed(), BODY_TIME);
    }

    #[tokio::test(start_paused = true)]
    async fn a_sender_who_only_announces_holds_no_room() {
        let room = Room::default();
        let slow: Vec<_> = (0..1000)
            .map(|_| {
                tokio::spawn({
                    let room = room.clone();
                    async move { read(stuck(&[1; 10]), Some(MAX_BODY_BYTES), Some(&room)).await }
                })
            })
            .collect();
        tokio::task::yield_now().await;
        drop(whole(&room, &[MAX_BODY_BYTES]).await);
        for slow in slow {
            assert!(matches!(slow.await, Ok(Body::Broken)));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_breaks_off_gives_its_room_back() {
        let room = Room::default();
        let broken = stuck(&[SMALL, SMALL]);
        assert!(matches!(read(broken, Some(MAX_BODY_BYTES), Some(&room)).await, Body::Broken));
        let torn = chunks(&[SMALL, SMALL]).chain(stream::iter([Err(PayloadError::Incomplete(None))]));
        assert!(matches!(read(torn, Some(MAX_BODY_BYTES), Some(&room)).await, Body::Broken));
        let over = chunks(&[SMALL, MAX_BODY_BYTES]);
        assert!(matches!(read(over, None, Some(&room)).await, Body::TooLarge));
        assert_eq!(free(&room), ROOM);
    }

    #[tokio::test(start_paused = true)]
    async fn of_a_stranger_nothing_is_kept() {
        let Body::Whole(bytes) = read(chunks(&[SMALL, SMALL]), None, None).await else { panic!("not read") };
        assert!(bytes.is_empty());
    }
}
