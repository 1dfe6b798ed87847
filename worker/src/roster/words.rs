//! What a worker says of itself, about once a second and with every change.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Id, Member};

/// The version of these words. Whoever says another one is not understood, and so not counted: during an
/// upgrade that changes it the leases alone decide.
const VERSION: u32 = 1;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Words {
    v: u32,
    #[serde(flatten)]
    pub id: Id,
    /// Whether it takes partitions: false while it stops, or can't work.
    pub takes: bool,
    pub held: BTreeSet<u16>,
    /// Who it found gone a moment ago.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gone: Vec<Uuid>,
}

impl Words {
    pub fn new(member: Member, gone: Vec<Uuid>) -> Self {
        let Member { id, takes, held } = member;
        Self { v: VERSION, id, takes, held, gone }
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice::<Self>(bytes).ok().filter(|words| words.v == VERSION)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Workers of one version hear those of another: this must be read for ever.
    const GOLDEN: &str = r#"{"v":1,"since_ms":1790000000000,"name":"00000000-0000-0000-0000-000000000007","takes":true,"held":[0,3],"gone":["00000000-0000-0000-0000-000000000009"]}"#;

    #[test]
    fn words_are_what_they_always_were() {
        let id = Id { since_ms: 1_790_000_000_000, name: Uuid::from_u128(7) };
        let member = Member { id, takes: true, held: BTreeSet::from([0, 3]) };
        let words = Words::new(member, vec![Uuid::from_u128(9)]);
        assert_eq!(String::from_utf8(words.to_bytes()).unwrap(), GOLDEN);
        assert_eq!(Words::from_bytes(GOLDEN.as_bytes()), Some(words));
    }

    #[test]
    fn what_is_not_understood_is_nobodys_words() {
        assert_eq!(Words::from_bytes(GOLDEN.replace("\"v\":1", "\"v\":2").as_bytes()), None);
        assert_eq!(Words::from_bytes(b"hello"), None);
    }
}
