//! From an update to the body that a service is sent. A message goes out as the JSON token that came in, so nothing
//! in it is ever re-encoded.

use bytes::Bytes;
use serde_json::value::RawValue;

use super::request::{
    AlbumPart, Args, Conversation, Event, Matching, Notification, Own, ServiceRequest, UserProfile,
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
            target_user_id: found.param.as_deref(),
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
            param: found.param.as_deref(),
            update,
            album: asked.album(),
            updates,
        }),
    };
    // Strings, numbers and raw JSON always serialize.
    serde_json::to_vec(&request).unwrap_or_default().into()
}

fn args(incoming: &Incoming) -> Option<Args<'_>> {
    let command = incoming.command.as_ref()?;
    let raw = command.raw_args.as_deref().map(Args::Raw);
    raw.or(command.args.as_deref().map(Args::Text))
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
mod tests {
    use super::*;
    use crate::reply::schema::{REQUEST, examples, takes};
    use crate::routes::Table;

    const ROUTES: &str = r#"
        [services.own]
        url = "http://own"
        [[routes]]
        service = "own"
        [[routes]]
        callback = "VOTE"
        service = "own"
        update = true
        [[routes]]
        command = "/match"
        service = "own"
        body = "matching"
    "#;

    /// The body that the table's route for this update makes.
    fn body(table: &Table, kind: &str, content: &str) -> String {
        body_for(table, kind, content, "u1", "r1")
    }

