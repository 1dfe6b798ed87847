//! Which acks are said, and how few say them all: below the lowest update in hand one is enough. Pure.

use std::collections::BTreeSet;
use std::mem::take;

use lapin::types::DeliveryTag;

use crate::queue::late_acks;

/// What is said to the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ack {
    pub delivery: DeliveryTag,
    /// With all before it on the channel.
    pub multiple: bool,
}

/// The acks that may still wait, and what they must not touch. As many as the prefetch at the most.
pub(super) struct Gathered {
    /// The deliveries that nobody has acked.
    in_hand: BTreeSet<DeliveryTag>,
    /// Since the last look.
    young: Vec<DeliveryTag>,
    /// Since the one before, above one that is in hand.
    old: Vec<DeliveryTag>,
    enough: usize,
}

impl Gathered {
    pub fn new(prefetch: u16) -> Self {
        let enough = late_acks(usize::from(prefetch)) + 1;
        Self { in_hand: BTreeSet::new(), young: Vec::new(), old: Vec::new(), enough }
    }

    pub fn delivered(&mut self, delivery: DeliveryTag) {
        self.in_hand.insert(delivery);
    }

    /// It is acked by itself.
    pub fn acked(&mut self, delivery: DeliveryTag) {
        self.in_hand.remove(&delivery);
    }

    pub fn ack_soon(&mut self, delivery: DeliveryTag) {
        if self.in_hand.remove(&delivery) {
            self.young.push(delivery);
        }
    }

    pub fn are_enough(&self) -> bool {
        self.young.len() + self.old.len() >= self.enough
    }

    pub fn is_empty(&self) -> bool {
        self.young.is_empty() && self.old.is_empty()
    }

    /// What is to be said at a look: all that one ack can say, and what has waited for that in vain.
    pub fn due(&mut self) -> Vec<Ack> {
        let mut acks = self.below();
        acks.extend(take(&mut self.old).into_iter().map(Ack::one));
        self.old = take(&mut self.young);
        acks
    }

    /// All that waits.
    pub fn all(&mut self) -> Vec<Ack> {
        let mut acks = self.below();
        let rest = take(&mut self.old).into_iter().chain(take(&mut self.young));
        acks.extend(rest.map(Ack::one));
        acks
    }

    /// One ack for all below the lowest update in hand. What was acked by itself before does not mind.
    fn below(&mut self) -> Vec<Ack> {
        let lowest = self.in_hand.first().copied().unwrap_or(DeliveryTag::MAX);
        let below: Vec<DeliveryTag> = [&mut self.old, &mut self.young]
            .into_iter()
            .flat_map(|waiting| waiting.extract_if(.., |delivery| *delivery < lowest))
            .collect();
        let highest = below.iter().max().copied();
        highest.map(|delivery| Ack { delivery, multiple: below.len() > 1 }).into_iter().collect()
    }
}

impl Ack {
    fn one(delivery: DeliveryTag) -> Self {
        Self { delivery, multiple: false }
    }
}

#[cfg(test)]
mod tests {
    use rand::random_range;

    use super::*;

    /// A broker: what it counts as unacked.
    #[derive(Default)]
    struct Broker {
        unacked: BTreeSet<DeliveryTag>,
        heard: usize,
    }

    impl Broker {
        fn hear(&mut self, acks: Vec<Ack>) {
            for ack in acks {
                assert!(self.unacked.contains(&ack.delivery), "406: {ack:?} is unknown");
                self.unacked
                    .retain(|tag| if ack.multiple { *tag > ack.delivery } else { *tag != ack.delivery });
                self.heard += 1;
            }
        }
    }

    #[test]
    fn what_ended_is_acked_soon_and_what_is_in_hand_never() {
        for _ in 0..500 {
            let prefetch = random_range(1..100);
            let (mut gathered, mut broker) = (Gathered::new(prefetch), Broker::default());
            let mut in_hand = Vec::new();
            let mut ended: Vec<(DeliveryTag, u32)> = Vec::new();
            let mut next = 0;
            for _ in 0..500 {
                match random_range(0..10) {
                    0..4 if broker.unacked.len() < usize::from(prefetch) => {
                        next += 1;
                        gathered.delivered(next);
                        broker.unacked.insert(next);
                        in_hand.push(next);
                    }
                    4..8 if !in_hand.is_empty() => {
                        let tag = in_hand.swap_remove(random_range(0..in_hand.len()));
                        gathered.ack_soon(tag);
                        ended.push((tag, 0));
                        if gathered.are_enough() {
                            broker.hear(gathered.all());
                        }
                    }
                    8 if !in_hand.is_empty() => {
                        let tag = in_hand.swap_remove(random_range(0..in_hand.len()));
                        gathered.acked(tag);
                        broker.hear(vec![Ack::one(tag)]);
                    }
                    9 => {
                        broker.hear(gathered.due());
                        ended.iter_mut().for_each(|(_, looks)| *looks += 1);
                    }
                    _ => {}
                }
                assert!(in_hand.iter().all(|tag| broker.unacked.contains(tag)), "acked in hand");
                ended.retain(|(tag, _)| broker.unacked.contains(tag));
                assert!(ended.iter().all(|(_, looks)| *looks < 2), "it waits on: {ended:?}");
                assert!(ended.len() <= late_acks(usize::from(prefetch)), "too many wait");
                assert_eq!(gathered.is_empty(), ended.is_empty());
            }
            broker.hear(gathered.all());
            assert_eq!(broker.unacked, in_hand.iter().copied().collect());
        }
    }

    #[test]
    fn what_ended_in_its_order_is_one_ack() {
        let mut gathered = Gathered::new(256);
        (1..=20).for_each(|tag| gathered.delivered(tag));
        (1..=9).rev().chain([12]).for_each(|tag| gathered.ack_soon(tag));
        assert_eq!(gathered.due(), [Ack { delivery: 9, multiple: true }]);
        assert_eq!(gathered.due(), [Ack { delivery: 12, multiple: false }]);
        [11, 10, 13].into_iter().for_each(|tag| gathered.ack_soon(tag));
        assert_eq!(gathered.due(), [Ack { delivery: 13, multiple: true }]);
    }
}
