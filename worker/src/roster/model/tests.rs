//! What is checked, and that a mistake would be seen. The numbers of states are those of the day they were written
//! down: far fewer would mean a model in which little happens.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::hash::Hash;

use stateright::{Checker, HasDiscoveries, Model};

use super::evenness::{Evenness, Share};
use super::graph::goes_on;
use super::partition::{Broken, Partition};
use crate::roster::shares::{Id, Member, share_of};

/// Two workers whose prefetches differ, a chat of three updates, one failure, and one hand-over or renewal.
const TWO: Partition = Partition {
    workers: 2,
    chats: 1,
    updates: 3,
    at_first: 3,
    prefetch: [2, 3, 2],
    widest: 3,
    failures: 1,
    moves: 1,
    late_news: false,
    broken: None,
};
const TWO_CHATS: Partition = Partition { chats: 2, ..TWO };
/// The fourth update comes while the others are worked on.
const FOUR_UPDATES: Partition = Partition { updates: 4, ..TWO };
const TWO_FAILURES: Partition = Partition { failures: 2, ..TWO };
const THREE_WORKERS: Partition = Partition { workers: 3, updates: 2, at_first: 2, ..TWO };
const FEW_UPDATES: Partition = Partition { updates: 2, at_first: 2, failures: 2, ..TWO };

