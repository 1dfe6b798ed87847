//! When a chat may be written to. Telegram allows about one message a second to a chat, with short bursts, and 20 a
//! minute to a group (facts T14); a 429 parks its chat, and nobody else (facts T15). Chats are paced by the worker that
//! has them, since each has one at a time. Pure: whoever asks brings the time.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::time::Instant;

/// 20 a minute, and bursts (contract 9).
const GROUP: Rate = Rate { every: Duration::from_secs(3), burst: 5 };

/// So many chats in a row are refused within `TOGETHER`, and none is served between them: then it is the bot.
const SEVERAL: usize = 3;
const TOGETHER: Duration = Duration::from_secs(1);

/// How often chats are forgotten that may have a full burst again.
const SWEEP: Duration = Duration::from_secs(10);

/// How fast a chat may be written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// One message in so long, in the long run.
    pub every: Duration,
    /// So many at once after a pause; 1 or more.
    pub burst: u32,
}

/// Who a call writes to, as its `chat_id` names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Chat {
    Id(i64),
    /// `@name`, of a channel or a group.
    Name(String),
}

impl Chat {
    pub fn of(params: &Map<String, Value>) -> Option<Self> {
        let id = params.get("chat_id")?;
        match id.as_str() {
            Some(text) => Some(text.parse().map_or_else(|_| Self::Name(text.to_owned()), Self::Id)),
            None => id.as_i64().map(Self::Id),
        }
    }

    fn is_private(&self) -> bool {
        matches!(self, Self::Id(id) if *id > 0)
    }
}

/// How many messages a call comes to; an edit is counted like one.
pub fn weight(method: &str, params: &Map<String, Value>) -> u32 {
    let many = |name: &str| params.get(name).and_then(Value::as_array).map_or(1, Vec::len) as u32;
    match method {
        "sendChatAction" => 0,
        "sendMediaGroup" => many("media"),
        "forwardMessages" | "copyMessages" => many("message_ids"),
        _ if ["send", "forward", "copy", "edit"].iter().any(|start| method.starts_with(start)) => 1,
        _ => 0,
    }
}

/// Why a call may not be made yet, and when to ask again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Its chat is written to too fast.
    Paced(Instant),
    /// Telegram said so, of the chat or of the bot; it can be a minute.
    Parked(Instant),
}

/// What is known of the chats that were written to lately, and of the bot.
#[derive(Debug)]
pub struct Pace {
    private: Rate,
    chats: HashMap<Chat, Known>,
    /// The whole bot waits until then.
    bot_until: Option<Instant>,
    /// Who was refused since somebody was served, and when.
    refused: Vec<(Option<Chat>, Instant)>,
    swept: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    /// When it would have a full burst again (the theoretical arrival time of the generic cell rate algorithm).
    full_at: Instant,
    parked_until: Instant,
}

impl Pace {
    pub fn new(private: Rate) -> Self {
        Self { private, chats: HashMap::new(), bot_until: None, refused: Vec::new(), swept: None }
    }

    /// Until when the whole bot waits, if it does.
    pub fn bot_until(&self, now: Instant) -> Option<Instant> {
        self.bot_until.filter(|until| *until > now)
    }

    /// Takes the right to make a call of that weight.
    pub fn ask(&mut self, chat: Option<&Chat>, weight: u32, now: Instant) -> Result<(), Wait> {
        self.sweep(now);
        if let Some(until) = self.bot_until(now) {
            return Err(Wait::Parked(until));
        }
        let Some(chat) = chat else { return Ok(()) };
        let known = self.chats.get(chat).copied().unwrap_or(Known { full_at: now, parked_until: now });
        if known.parked_until > now {
            return Err(Wait::Parked(known.parked_until));
        }
        if weight == 0 {
            return Ok(());
        }
        let rate = if chat.is_private() { self.private } else { GROUP };
        let full_at = known.full_at.max(now);
        // One call may be heavier than a burst: it goes when all of a burst is there.
        let room = rate.every * rate.burst.saturating_sub(weight.min(rate.burst));
        if full_at > now + room {
            return Err(Wait::Paced(full_at - room));
        }
        self.chats.insert(chat.clone(), Known { full_at: full_at + rate.every * weight, ..known });
        Ok(())
    }

