//! What a lane carries: one delivery, ready to be handled, or the parts of an album that are handled as one. Says which
//! parts belong together; decides nothing else.

use bytes::Bytes;
use shared::queue::{Envelope, Receipt};
use shared::store::UpdateKey;

use crate::ages::Aged;
use crate::handle::Spinner;
use crate::incoming::Incoming;
use crate::lanes::LaneKey;

/// An album has no more parts than that; what comes as one more is an album of its own.
const MOST_PARTS: usize = 10;

/// What a lane does one after the other. A pointer, since it is handed from one future to the next, and each keeps its place.
pub enum Job {
    Updates(Box<Group>),
    /// The bytes of something in our queue that is no update.
    NoUpdate(Box<(Bytes, Receipt)>),
}

/// One update, or an album: its first part and the others, in the order in which they came.
pub struct Group {
    pub head: Part,
    pub others: Vec<Part>,
}

/// One update, and the right to ack it.
pub struct Part {
    pub update: Update,
    pub receipt: Receipt,
}

/// One update in hand.
pub struct Update {
    pub envelope: Envelope,
    pub incoming: Incoming,
    pub key: UpdateKey,
    /// The broker's count of returns.
    pub returns: u32,
    pub hand: Hand,
    pub came_back: bool,
    /// It may stand behind updates that came after it.
    pub late: bool,
    pub spinner: Option<Spinner>,
    /// Its place among the ages of what is in hand.
    pub _age: Aged,
}

/// How a partition is in hand.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hand {
    /// The store was away when it was taken.
    pub without_store: bool,
    /// One update of it at a time.
    pub by_itself: bool,
    /// What comes back may come behind what came after it (facts R4, R6a).
    pub in_any_order: bool,
}

impl Update {
    pub fn id(&self) -> u64 {
        self.key.update_id
    }

    /// The lane of an update: its chat's, else its user's; that of its queries where it is one.
    pub fn lane(&self) -> LaneKey {
        let Envelope { kind, lane, update_id, .. } = &self.envelope;
        let query = matches!(kind.as_str(), "inline_query" | "pre_checkout_query" | "shipping_query");
        let key = lane.map(if query { LaneKey::Query } else { LaneKey::Chat });
        key.unwrap_or(LaneKey::Own(*update_id))
    }
}

impl Group {
    pub fn of(head: Part) -> Self {
        Self { head, others: Vec::new() }
    }

    /// The first of them with the others behind it; nothing where there are none.
    pub fn of_all(parts: Vec<Part>) -> Option<Self> {
        let mut parts = parts.into_iter();
        Some(Self { head: parts.next()?, others: parts.collect() })
    }

    /// In the order in which they came.
    pub fn updates(&self) -> impl Iterator<Item = &Update> {
        std::iter::once(&self.head).chain(&self.others).map(|part| &part.update)
    }

    pub fn is_full(&self) -> bool {
        self.others.len() + 1 >= MOST_PARTS
    }

    /// Takes a part of the same album in, or gives back what is none. One that is there already came again, because its
    /// claim was renewed meanwhile: from then on only the new receipt is good for anything.
    pub fn join(&mut self, part: Part) -> Option<Part> {
        if !is_of_one_album(&self.head.update, &part.update) {
            return Some(part);
        }
        let mut known = std::iter::once(&mut self.head).chain(&mut self.others);
        match known.find(|known| known.update.id() == part.update.id()) {
            Some(known) => known.receipt = part.receipt,
            None => self.others.push(part),
        }
        None
    }
}

/// Whether both are parts of one album, in one run. What is kept of them lies under the owner's hash tag, so the owner
/// has to be the same; it is, since an album has one sender.
fn is_of_one_album(one: &Update, other: &Update) -> bool {
    let chat = |update: &Update| update.incoming.chat.map(|chat| chat.id);
    let run = |update: &Update| (update.key.bot, update.key.owner, update.key.replay);
    one.incoming.album_part().is_some_and(|album| Some(album) == other.incoming.album_part())
        && one.incoming.kind == other.incoming.kind
        && chat(one) == chat(other)
        && run(one) == run(other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ages::Ages;

    fn update(kind: &str, chat: i64, from: i64, album: &str, replay: u32) -> Update {
        let body = format!(
            r#"{{"update_id":7,"{kind}":{{"chat":{{"id":{chat}}},"from":{{"id":{from}}},"photo":[]{album}}}}}"#
        );
        let peek = shared::update::peek(body.as_bytes()).unwrap();
        let envelope = Envelope { replay, ..Envelope::received(peek, None, None, body.into()) };
        let incoming = Incoming::from_bytes(envelope.body.clone());
        let key = UpdateKey { bot: 1, update_id: 7, replay, owner: from };
        let (_age, hand) = (Ages::default().add(0), Hand::default());
        Update {
            envelope,
            incoming,
            key,
            returns: 0,
            hand,
            came_back: false,
            late: false,
            spinner: None,
            _age,
        }
    }

    #[test]
    fn an_album_is_one_group_of_one_chat_in_one_run() {
        const ALBUM: &str = r#","media_group_id":"1""#;
        let head = update("message", 5, 6, ALBUM, 0);
        assert!(is_of_one_album(&head, &update("message", 5, 6, ALBUM, 0)));
        for other in [
            update("message", 5, 6, r#","media_group_id":"2""#, 0),
            update("message", 5, 6, "", 0),
            update("message", 8, 6, ALBUM, 0),
            update("message", 5, 8, ALBUM, 0),
            update("channel_post", 5, 6, ALBUM, 0),
            update("message", 5, 6, ALBUM, 1),
        ] {
            assert!(!is_of_one_album(&head, &other), "{:?}", other.incoming);
        }
        let alone = || update("message", 5, 6, "", 0);
        assert!(!is_of_one_album(&alone(), &alone()));
        let edited = || update("edited_message", 5, 6, ALBUM, 0);
        assert!(!is_of_one_album(&edited(), &edited()), "an edit is no new part");
    }
}
