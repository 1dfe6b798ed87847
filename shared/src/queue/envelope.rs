//! An update on its way through a queue: the bytes that Telegram sent, and what the ingress learnt of them.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::clock;
use crate::update::Peek;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// 0 or more, fits 63 bits.
    pub update_id: u64,
    /// The bot that the ingress says it serves (`BOT_ID`), if it says.
    pub bot: Option<u64>,
    /// The kind of update, `message` and so on; empty where it has none.
    pub kind: String,
    /// The chat's id, else the user's; none where the update has no order.
    pub lane: Option<i64>,
    /// When the ingress received it, milliseconds since the epoch.
    pub received_ms: u64,
    /// 0 for what Telegram sent, and then the number of the replay.
    pub replay: u32,
    /// Of the replay, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replayed: Option<Replayed>,
    /// The W3C trace context, if there is one.
    pub traceparent: Option<String>,
    /// The update as Telegram sent it.
    #[serde(skip)]
    pub body: Bytes,
}

/// What a replay takes along of the letter that it came from: for the next letter, should it die again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replayed {
    /// Milliseconds since the epoch.
    pub at_ms: u64,
    /// Who did it, as `user@host`.
    pub by: String,
    /// When the update died for the first time.
    pub first_failed_ms: u64,
}

impl Envelope {
    /// An update that has just come in.
    pub fn received(peek: Peek, bot: Option<u64>, traceparent: Option<String>, body: Bytes) -> Self {
        let Peek { update_id, kind, lane } = peek;
        let received_ms = clock::now_ms();
        Self { update_id, bot, kind, lane, received_ms, replay: 0, replayed: None, traceparent, body }
    }

    /// The partition of this update among `partitions`; updates without an order are spread evenly.
    pub fn partition(&self, partitions: u16) -> u16 {
        partition_of(self.lane.unwrap_or(self.update_id as i64), partitions)
    }
}

/// The partition of a lane: the same on every machine and in every version, since ingresses of two
/// versions publish side by side. The mixer is splitmix64's, so that neighbouring ids spread.
pub fn partition_of(lane: i64, partitions: u16) -> u16 {
    let mut mixed = (lane as u64).wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^= mixed >> 31;
    (mixed % u64::from(partitions.max(1))) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_keeps_its_partition_for_ever() {
        let known: Vec<u16> = [0, 1, 42, -1_001_234_567_890].map(|lane| partition_of(lane, 32)).to_vec();
        assert_eq!(known, [15, 1, 21, 6], "changing this breaks the order of chats during an upgrade");
    }

    #[test]
    fn neighbouring_chats_spread_over_all_partitions() {
        let mut count = [0_u32; 32];
        (0..32_000).for_each(|lane| count[usize::from(partition_of(lane, 32))] += 1);
        assert!(count.iter().all(|n| (850..1150).contains(n)), "{count:?}");
    }
}
