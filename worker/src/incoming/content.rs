//! What a message holds, by the member that tells it. A closed list, so that a slip in a routing table is
//! found at the start; what Telegram adds later reads as `Other` until it stands here (facts T12).

use shared::json::{Json, Object};

/// What a message holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Content {
    /// Something that somebody wrote or sent, by the name of its member: `text`, `photo` …
    Written(&'static str),
    /// Something that happened in the chat: `new_chat_members`, `pinned_message` …
    Event(&'static str),
    /// No message, or nothing known of it.
    #[default]
    Other,
}

/// In the order of asking: an animation carries a `document` too, and a venue a `location`.
const WRITTEN: &[&str] = &[
    "text",
    "animation",
    "photo",
    "voice",
    "video",
    "video_note",
    "audio",
    "document",
    "sticker",
    "venue",
    "location",
    "contact",
    "poll",
    "dice",
    "game",
    "story",
    "paid_media",
    "checklist",
    "invoice",
];

const EVENTS: &[&str] = &[
    "new_chat_members",
    "left_chat_member",
    "new_chat_title",
    "new_chat_photo",
    "delete_chat_photo",
    "group_chat_created",
    "supergroup_chat_created",
    "channel_chat_created",
    "message_auto_delete_timer_changed",
    "migrate_to_chat_id",
    "migrate_from_chat_id",
    "pinned_message",
    "successful_payment",
    "refunded_payment",
    "users_shared",
    "chat_shared",
    "gift",
    "unique_gift",
    "connected_website",
    "write_access_allowed",
    "passport_data",
    "proximity_alert_triggered",
    "boost_added",
    "chat_background_set",
    "checklist_tasks_done",
    "checklist_tasks_added",
    "direct_message_price_changed",
    "paid_message_price_changed",
    "forum_topic_created",
    "forum_topic_edited",
    "forum_topic_closed",
    "forum_topic_reopened",
    "general_forum_topic_hidden",
    "general_forum_topic_unhidden",
    "giveaway_created",
    "giveaway",
    "giveaway_winners",
    "giveaway_completed",
    "video_chat_scheduled",
    "video_chat_started",
    "video_chat_ended",
    "video_chat_participants_invited",
    "web_app_data",
];

/// Whether it is of the type that Telegram gives it: a photo is a list of sizes.
fn is_written(name: &str, value: Json<'_>) -> bool {
    match name {
        "text" => value.is_string(),
        "photo" => value.is_array(),
        _ => value.is_object(),
    }
}

impl Content {
    pub(super) fn of(message: &Object<'_>) -> Self {
        let mut written = WRITTEN.iter().copied();
        let found = written.find(|name| message.get(name).is_some_and(|value| is_written(name, value)));
        let mut events = EVENTS.iter().copied();
        match found {
            Some(name) => Self::Written(name),
            None => events.find(|name| message.has(name)).map_or(Self::Other, Self::Event),
        }
    }

    /// The content of that name, as a routing table writes it.
    pub fn named(name: &str) -> Option<Self> {
        let known = |names: &[&'static str]| names.iter().copied().find(|known| *known == name);
        known(WRITTEN).map(Self::Written).or_else(|| known(EVENTS).map(Self::Event))
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Written(name) | Self::Event(name) => name,
            Self::Other => "other",
        }
    }

    pub fn is_written(self) -> bool {
        matches!(self, Self::Written(_))
    }

    /// The names of what somebody can write or send, for an error message.
    pub fn written_names() -> &'static [&'static str] {
        WRITTEN
    }
}
