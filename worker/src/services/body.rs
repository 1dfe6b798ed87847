//! From an update to the body that a service is sent. A message goes out as the JSON token that came in, so nothing
//! in it is ever re-encoded.

use bytes::Bytes;
use serde_json::value::RawValue;

use super::request::{
    AlbumPart, Conversation, Event, Matching, Notification, Own, ServiceRequest, Tail, UserProfile,
};
use crate::incoming::{Incoming, Membership, Text};
use crate::routes::{Found, Shape, Target};

/// What a service is asked about.
pub struct Asked<'a> {
    pub incoming: &'a Incoming,
    /// The other parts of its album, where its route wants these as one.
    pub album: &'a [&'a Incoming],
    pub found: &'a Found<'a>,
}

impl<'a> Asked<'a> {
    fn is_album(&self) -> bool {
        self.found.takes_albums() && self.incoming.album_part().is_some()
    }

    fn parts(&self) -> impl Iterator<Item = &'a Incoming> {
        std::iter::once(self.incoming).chain(self.album.iter().copied())
    }

    /// What a user wrote: the text, else the caption; of an album the first caption that there is.
    fn message(&self) -> Option<&'a RawValue> {
        self.parts().find_map(message)
    }

    fn album(&self) -> Option<Vec<AlbumPart<'a>>> {
        let part = |part: &'a Incoming| AlbumPart {
            content: part.content.name(),
            file_id: part.file_id(),
            caption: part.caption.as_ref().map(|caption| caption.raw.as_ref()),
            message_id: part.message_id,
        };
        self.is_album().then(|| self.parts().map(part).collect())
    }

    /// The whole updates, where the route wants them: one, or those of an album.
    fn updates(&self) -> (Option<&'a RawValue>, Option<Vec<&'a RawValue>>) {
        if !matches!(self.found.target, Target::Service { with_update: true, .. }) {
            return (None, None);
        }
        let raw = |part: &'a Incoming| serde_json::from_slice::<&RawValue>(&part.raw).ok();
        match self.is_album() {
            true => (None, Some(self.parts().filter_map(raw).collect())),
            false => (raw(self.incoming), None),
        }
    }
}

/// What a service is sent. `user_id` is the session's, none while Redis is away.
pub fn request_body(shape: Shape, asked: &Asked<'_>, user_id: Option<&str>, request_id: &str) -> Bytes {
    let Asked { incoming, found, .. } = asked;
    let (update, updates) = asked.updates();
    let raw_param = raw_param(incoming, found);
    let param = raw_param.as_deref().map(Tail::Raw).or(found.param.as_deref().map(Tail::Text));
    let telegram_user_id = incoming.user.as_ref().map(|user| user.id);
    let command = incoming.command.as_ref().map(|command| command.name.as_str());
    let request = match shape {
        Shape::Conversation => ServiceRequest::Conversation(Conversation {
            user_id,
            telegram_user_id,
            message: asked.message(),
            request_id,
            update,
            album: asked.album(),
            updates,
        }),
        Shape::Matching => ServiceRequest::Matching(Matching {
            user_id,
            // A matching that a command starts has the command's name for its action.
            action: found.action.as_deref().or(command),
            target_user_id: param,
            request_id,
            update,
        }),
        Shape::UserProfile => ServiceRequest::UserProfile(UserProfile {
            telegram_user_id,
            command,
            request_id,
            args: args(incoming),
            update,
        }),
        Shape::Notification => ServiceRequest::Notification(Notification {
            user_id,
            telegram_user_id,
            event: incoming.membership.map(event),
            request_id,
            update,
        }),
        Shape::Own => ServiceRequest::Own(Own {
            user_id,
            telegram_user_id,
            chat_id: incoming.chat.map(|chat| chat.id),
            kind: &incoming.kind,
            request_id,
            message: asked.message(),
            command,
            args: args(incoming),
            action: found.action.as_deref(),
            param,
            update,
            album: asked.album(),
            updates,
        }),
    };
    // Strings, numbers and raw JSON always serialize.
    serde_json::to_vec(&request).unwrap_or_default().into()
}

fn args(incoming: &Incoming) -> Option<Tail<'_>> {
    let command = incoming.command.as_ref()?;
    let raw = command.raw_args.as_deref().map(Tail::Raw);
    raw.or(command.args.as_deref().map(Tail::Text))
}

/// What follows the prefix, where a Rust string can't hold it.
fn raw_param(incoming: &Incoming, found: &Found<'_>) -> Option<Box<RawValue>> {
    let data = incoming.callback.as_ref()?.data.as_ref()?;
    data.end(data.plain.len().checked_sub(found.param.as_ref()?.len())?)
}

fn message(incoming: &Incoming) -> Option<&RawValue> {
    let said: Option<&Text> = incoming.text.as_ref().or(incoming.caption.as_ref());
    said.map(|text| text.raw.as_ref())
}

fn event(membership: Membership) -> Event {
    match membership {
        Membership::Blocked => Event::Blocked,
        Membership::Unblocked => Event::Unblocked,
    }
}

#[cfg(test)]
mod tests;
