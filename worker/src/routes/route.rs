//! One row of the table: its conditions, all of which must hold, and where it leads. How specific a row is
//! is decided here too.

use std::cmp::Reverse;

use regex::Regex;

use super::language::Language;
use super::reply::Reply;
use super::{Shape, Target};
use crate::incoming::{ALBUM_KINDS, ChatKind, Content, Incoming};

#[derive(Clone, Debug)]
pub(super) struct Route {
    pub label: String,
    pub when: Conditions,
    /// The user's; a condition like the others.
    pub language: Option<Language>,
    pub to: To,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Conditions {
    /// In lower case, with the slash.
    pub command: Option<String>,
    /// Without the colon.
    pub callback: Option<String>,
    pub text: Option<TextRule>,
    pub content: Option<Content>,
    pub kind: Option<String>,
    pub chat: Option<ChatKind>,
}

#[derive(Clone, Debug)]
pub(super) enum TextRule {
    Any,
    Pattern(Regex),
}

#[derive(Clone, Debug)]
pub(super) enum To {
    Service { service: String, shape: Shape, with_update: bool, album: bool },
    Reply(Reply),
}

/// From the most specific to the least (contract 5): what a user named exactly goes before what a row only
/// describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Tier {
    CommandOrCallback,
    Pattern,
    Text,
    Content,
    Kind,
    Default,
}

impl Route {
    /// Whether all conditions hold. A command or a callback's prefix was looked up before and is not
    /// compared again.
    pub fn fits(&self, incoming: &Incoming) -> bool {
        #[cfg(test)]
        super::large::COMPARED.with(|compared| compared.set(compared.get() + 1));
        let speaks = |language: &Language| incoming.language().is_some_and(|code| language.takes(code));
        self.when.fits(incoming)
            && self.language.as_ref().is_none_or(speaks)
            && (!self.is_notification() || incoming.membership.is_some())
    }

    /// Whether all conditions hold, of those too by which a row is looked up.
    pub fn would_take(&self, incoming: &Incoming) -> bool {
        let when = &self.when;
        let command = incoming.command.as_ref().map(|command| &command.name);
        let data = incoming.pressed();
        let pressed = |prefix: &String| {
            let rest = data.and_then(|data| data.strip_prefix(prefix.as_str()));
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
        };
        when.command.as_ref().is_none_or(|wanted| Some(wanted) == command)
            && when.callback.as_ref().is_none_or(pressed)
            && self.fits(incoming)
    }

    /// The notification's body knows two events, blocked and unblocked: other changes of the bot's
    /// membership (it joined a group) are no news for that service.
    fn is_notification(&self) -> bool {
        matches!(self.to, To::Service { shape: Shape::Notification, .. })
    }

    pub fn target(&self, incoming: &Incoming) -> Target<'_> {
        match &self.to {
            To::Service { service, shape, with_update, album } => {
                Target::Service { service, shape: *shape, with_update: *with_update, album: *album }
            }
            To::Reply(reply) => Target::Reply(reply.text(incoming.language())),
        }
    }

    /// Sorts rows by specificity: what it asks for, then how many conditions it has, then how narrow its
    /// language is (`pt-BR`, `pt`, any). Rows that are equal in all of it stay in file order.
    pub fn rank(&self) -> (Tier, Reverse<usize>, Reverse<usize>) {
        let count = self.when.count() + usize::from(self.language.is_some());
        let language = self.language.as_ref().map_or(0, Language::parts);
        (self.when.tier(), Reverse(count), Reverse(language))
    }
}

impl Conditions {
    fn fits(&self, incoming: &Incoming) -> bool {
        let chat_fits = self.chat.is_none_or(|chat| chat == incoming.chat_kind());
        let content_fits = self.content.is_none_or(|content| content == incoming.content);
        let kind_fits = self.effective_kind().is_none_or(|kind| kind == incoming.kind);
        chat_fits && content_fits && kind_fits && self.text_fits(incoming)
    }

