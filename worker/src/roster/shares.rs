//! Who should have which partition: a pure function of what the workers tell each other. Whoever has the same
//! words comes to the same shares. It only steers; that no partition has two owners is the lease's business, so
//! words that are late or lost cost evenness and never safety. `tests/protocol` checks the two together.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A worker's name and rank: the eldest first, the name between those of one age.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Id {
    /// When it started, in ms since the epoch by its own clock: only a rank, so a wrong clock does no harm.
    pub since_ms: u64,
    pub name: Uuid,
}

/// What is known of a worker.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Member {
    pub id: Id,
    /// Whether it takes partitions: false while it stops, or can't work.
    pub takes: bool,
    pub held: BTreeSet<u16>,
}

/// The partitions that `me` should have: ⌊P/W⌋ or ⌈P/W⌉ of them. What a worker has it keeps, up to its share.
///
/// 1. A partition that two say they have is `me`'s if `me` says so, since a worker's own leases are no hearsay; else
///    the elder's.
/// 2. The greater shares go to those who have more than the lesser one already, then to the eldest.
/// 3. Everybody keeps the lowest of what it has, up to its share. What is left goes to those who have less, the
///    lowest partition to the eldest.
pub fn share_of(me: Id, members: &[Member], partitions: u16) -> BTreeSet<u16> {
    let mut takers: Vec<&Member> = members.iter().filter(|member| member.takes).collect();
    takers.sort_by_key(|member| member.id);
    if takers.is_empty() {
        return BTreeSet::new();
    }
    let (least, more) = (usize::from(partitions) / takers.len(), usize::from(partitions) % takers.len());
    let owned = owners(me, members, partitions);
    let has = |member: &Member| owned.values().filter(|owner| **owner == member.id).count();
    let mut by_claim = takers.clone();
    by_claim.sort_by_key(|member| (has(member) <= least, member.id));
    let greater: BTreeSet<Id> = by_claim.iter().take(more).map(|member| member.id).collect();
    let size = |id: &Id| least + usize::from(greater.contains(id));

    let mut shares: BTreeMap<Id, BTreeSet<u16>> =
        takers.iter().map(|member| (member.id, BTreeSet::new())).collect();
    let mut left = BTreeSet::new();
    for partition in 0..partitions {
        let share = owned.get(&partition).and_then(|owner| Some((owner, shares.get_mut(owner)?)));
        match share {
            Some((owner, share)) if share.len() < size(owner) => share.insert(partition),
            _ => left.insert(partition),
        };
    }
    let mut left = left.into_iter();
    for (id, share) in &mut shares {
        let wanting = size(id) - share.len();
        share.extend(left.by_ref().take(wanting));
    }
    shares.remove(&me).unwrap_or_default()
}