    fn body_for(table: &Table, kind: &str, content: &str, user_id: &str, request_id: &str) -> String {
        let incoming = Incoming::read(format!(r#"{{"update_id":7,"{kind}":{content}}}"#).as_bytes());
        let found = table.find(&incoming, None).unwrap();
        let Target::Service { shape, .. } = found.target else { panic!("a reply") };
        let asked = Asked { incoming: &incoming, album: &[], found: &found };
        let body = request_body(shape, &asked, Some(user_id), request_id);
        let body = String::from_utf8(body.to_vec()).unwrap();
        assert!(takes(&body.replace("\\ud83d", "?"), REQUEST), "not as the schema says: {body}");
        body
    }

    #[test]
    fn the_built_in_services_get_the_contracts_bodies() {
        let table = Table::builtin();
        for (kind, content, expected) in [
            (
                "message",
                r#"{"from":{"id":42},"text":"a\n\"b\" \ud83d\u00e9"}"#,
                r#"{"user_id":"u1","telegram_user_id":42,"message":"a\n\"b\" \ud83d\u00e9","request_id":"r1"}"#,
            ),
            (
                "callback_query",
                r#"{"id":"9","from":{"id":42},"data":"CONNECT:u2"}"#,
                r#"{"user_id":"u1","action":"CONNECT","target_user_id":"u2","request_id":"r1"}"#,
            ),
            (
                "callback_query",
                r#"{"id":"9","from":{"id":42},"data":"SKIP"}"#,
                r#"{"user_id":"u1","action":"SKIP","target_user_id":null,"request_id":"r1"}"#,
            ),
            (
                "message",
                r#"{"from":{"id":42},"text":"/Help"}"#,
                r#"{"telegram_user_id":42,"command":"/help","request_id":"r1"}"#,
            ),
            (
                "message",
                r#"{"text":"/start ref 7 "}"#,
                r#"{"telegram_user_id":null,"command":"/start","request_id":"r1","args":"ref 7"}"#,
            ),
            (
                "message",
                r#"{"text":"/start \ud83d "}"#,
                r#"{"telegram_user_id":null,"command":"/start","request_id":"r1","args":"\ud83d"}"#,
            ),
            (
                "my_chat_member",
                r#"{"chat":{"id":42,"type":"private"},"from":{"id":42},"new_chat_member":{"status":"kicked"}}"#,
                r#"{"user_id":"u1","telegram_user_id":42,"event":"blocked","request_id":"r1"}"#,
            ),
        ] {
            assert_eq!(body(&table, kind, content), expected);
        }
    }

    #[test]
    fn a_service_of_ones_own_gets_what_applies() {
        let table = Table::parse(ROUTES, "routes.toml", &|_| None).unwrap();
        for (kind, content, expected) in [
            (
                "message",
                r#"{"chat":{"id":-5},"from":{"id":42},"text":"/roll 2d6"}"#,
                r#"{"user_id":"u1","telegram_user_id":42,"chat_id":-5,"kind":"message","request_id":"r1","message":"/roll 2d6","command":"/roll","args":"2d6"}"#,
            ),
            (
                "message",
                r#"{"chat":{"id":-5},"photo":[],"caption":"me"}"#,
                r#"{"user_id":"u1","telegram_user_id":null,"chat_id":-5,"kind":"message","request_id":"r1","message":"me"}"#,
            ),
            (
                "callback_query",
                r#"{"id":"9","from":{"id":42},"data":"RATE:5"}"#,
                r#"{"user_id":"u1","telegram_user_id":42,"chat_id":null,"kind":"callback_query","request_id":"r1","action":"RATE","param":"5"}"#,
            ),
            (
                "callback_query",
                r#"{"id":"9","from":{"id":42},"data":"VOTE"}"#,
                r#"{"user_id":"u1","telegram_user_id":42,"chat_id":null,"kind":"callback_query","request_id":"r1","action":"VOTE","update":{"update_id":7,"callback_query":{"id":"9","from":{"id":42},"data":"VOTE"}}}"#,
            ),
            (
                "message",
                r#"{"from":{"id":42},"text":"/match"}"#,
                r#"{"user_id":"u1","action":"/match","target_user_id":null,"request_id":"r1"}"#,
            ),
        ] {
            assert_eq!(body(&table, kind, content), expected);
        }
    }

    fn part(update_id: u64, message: &str) -> Incoming {
        let place = r#""chat":{"id":42},"from":{"id":42},"media_group_id":"1""#;
        let update = format!(r#"{{"update_id":{update_id},"message":{{{place},{message}}}}}"#);
        Incoming::read(update.as_bytes())
    }

    #[test]
    fn an_album_is_handed_over_whole_where_the_route_says_so() {
        let photo = part(7, r#""message_id":71,"photo":[{"file_id":"small"},{"file_id":"large"}]"#);
        let video = part(8, r#""message_id":72,"video":{"file_id":"film"},"caption":"see \ud83d""#);
        let parts = r#"[{"type":"photo","file_id":"large","message_id":71},{"type":"video","file_id":"film","caption":"see \ud83d","message_id":72}]"#;
        let raw = |part: &Incoming| String::from_utf8(part.raw.to_vec()).unwrap();
        for (row, others, expected) in [
            ("album = true", &[&video][..], format!(r#","message":"see \ud83d","album":{parts}}}"#)),
            (
                "album = true\nupdate = true",
                &[&video],
                format!(
                    r#","message":"see \ud83d","album":{parts},"updates":[{},{}]}}"#,
                    raw(&photo),
                    raw(&video)
                ),
            ),
            ("update = true", &[], format!(r#","update":{}}}"#, raw(&photo))),
            ("", &[], "}".to_owned()),
        ] {
            let toml =
                format!("[services.own]\nurl = \"http://own\"\n[[routes]]\nservice = \"own\"\n{row}\n");
            let table = Table::parse(&toml, "routes.toml", &|_| None).unwrap();
            let found = table.find(&photo, None).unwrap();
            let asked = Asked { incoming: &photo, album: others, found: &found };
            let body = request_body(Shape::Own, &asked, Some("u1"), "r1");
            let body = String::from_utf8(body.to_vec()).unwrap();
            let own =
                r#"{"user_id":"u1","telegram_user_id":42,"chat_id":42,"kind":"message","request_id":"r1""#;
            assert_eq!(body, format!("{own}{expected}"), "{row}");
            assert!(takes(&body.replace("\\ud83d", "?"), REQUEST), "not as the schema says: {body}");
        }
    }

    #[test]
    fn without_a_session_the_user_id_is_null() {
        let incoming = Incoming::read(br#"{"update_id":7,"message":{"text":"x"}}"#);
        let table = Table::builtin();
        let found = table.find(&incoming, None).unwrap();
        let asked = Asked { incoming: &incoming, album: &[], found: &found };
        let body = request_body(Shape::Conversation, &asked, None, "r1");
        assert_eq!(body, r#"{"user_id":null,"telegram_user_id":null,"message":"x","request_id":"r1"}"#);
    }

    const EXAMPLES: &str = r##"
        [services.own]
        url = "http://own"
        [[routes]]
        command = "/start"
        service = "user_profile"
        [[routes]]
        command = "/help"
        service = "user_profile"
        [[routes]]
        command = "/weather"
        service = "own"
        [[routes]]
        callback = "CONNECT"
        service = "matching"
        [[routes]]
        callback = "SKIP"
        service = "matching"
        [[routes]]
        callback = "VOTE"
        service = "own"
        [[routes]]
        text = "^own "
        service = "own"
        [[routes]]
        text = true
        service = "conversation"
        [[routes]]
        content = "photo"
        service = "own"
        album = true
        [[routes]]
        content = "location"
        service = "own"
        update = true
        [[routes]]
        kind = "my_chat_member"
        service = "notification"
    "##;

    #[test]
    fn every_example_of_a_request_is_what_a_service_is_sent() {
        let table = Table::parse(EXAMPLES, "routes.toml", &|_| None).unwrap();
        let of = r#""chat":{"id":42,"type":"private"},"from":{"id":42}"#;
        let said = |more: &str| format!("{{{of},{more}}}");
        let pressed =
            |data: &str| format!(r#"{{"id":"9","from":{{"id":42}},"data":"{data}","message":{{{of}}}}}"#);
        let member = |from: &str, to: &str| {
            let status = |status: &str| format!(r#"{{"status":"{status}"}}"#);
            said(&format!(r#""old_chat_member":{},"new_chat_member":{}"#, status(from), status(to)))
        };
        let cases = [
            ("conversation", "message", said(r#""text":"hello""#)),
            ("matching", "callback_query", pressed("CONNECT:17")),
            ("matching-without-target", "callback_query", pressed("SKIP")),
            ("notification-blocked", "my_chat_member", member("member", "kicked")),
            ("notification-unblocked", "my_chat_member", member("kicked", "member")),
            (
                "own-album",
                "message",
                said(
                    r#""message_id":71,"media_group_id":"1","photo":[{"file_id":"AgACAgIAAxkBAAI"}],"caption":"for sale""#,
                ),
            ),
            ("own-button", "callback_query", pressed("VOTE:42")),
            ("own-command", "message", said(r#""text":"/weather Rome tomorrow""#)),
            ("own-photo", "message", said(r#""photo":[{}],"caption":"for sale""#)),
            ("own-text", "message", said(r#""text":"own words""#)),
            ("own-with-update", "message", said(r#""location":{"latitude":52.52,"longitude":13.405}"#)),
            ("user_profile", "message", said(r#""text":"/help""#)),
            ("user_profile-with-args", "message", said(r#""text":"/start ref_42""#)),
        ];
        let examples = examples("requests");
        let names = |(name, _): &(String, String)| name.clone();
        assert_eq!(examples.iter().map(names).collect::<Vec<_>>(), cases.each_ref().map(|case| case.0));
        for ((name, example), (_, kind, content)) in examples.iter().zip(&cases) {
            let body = body_for(&table, kind, content, "user_42", "7b9fa372-ec48-506c-8022-a499a9839f5c");
            assert_eq!(format!("{body}\n"), *example, "{name}");
        }
    }
}