    /// A call was served.
    pub fn served(&mut self) {
        self.refused.clear();
    }

    /// A call was refused with 429. True where that is the bot's, and not the chat's alone: then all wait.
    pub fn refused(&mut self, chat: Option<&Chat>, wait: Duration, now: Instant) -> bool {
        if let Some(chat) = chat {
            self.park(chat, now + wait);
        }
        self.refused.retain(|(other, at)| other.as_ref() != chat && now - *at < TOGETHER);
        self.refused.push((chat.cloned(), now));
        let is_bots = self.refused.len() >= SEVERAL;
        if is_bots {
            self.park_bot(now + wait);
            self.refused.clear();
        }
        is_bots
    }

    /// Nothing goes to that chat before then.
    pub fn park(&mut self, chat: &Chat, until: Instant) {
        let known = self.chats.entry(chat.clone()).or_insert(Known { full_at: until, parked_until: until });
        known.parked_until = known.parked_until.max(until);
    }

    /// Nothing goes anywhere before then.
    pub fn park_bot(&mut self, until: Instant) {
        self.bot_until = self.bot_until.max(Some(until));
    }

    /// How many chats are parked.
    pub fn parked(&self, now: Instant) -> usize {
        self.chats.values().filter(|known| known.parked_until > now).count()
    }

