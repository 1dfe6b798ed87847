//! A plan: the calls that an answer comes to, kept in the store until they are made, so that a crash asks
//! no service twice and mixes no two answers.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::outcome::{Fate, Rest};
use crate::reply::Call;

/// A wire type: it lies in the store while an update is open, and in a dead letter.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The version of this shape.
    pub v: u32,
    pub calls: Vec<Call>,
    /// What the update comes to when all calls are made.
    #[serde(default)]
    pub fate: Fate,
    /// How the callback is answered, if the service said how.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub callback: Option<Call>,
}

impl Plan {
    pub fn new(calls: Vec<Call>, fate: Fate) -> Self {
        Self { v: 1, calls, fate, callback: None }
    }

    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    pub fn to_bytes(&self) -> Bytes {
        serde_json::to_vec(self).unwrap_or_default().into()
    }

    /// What is left of it for a dead letter: the callback's answer if that failed, and the calls from `at` on.
    pub fn rest(&self, at: usize, callback: Option<Call>) -> Rest {
        let calls = callback.into_iter().chain(self.calls.iter().skip(at).cloned()).collect();
        Rest(serde_json::to_string(&Self::new(calls, Fate::Done)).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_that_was_written_by_the_first_version_is_read_for_ever() {
        let golden = br#"{"v":1,"calls":[{"method":"sendMessage","params":{"chat_id":5,"text":"hi"}}]}"#;
        let plan = Plan::from_bytes(golden).unwrap();
        assert_eq!((plan.calls.len(), &plan.fate), (1, &Fate::Done));
        assert_eq!(Plan::from_bytes(&plan.to_bytes()), Some(plan));
    }
}