/// A property that does not hold, and a way there.
type Fault<M> = (&'static str, Vec<<M as Model>::Action>);

/// Some properties that do not hold, and how many states there are.
fn faults<M>(model: M) -> (usize, Vec<Fault<M>>)
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + Debug + Hash + PartialEq + Send + Sync,
    M::Action: Clone + Debug + PartialEq + Send + Sync,
{
    let checker = model.checker().finish_when(HasDiscoveries::AnyFailures).threads(2).spawn_bfs().join();
    let found = checker.discoveries().into_iter().map(|(name, path)| (name, path.into_actions()));
    (checker.unique_state_count(), found.collect())
}

fn is_safe(model: Partition, states: usize) {
    let (found, faults) = faults(model);
    assert!(faults.is_empty(), "{faults:#?}");
    assert!(found >= states, "{found} states");
}

fn goes_well(model: &Partition, states: usize) {
    assert!(goes_on(model).unwrap() >= states);
}

#[test]
fn a_partition_has_one_owner_and_a_chat_its_order() {
    is_safe(TWO_CHATS, 240_000);
    is_safe(FOUR_UPDATES, 220_000);
    is_safe(THREE_WORKERS, 50_000);
}

#[test]
fn two_failures_on_end_cost_neither_owner_nor_order() {
    is_safe(TWO_FAILURES, 1_000_000);
}

/// Then two may start updates of one partition for a moment; the store keeps them from ending one twice.
#[test]
fn the_order_does_not_hang_on_timely_news_of_a_lost_connection() {
    is_safe(Partition { late_news: true, ..TWO_CHATS }, 540_000);
    is_safe(Partition { late_news: true, ..FEW_UPDATES }, 690_000);
    is_safe(Partition { late_news: true, ..THREE_WORKERS }, 100_000);
}

#[test]
fn after_any_failure_all_updates_end() {
    goes_well(&TWO_CHATS, 240_000);
    goes_well(&THREE_WORKERS, 50_000);
}

#[test]
fn after_two_failures_and_late_news_all_updates_end() {
    goes_well(&FEW_UPDATES, 280_000);
    goes_well(&Partition { late_news: true, ..TWO }, 100_000);
}

fn is_seen(broken: Broken, property: &str) {
    let (_, faults) = faults(Partition { broken: Some(broken), ..TWO });
    assert!(faults.iter().any(|(name, _)| *name == property), "{faults:#?}");
}

#[test]
fn the_model_sees_one_who_subscribes_while_another_consumes() {
    is_seen(Broken::SubscribesAtOnce, "nothing is overtaken");
}

#[test]
fn the_model_sees_one_who_counts_before_all_is_back() {
    is_seen(Broken::CountsTooEarly, "nothing is overtaken");
}

#[test]
fn the_model_sees_one_who_does_not_sort() {
    is_seen(Broken::SortsNothing, "nothing is overtaken");
}

#[test]
fn the_model_sees_one_who_does_not_widen() {
    is_seen(Broken::NeverWidens, "nothing is overtaken");
}

#[test]
fn the_model_sees_one_who_never_ceases_to_widen() {
    goes_on(&Partition { broken: Some(Broken::WidensForEver), ..TWO }).unwrap_err();
}

#[test]
fn the_model_sees_one_who_works_without_a_lease() {
    is_seen(Broken::NeedsNoLease, "no two owners");
}

#[test]
fn the_model_sees_one_who_frees_what_still_runs() {
    is_seen(Broken::FreesAtOnce, "no two owners");
}

#[test]
fn the_model_sees_one_who_claims_while_the_lost_still_runs() {
    let (_, faults) = faults(Partition { broken: Some(Broken::ClaimsAtOnce), workers: 1, ..TWO });
    assert!(faults.iter().any(|(name, _)| *name == "nothing ends twice"), "{faults:#?}");
}

#[test]
fn the_model_sees_one_who_starts_beside_what_runs() {
    is_seen(Broken::RunsBeside, "nothing ends twice");
}

#[test]
fn the_model_sees_one_who_acks_first() {
    is_seen(Broken::AcksFirst, "nothing is lost");
}

#[test]
fn the_model_sees_a_store_without_claims() {
    is_seen(Broken::IsNotFenced, "nothing ends twice");
}

#[test]
fn the_model_sees_one_who_starts_without_having_heard_the_broker() {
    is_seen(Broken::TrustsItself, "no two owners");
}

fn evens_out(model: &Evenness, states: usize) {
    match goes_on(model) {
        Ok(found) => assert!(found >= states, "{found} states"),
        Err((state, way)) => panic!("{state:#?} by {way:#?}"),
    }
}

/// Any words may be late or lost, for any time.
#[test]
fn two_workers_share_evenly_after_two_failures() {
    evens_out(&Evenness { unborn: 1, failures: 2, changes: 2, ..Evenness::new(2, 3) }, 99_000);
}

#[test]
fn three_workers_that_start_at_once_share_evenly() {
    evens_out(&Evenness::new(3, 3), 74_000);
}

/// Of the six views at most four are wrong at a time: as many as are when the third joins.
#[test]
fn three_workers_of_whom_some_join_leave_or_fail_share_evenly() {
    let model =
        |changes, partitions| Evenness { unborn: 2, changes, stale: 4, ..Evenness::new(3, partitions) };
    evens_out(&model(3, 3), 29_000);
    evens_out(&Evenness { failures: 1, ..model(2, 2) }, 60_000);
}

#[test]
fn a_worker_knows_what_it_has_while_it_hears_the_broker() {
    let (_, faults) = faults(Evenness { unborn: 1, failures: 2, changes: 2, ..Evenness::new(2, 3) });
    assert!(faults.is_empty(), "{faults:#?}");
}

fn is_seen_in(share: Share) {
    goes_on(&Evenness::by(share, 2, 3)).unwrap_err();
}

#[test]
fn the_model_sees_a_partition_that_is_nobodys() {
    is_seen_in(|me, members, partitions| share_of(me, members, partitions - 1));
}

#[test]
fn the_model_sees_one_who_wants_all() {
    is_seen_in(|_, _, partitions| (0..partitions).collect());
}

/// Two who always want what the other has pass it to and fro.
#[test]
fn the_model_sees_shares_that_never_settle() {
    fn others(me: Id, members: &[Member], partitions: u16) -> BTreeSet<u16> {
        let own = members.iter().filter(|member| member.id == me).flat_map(|member| &member.held);
        let own: BTreeSet<u16> = own.copied().collect();
        (0..partitions).filter(|partition| !own.contains(partition)).collect()
    }
    is_seen_in(others);
}

#[test]
fn the_model_sees_one_who_never_forgets() {
    let model = Evenness { failures: 1, forgets: false, ..Evenness::new(2, 3) };
    goes_on(&model).unwrap_err();
}