    /// A chat with a full burst is as good as one that was never written to. So no more are known than were written
    /// to in the last seconds.
    fn sweep(&mut self, now: Instant) {
        if self.swept.is_none_or(|swept| now - swept >= SWEEP) {
            self.chats.retain(|_, known| known.full_at > now || known.parked_until > now);
            self.swept = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const PRIVATE: Chat = Chat::Id(7);

    fn pace() -> (Pace, Instant) {
        (Pace::new(Rate { every: SECOND, burst: 3 }), Instant::now())
    }

    /// When each of so many messages may go that all want to at once, in ms.
    fn times(chat: &Chat, count: usize) -> Vec<u64> {
        let (mut pace, start) = pace();
        let mut now = start;
        let mut go = || {
            while let Err(Wait::Paced(until)) = pace.ask(Some(chat), 1, now) {
                now = until;
            }
            (now - start).as_millis() as u64
        };
        (0..count).map(|_| go()).collect()
    }

    #[test]
    fn a_private_chat_has_a_burst_of_3_and_then_1_a_second() {
        assert_eq!(times(&PRIVATE, 6), [0, 0, 0, 1000, 2000, 3000]);
    }

    #[test]
    fn a_group_has_a_burst_of_5_and_then_20_a_minute() {
        assert_eq!(times(&Chat::Id(-100), 7), [0, 0, 0, 0, 0, 3000, 6000]);
        assert_eq!(times(&Chat::Name("@news".to_owned()), 6)[5], 3000);
    }

    #[test]
    fn a_pause_fills_the_burst_again_and_no_more_than_that() {
        let (mut pace, now) = pace();
        for _ in 0..3 {
            pace.ask(Some(&PRIVATE), 1, now).unwrap();
        }
        let later = now + 100 * SECOND;
        assert!((0..3).all(|_| pace.ask(Some(&PRIVATE), 1, later).is_ok()));
        assert_eq!(pace.ask(Some(&PRIVATE), 1, later), Err(Wait::Paced(later + SECOND)));
    }

    #[test]
    fn a_call_that_is_heavier_than_a_burst_goes_when_the_burst_is_full() {
        let (mut pace, now) = pace();
        pace.ask(Some(&PRIVATE), 10, now).unwrap();
        assert_eq!(pace.ask(Some(&PRIVATE), 1, now), Err(Wait::Paced(now + 8 * SECOND)));
    }

    #[test]
    fn chats_do_not_wait_for_each_other() {
        let (mut pace, now) = pace();
        for id in 1..1000 {
            pace.ask(Some(&Chat::Id(id)), 3, now).unwrap();
        }
        assert!(!pace.refused(Some(&PRIVATE), 45 * SECOND, now));
        assert_eq!(pace.ask(Some(&PRIVATE), 1, now), Err(Wait::Parked(now + 45 * SECOND)));
        assert_eq!(pace.ask(Some(&Chat::Id(2000)), 1, now), Ok(()));
        assert_eq!(pace.ask(None, 0, now), Ok(()));
        assert_eq!(pace.parked(now), 1);
    }

    #[test]
    fn a_parked_chat_waits_whatever_the_call_is() {
        let (mut pace, now) = pace();
        pace.park(&PRIVATE, now + 5 * SECOND);
        // A shorter one that is told later takes nothing back.
        pace.park(&PRIVATE, now + SECOND);
        assert_eq!(pace.ask(Some(&PRIVATE), 0, now), Err(Wait::Parked(now + 5 * SECOND)));
        assert_eq!(pace.ask(Some(&PRIVATE), 1, now + 5 * SECOND), Ok(()));
    }

    #[test]
    fn several_chats_in_a_row_are_the_bot() {
        let (mut pace, now) = pace();
        assert!(!pace.refused(Some(&Chat::Id(1)), 9 * SECOND, now));
        // The same one again is no other.
        assert!(!pace.refused(Some(&Chat::Id(1)), 9 * SECOND, now));
        assert!(!pace.refused(Some(&Chat::Id(2)), 9 * SECOND, now));
        assert!(pace.refused(None, 9 * SECOND, now));
        assert_eq!(pace.ask(Some(&Chat::Id(4)), 1, now), Err(Wait::Parked(now + 9 * SECOND)));
        assert_eq!(pace.ask(None, 0, now), Err(Wait::Parked(now + 9 * SECOND)));
        assert_eq!(pace.ask(None, 0, now + 9 * SECOND), Ok(()));
    }

    #[test]
    fn several_chats_beside_one_that_is_served_are_several_chats() {
        let (mut pace, now) = pace();
        for id in 1..50 {
            assert!(!pace.refused(Some(&Chat::Id(id)), 9 * SECOND, now));
            if id % 2 == 0 {
                pace.served();
            }
        }
        // And so are those that come one by one.
        for n in 0..10 {
            assert!(!pace.refused(Some(&Chat::Id(100 + i64::from(n))), 9 * SECOND, now + (n + 2) * TOGETHER));
        }
    }

    #[test]
    fn a_chat_that_has_its_burst_again_is_forgotten() {
        let (mut pace, now) = pace();
        for id in 1..1000 {
            pace.ask(Some(&Chat::Id(id)), 1, now).unwrap();
        }
        pace.ask(Some(&PRIVATE), 1, now + 20 * SECOND).unwrap();
        assert_eq!(pace.chats.len(), 1);
    }

    #[test]
    fn a_chat_is_named_by_its_id_or_its_name() {
        let of = |value| Chat::of(json!({"chat_id": value}).as_object().unwrap());
        assert_eq!(of(json!(5)), Some(Chat::Id(5)));
        assert_eq!(of(json!("-5")), Some(Chat::Id(-5)));
        assert_eq!(of(json!("@a")), Some(Chat::Name("@a".to_owned())));
        assert_eq!(of(json!(null)), None);
        assert_eq!(Chat::of(&Map::new()), None);
    }

    #[test]
    fn what_is_a_message_has_a_weight() {
        let none = Map::new();
        let some = json!({"media": [1, 2, 3], "message_ids": [1, 2]}).as_object().unwrap().clone();
        assert_eq!((weight("sendMessage", &none), weight("editMessageText", &none)), (1, 1));
        assert_eq!((weight("sendChatAction", &none), weight("answerCallbackQuery", &none)), (0, 0));
        assert_eq!((weight("sendMediaGroup", &some), weight("copyMessages", &some)), (3, 2));
    }
}
