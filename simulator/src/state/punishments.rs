//! Who was told to wait (facts T15): a chat, or the whole bot, until its time is over. Whoever calls before
//! is told the rest of that time again. Pure: the time is handed in.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Chats that are remembered; above it, those whose time is over are forgotten.
const CHATS: usize = 10_000;
/// What even a punished bot may do: ask who it is, and fetch its updates.
const FREE: [&str; 5] = ["getMe", "getUpdates", "setWebhook", "deleteWebhook", "getWebhookInfo"];

#[derive(Default)]
pub(crate) struct Punishments {
    chats: HashMap<i64, Instant>,
    bot: Option<Instant>,
    /// How many chats may be known before the next look for those whose time is over.
    room: usize,
}

impl Punishments {
    /// None: the whole bot. A duration of zero ends the punishment.
    pub fn add(&mut self, chat_id: Option<i64>, duration: Duration, now: Instant) {
        let until = Some(now + duration).filter(|_| !duration.is_zero());
        match (chat_id, until) {
            (None, until) => self.bot = until,
            (Some(chat_id), None) => drop(self.chats.remove(&chat_id)),
            (Some(chat_id), Some(until)) => {
                if self.chats.len() >= self.room.max(CHATS) {
                    self.chats.retain(|_, until| *until > now);
                    self.room = 2 * self.chats.len();
                }
                self.chats.insert(chat_id, until);
            }
        }
    }

    /// How many seconds this call is too early, rounded up; None when it is not.
    pub fn left(&self, method: &str, chat_id: Option<i64>, now: Instant) -> Option<u64> {
        if FREE.contains(&method) {
            return None;
        }
        let chat = chat_id.and_then(|chat_id| self.chats.get(&chat_id).copied());
        let left = chat.max(self.bot)?.saturating_duration_since(now);
        (!left.is_zero()).then(|| left.as_millis().div_ceil(1000).max(1) as u64)
    }

    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_punished_chat_is_told_what_is_left_and_other_chats_nothing() {
        let (mut punishments, start) = (Punishments::default(), Instant::now());
        punishments.add(Some(7), 45 * SECOND, start);
        let left = |chat_id, now| punishments.left("sendMessage", chat_id, now);
        assert_eq!(left(Some(7), start), Some(45));
        assert_eq!(left(Some(7), start + SECOND / 2), Some(45));
        assert_eq!(left(Some(7), start + 44 * SECOND + SECOND / 2), Some(1));
        assert_eq!(left(Some(7), start + 45 * SECOND), None);
        assert_eq!((left(Some(8), start), left(None, start)), (None, None));
    }

    #[test]
    fn a_punished_bot_may_still_ask_who_it_is_and_fetch_its_updates() {
        let (mut punishments, start) = (Punishments::default(), Instant::now());
        punishments.add(None, 10 * SECOND, start);
        punishments.add(Some(7), 20 * SECOND, start);
        assert_eq!(punishments.left("answerCallbackQuery", None, start), Some(10));
        assert_eq!(punishments.left("sendMessage", Some(7), start), Some(20));
        assert!(FREE.iter().all(|method| punishments.left(method, None, start).is_none()));
        punishments.add(None, Duration::ZERO, start);
        assert_eq!(punishments.left("answerCallbackQuery", None, start), None);
    }

    #[test]
    fn chats_whose_time_is_over_are_forgotten() {
        let (mut punishments, start) = (Punishments::default(), Instant::now());
        for chat_id in 0..3 * CHATS as i64 {
            punishments.add(Some(chat_id), SECOND, start + SECOND * (chat_id as u32 / 100));
        }
        assert!(punishments.chats.len() <= CHATS, "{}", punishments.chats.len());
    }
}