    /// Beside a content such as a photo, the text is its caption: that is how captions get routes of
    /// their own (contract 9).
    fn text_fits(&self, incoming: &Incoming) -> bool {
        let Some(rule) = &self.text else { return true };
        let in_caption = self.content.is_some_and(|content| content != Content::Written("text"));
        let text = if in_caption { &incoming.caption } else { &incoming.text };
        text.as_ref().is_some_and(|text| match rule {
            TextRule::Any => true,
            TextRule::Pattern(pattern) => pattern.is_match(&text.plain),
        })
    }

    /// Commands, texts and contents mean a new message unless the row names another kind; in a channel
    /// there are no messages but posts.
    pub fn effective_kind(&self) -> Option<&str> {
        if let Some(kind) = &self.kind {
            return Some(kind);
        }
        if self.callback.is_some() {
            return Some("callback_query");
        }
        let of_messages = self.command.is_some() || self.text.is_some() || self.content.is_some();
        let kind = if self.chat == Some(ChatKind::Channel) { "channel_post" } else { "message" };
        of_messages.then_some(kind)
    }

    /// Whether a part of an album can take the row: of what Telegram puts into albums, as new messages.
    pub fn can_be_of_an_album(&self) -> bool {
        let content = self.content.is_none_or(|content| {
            matches!(content, Content::Written("photo" | "video" | "document" | "audio"))
        });
        let kind = self.effective_kind().is_none_or(|kind| ALBUM_KINDS.contains(&kind));
        // Without a content a text is a message's own, and no part of an album has one.
        content && kind && (self.text.is_none() || self.content.is_some())
    }

    /// The pattern, of a row that is looked up by it.
    pub fn pattern(&self) -> Option<&str> {
        match (self.tier(), &self.text) {
            (Tier::Pattern, Some(TextRule::Pattern(pattern))) => Some(pattern.as_str()),
            _ => None,
        }
    }

    pub fn tier(&self) -> Tier {
        match self {
            Self { command: Some(_), .. } | Self { callback: Some(_), .. } => Tier::CommandOrCallback,
            Self { text: Some(TextRule::Pattern(_)), .. } => Tier::Pattern,
            Self { text: Some(TextRule::Any), .. } => Tier::Text,
            Self { content: Some(_), .. } => Tier::Content,
            Self { kind: Some(_), .. } => Tier::Kind,
            _ => Tier::Default,
        }
    }

    fn count(&self) -> usize {
        let named = [self.command.is_some(), self.callback.is_some(), self.kind.is_some()];
        let described = [self.text.is_some(), self.content.is_some(), self.chat.is_some()];
        named.into_iter().chain(described).filter(|given| *given).count()
    }

    /// `command:/start`, `text`, `content:photo+chat:group`: what the row is called if it has no name.
    pub fn label(&self, languages: &[Language]) -> String {
        let text = self.text.as_ref().map(|rule| match rule {
            TextRule::Any => "text".to_owned(),
            TextRule::Pattern(pattern) => format!("text:{pattern}"),
        });
        let chat = self.chat.map(|chat| match chat {
            ChatKind::Private => "chat:private",
            ChatKind::Group => "chat:group",
            ChatKind::Channel => "chat:channel",
            ChatKind::Unknown => "chat:unknown",
        });
        let names: Vec<&str> = languages.iter().map(Language::as_str).collect();
        let parts = [
            self.command.as_ref().map(|command| format!("command:{command}")),
            self.callback.as_ref().map(|prefix| format!("callback:{prefix}")),
            text,
            self.content.map(|content| format!("content:{}", content.name())),
            self.kind.as_ref().map(|kind| format!("kind:{kind}")),
            chat.map(str::to_owned),
            (!names.is_empty()).then(|| format!("language:{}", names.join(","))),
        ];
        let label = parts.into_iter().flatten().collect::<Vec<_>>().join("+");
        if label.is_empty() { "default".to_owned() } else { label }
    }
}
