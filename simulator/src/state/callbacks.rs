//! The buttons that were pressed and wait for answerCallbackQuery (facts T18). Bounded: the oldest go first.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

const LIMIT: usize = 100_000;

/// One pressed button.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Press {
    pub chat_id: Option<i64>,
    pub message_id: Option<i64>,
}

pub(crate) struct Callbacks {
    waiting: HashMap<String, (Press, Instant)>,
    order: VecDeque<String>,
    lifetime: Duration,
}

impl Callbacks {
    pub fn new(lifetime: Duration) -> Self {
        Self { waiting: HashMap::new(), order: VecDeque::new(), lifetime }
    }

    pub fn add(&mut self, id: String, press: Press, now: Instant) {
        self.order.push_back(id.clone());
        self.waiting.insert(id, (press, now));
        if self.order.len() > LIMIT
            && let Some(oldest) = self.order.pop_front()
        {
            self.waiting.remove(&oldest);
        }
    }

    pub fn get(&self, id: &str) -> Option<&Press> {
        self.waiting.get(id).map(|(press, _)| press)
    }

    /// Each press can be answered once, while it is young. None: too old, answered, or never pressed.
    pub fn answer(&mut self, id: &str, now: Instant) -> Option<Press> {
        let (press, at) = self.waiting.remove(id)?;
        (now.duration_since(at) <= self.lifetime).then_some(press)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_press_is_answered_once_and_only_while_it_is_young() {
        let (mut callbacks, start) = (Callbacks::new(Duration::from_secs(10)), Instant::now());
        let press = Press { chat_id: Some(7), message_id: Some(1) };
        callbacks.add("a".to_owned(), press.clone(), start);
        callbacks.add("b".to_owned(), press.clone(), start);
        assert_eq!(callbacks.answer("a", start), Some(press));
        assert_eq!(callbacks.answer("a", start), None);
        assert_eq!(callbacks.answer("b", start + Duration::from_secs(11)), None);
    }
}
