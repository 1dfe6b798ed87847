use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::*;

#[test]
fn company_only_ever_shrinks_until_the_last_try_which_is_made_alone() {
    let tries: Vec<Company> = (0..TRIES).map(Company::after_tries).collect();
    assert!(tries.windows(2).all(|pair| pair[1] < pair[0]), "{tries:?}");
    assert_eq!((tries[0], tries[4]), (Company::Any, Company::Alone));
    let returns: Vec<Company> = (0..RETURNS).map(Company::after_returns).collect();
    assert!(returns.windows(2).all(|pair| pair[1] <= pair[0]), "{returns:?}");
    assert_eq!((returns[0], returns[19]), (Company::Any, Company::Alone));
}

#[test]
fn as_many_are_in_hand_as_may_be_handled_together() {
    let all = [Company::Alone, Company::One, Company::Few, Company::Many, Company::Any];
    assert_eq!(all.map(|company| company.in_hand(256)), [1, 1, 8, 32, 256]);
    assert_eq!(all.map(|company| company.in_hand(16)), [1, 1, 8, 16, 16]);
}

#[tokio::test(start_paused = true)]
async fn what_must_be_alone_waits_for_all_and_all_wait_for_it() {
    let room = Arc::new(Room::default());
    let soon = Duration::from_secs(1);
    let (fresh, suspect) = (room.enter(Company::Any).await, room.enter(Company::One).await);
    assert!(tokio::time::timeout(soon, room.enter(Company::Alone)).await.is_err());
    drop((fresh, suspect));
    let alone = room.enter(Company::Alone).await;
    for company in [Company::Any, Company::Many, Company::Few, Company::One] {
        assert!(tokio::time::timeout(soon, room.enter(company)).await.is_err(), "{company:?}");
    }
    drop(alone);
    let mut many = Vec::new();
    for _ in 0..MANY {
        many.push(room.enter(Company::Many).await);
    }
    assert!(tokio::time::timeout(soon, room.enter(Company::Many)).await.is_err());
    assert!(tokio::time::timeout(soon, room.enter(Company::Few)).await.is_ok(), "another group");
}

/// An update of the play below.
#[derive(Clone, Debug)]
struct Actor {
    poison: bool,
    /// Begun so many times.
    tries: u32,
    /// Steps that its handling takes; a poison one kills in its last.
    takes: u32,
    ended: bool,
}

/// What one life of a worker leaves behind: who was handled when it died, or nobody if all ended.
///
/// In each step those who may enter do, in an order that `dice` shuffles; what is inside grows a step older.
fn live(actors: &mut [Actor], dice: &mut impl FnMut(usize) -> usize) -> (bool, u32) {
    let mut inside: Vec<(usize, Company, u32)> = Vec::new();
    let mut steps = 0;
    loop {
        let mut waiting: Vec<usize> = (0..actors.len())
            .filter(|at| !actors[*at].ended && inside.iter().all(|(other, ..)| other != at))
            .collect();
        for at in (1..waiting.len()).rev() {
            waiting.swap(at, dice(at + 1));
        }
        for at in waiting {
            let company = Company::after_tries(actors[at].tries);
            let beside = inside
                .iter()
                .filter(|(_, other, _)| {
                    *other == company || company == Company::One && *other == Company::Alone
                })
                .count();
            let alone = inside.iter().any(|(_, other, _)| *other == Company::Alone);
            let enters = match company {
                Company::Alone => inside.is_empty(),
                company => !alone && beside < usize::from(company.in_hand(1024)),
            };
            if enters {
                actors[at].tries += 1;
                if actors[at].tries > TRIES {
                    // Buried.
                    actors[at].ended = true;
                } else {
                    inside.push((at, company, 0));
                }
            }
        }
        if inside.is_empty() {
            return (false, steps);
        }
        steps += 1;
        inside.iter_mut().for_each(|(.., age)| *age += 1);
        let over: Vec<usize> =
            inside.iter().filter(|(at, _, age)| *age >= actors[*at].takes).map(|(at, ..)| *at).collect();
        if over.iter().any(|at| actors[*at].poison) {
            return (true, steps);
        }
        over.iter().for_each(|at| actors[*at].ended = true);
        inside.retain(|(at, ..)| !over.contains(at));
    }
}

fn innocent(takes: u32) -> Actor {
    Actor { poison: false, tries: 0, takes, ended: false }
}

/// Plays lives until all ended. Returns the kills and the steps of all lives.
fn play(actors: &mut [Actor], mut dice: impl FnMut(usize) -> usize) -> (u32, u32) {
    let (mut kills, mut steps) = (0, 0);
    loop {
        let (killed, lived) = live(actors, &mut dice);
        steps += lived;
        if !killed {
            return (kills, steps);
        }
        kills += 1;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// The promise itself, over random schedules: several poisons, each with a time of its own to kill in,
    /// among many innocents, some of which an earlier trouble has blamed for all tries but the last.
    #[test]
    fn poison_dies_of_its_tries_and_the_innocent_never_do(
        poisons in 1_usize..5,
        slow in prop::collection::vec((1_u32..8, 0_u32..5), 1..80),
        seed in any::<u64>(),
    ) {
        let mut actors: Vec<Actor> = slow.iter().map(|(takes, tries)| Actor { tries: *tries, ..innocent(*takes) }).collect();
        for n in 0..poisons {
            let takes = 1 + (n as u32 + seed as u32) % 5;
            actors.insert((seed as usize + n * 7) % actors.len(), Actor { poison: true, ..innocent(takes) });
        }
        let mut state = seed | 1;
        let dice = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % below
        };
        let (kills, _) = play(&mut actors, dice);
        prop_assert!(kills <= TRIES * poisons as u32, "{} kills", kills);
        for actor in &actors {
            prop_assert!(actor.ended);
            if actor.poison {
                prop_assert_eq!(actor.tries, TRIES + 1, "five tries, and a look that finds it dead");
            } else {
                prop_assert!(actor.tries <= TRIES, "an innocent was begun {} times", actor.tries);
            }
        }
    }
}

#[test]
fn five_hundred_beside_a_poison_are_handled_by_dozens() {
    let mut actors = vec![innocent(6); 500];
    actors.insert(250, Actor { poison: true, ..innocent(2) });
    let mut turn = 0;
    let (kills, steps) = play(&mut actors, |below| {
        turn += 1;
        turn % below
    });
    assert_eq!(kills, TRIES);
    let alone = actors.iter().filter(|actor| !actor.poison && actor.tries == TRIES).count();
    assert_eq!(alone, 0, "beside one poison nobody else comes to a last try");
    // One by one it would be 500 times 6 steps.
    assert!(steps < 200, "{steps} steps");
}