/// Who has each partition.
fn owners(me: Id, members: &[Member], partitions: u16) -> BTreeMap<u16, Id> {
    let mut ranked: Vec<&Member> = members.iter().collect();
    ranked.sort_by_key(|member| (member.id != me, member.id));
    let mut owners = BTreeMap::new();
    for member in ranked {
        for partition in member.held.iter().filter(|partition| **partition < partitions) {
            owners.entry(*partition).or_insert(member.id);
        }
    }
    owners
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(rank: u64) -> Id {
        Id { since_ms: rank, name: Uuid::from_u128(u128::from(rank)) }
    }

    fn member(rank: u64, held: impl IntoIterator<Item = u16>) -> Member {
        Member { id: id(rank), takes: true, held: held.into_iter().collect() }
    }

    fn shares(members: &[Member], partitions: u16) -> Vec<BTreeSet<u16>> {
        members.iter().map(|member| share_of(member.id, members, partitions)).collect()
    }

    fn sizes(members: &[Member], partitions: u16) -> Vec<usize> {
        shares(members, partitions).iter().map(BTreeSet::len).collect()
    }

    #[test]
    fn a_worker_alone_has_all() {
        assert_eq!(sizes(&[member(1, [])], 16), [16]);
    }

    #[test]
    fn shares_are_even_for_any_number_of_workers() {
        let of = |workers: u64| (0..workers).map(|rank| member(rank, [])).collect::<Vec<_>>();
        assert_eq!(sizes(&of(5), 16), [4, 3, 3, 3, 3]);
        assert_eq!(sizes(&of(9), 16), [2, 2, 2, 2, 2, 2, 2, 1, 1]);
        assert_eq!(sizes(&of(15), 16), [2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]);
        assert_eq!(sizes(&of(20), 16).iter().sum::<usize>(), 16);
    }

    #[test]
    fn who_joins_takes_no_more_than_a_share() {
        let members = [member(1, 0..16), member(2, [])];
        assert_eq!(shares(&members, 16), [(0..8).collect(), (8..16).collect::<BTreeSet<_>>()]);
    }

    #[test]
    fn who_has_more_keeps_the_greater_share() {
        let members = [member(1, 0..5), member(2, 5..11), member(3, 11..16)];
        assert_eq!(sizes(&members, 16), [5, 6, 5]);
    }

    #[test]
    fn who_stops_is_given_nothing_and_its_partitions_are_the_others() {
        let stopping = Member { takes: false, ..member(1, 0..8) };
        let members = [stopping, member(2, 8..16)];
        assert_eq!(sizes(&members, 16), [0, 16]);
    }

    #[test]
    fn an_own_lease_is_worth_more_than_anothers_word() {
        let members = [member(1, [0, 1]), member(2, [1, 2])];
        assert!(share_of(id(2), &members, 3).contains(&1));
    }

    #[derive(Clone, Debug)]
    struct World {
        partitions: u16,
        members: Vec<Member>,
    }

    /// Leases as they can be: no partition with two.
    fn world() -> impl Strategy<Value = World> {
        (1..40u16, 1..12usize)
            .prop_flat_map(|(partitions, workers)| {
                let owners = prop::collection::vec(0..=workers, usize::from(partitions));
                let takes = prop::collection::vec(prop::bool::weighted(0.8), workers);
                (Just(partitions), owners, takes)
            })
            .prop_map(|(partitions, owners, takes)| {
                let members = takes.iter().enumerate().map(|(rank, takes)| {
                    let held = (0..partitions).filter(|partition| owners[usize::from(*partition)] == rank);
                    Member { takes: *takes, ..member(rank as u64, held) }
                });
                World { partitions, members: members.collect() }
            })
    }

    proptest! {
        #[test]
        fn every_partition_is_one_takers(world in world()) {
            let shares = shares(&world.members, world.partitions);
            let all: Vec<u16> = shares.iter().flatten().copied().collect();
            let distinct: BTreeSet<u16> = all.iter().copied().collect();
            prop_assert_eq!(all.len(), distinct.len());
            let anybody = world.members.iter().any(|member| member.takes);
            prop_assert_eq!(all.len(), if anybody { usize::from(world.partitions) } else { 0 });
        }

        #[test]
        fn no_two_shares_differ_by_more_than_one(world in world()) {
            let shares = shares(&world.members, world.partitions);
            let takers = world.members.iter().zip(&shares).filter(|(member, _)| member.takes);
            let sizes: Vec<usize> = takers.map(|(_, share)| share.len()).collect();
            let (least, most) = (sizes.iter().min(), sizes.iter().max());
            prop_assert!(most.unwrap_or(&0) - least.unwrap_or(&0) <= 1, "{sizes:?}");
        }

        #[test]
        fn nothing_moves_that_need_not(world in world()) {
            let shares = shares(&world.members, world.partitions);
            for (member, share) in world.members.iter().zip(&shares).filter(|(member, _)| member.takes) {
                let kept = member.held.intersection(share).count();
                prop_assert_eq!(kept, member.held.len().min(share.len()));
            }
        }

        #[test]
        fn a_partition_on_its_way_changes_no_other_share(world in world(), partition in 0..40u16) {
            let before = shares(&world.members, world.partitions);
            let mut given_up = world.members.clone();
            for (member, share) in given_up.iter_mut().zip(&before) {
                // Its owner has given it up, and nobody has it yet.
                if !share.contains(&partition) {
                    member.held.remove(&partition);
                }
            }
            prop_assert_eq!(shares(&given_up, world.partitions), before);
        }

        #[test]
        fn what_all_have_taken_stays(world in world()) {
            let shares_before = shares(&world.members, world.partitions);
            let mut settled = world.members.clone();
            for (member, share) in settled.iter_mut().zip(&shares_before) {
                member.held = share.clone();
            }
            prop_assert_eq!(shares(&settled, world.partitions), shares_before);
        }
    }
}
