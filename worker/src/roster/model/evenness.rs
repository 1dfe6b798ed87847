//! Who has which partition, over words that are late or lost: leases, the workers' words, and the `share_of` that
//! runs. A worker that hears nobody, not even itself, tries all that is free and gives nothing up: in here that is
//! one that has forgotten everybody else, whose share is all.

use std::collections::HashMap;

use stateright::{Model, Property};
use uuid::Uuid;

use super::graph::Heals;
use crate::roster::shares::{Id, Member, share_of};

pub const WORKERS: usize = 3;

/// A set of partitions, a bit for each.
type Some8 = u8;
type At = usize;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Life {
    /// Not there yet.
    Unborn,
    Up,
    /// Takes nothing more and gives all back.
    Leaving,
    Frozen,
    Gone,
}

/// What a worker says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Word {
    pub takes: bool,
    pub held: Some8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct State {
    pub life: [Life; WORKERS],
    /// At the broker, by partition.
    pub lease: [Option<u8>; 8],
    /// As each knows it of itself: a frozen one does not know what it has lost.
    pub held: [Some8; WORKERS],
    /// Of these it is giving up.
    pub giving: [Some8; WORKERS],
    /// What the first has last heard of the second.
    pub views: [[Option<Word>; WORKERS]; WORKERS],
    pub failures: u8,
    pub changes: u8,
}

/// What is modelled, and how much may happen.
pub struct Evenness {
    pub workers: usize,
    pub partitions: u16,
    /// These join later, if at all.
    pub unborn: usize,
    /// Crashes, cuts, freezes, and living workers that are taken for gone.
    pub failures: u8,
    /// Who joins, and who leaves.
    pub changes: u8,
    /// So many of all views may differ from the truth at a time.
    pub stale: usize,
    /// Who is gone or silent is forgotten.
    pub forgets: bool,
    pub shares: HashMap<(At, [Option<Word>; WORKERS]), Some8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    // What goes wrong.
    Crash(At),
    /// The connection is lost, and all leases with it.
    Cut(At),
    Freeze(At),
    /// The first takes the second for gone, and it is not.
    Mistake(At, At),
    // What somebody chooses.
    Join(At),
    Leave(At),
    // What is sure to happen.
    Take(At, u16),
    GiveUp(At, u16),
    Free(At, u16),
    /// The first hears the second.
    Hear(At, At),
    /// It hears no more of it, or finds its queue gone.
    Forget(At, At),
    /// The leases of one that is gone or frozen.
    Return(At),
    Wake(At),
    Gone(At),
}

/// How shares are decided.
pub type Share = fn(Id, &[Member], u16) -> std::collections::BTreeSet<u16>;

impl Evenness {
    pub fn new(workers: usize, partitions: u16) -> Self {
        Self::by(share_of, workers, partitions)
    }

    /// Every share is computed once and for all: there are few enough, and a model asks for them very often.
    pub fn by(share: Share, workers: usize, partitions: u16) -> Self {
        let held = 0..1_u8 << partitions;
        let words = held.flat_map(|held| [true, false].map(|takes| Some(Word { takes, held })));
        let words: Vec<Option<Word>> = words.chain([None]).collect();
        let none: &[Option<Word>] = &[None];
        let of = |worker: At| if worker < workers { words.as_slice() } else { none };
        let mut shares = HashMap::new();
        for (first, second, third) in
            of(0).iter().flat_map(|a| of(1).iter().flat_map(move |b| of(2).iter().map(move |c| (*a, *b, *c))))
        {
            let known = [first, second, third];
            let members: Vec<Member> =
                known.iter().enumerate().filter_map(|(at, word)| word.map(|word| member(at, word))).collect();
            for me in (0..workers).filter(|me| known[*me].is_some()) {
                let share = share(id(me), &members, partitions);
                shares.insert((me, known), share.iter().fold(0, |all, partition| all | 1 << partition));
            }
        }
        Self {
            workers,
            partitions,
            unborn: 0,
            failures: 0,
            changes: 0,
            stale: usize::MAX,
            forgets: true,
            shares,
        }
    }

    fn share(&self, state: &State, me: At) -> Some8 {
        let mut known = state.views[me];
        known[me] = Some(state.word(me));
        self.shares[&(me, known)]
    }

    /// Whether what the first knows of the second is not so.
    fn is_stale(&self, state: &State, me: At, other: At) -> bool {
        let listens = matches!(state.life[me], Life::Up | Life::Leaving);
        listens && me != other && state.views[me][other] != state.truth(other)
    }

    fn worker_steps(&self, state: &State, me: At, steps: &mut Vec<Step>) {
        let share = self.share(state, me);
        for partition in 0..self.partitions {
            let bit = 1 << partition;
            if state.giving[me] & bit != 0 {
                steps.push(Step::Free(me, partition));
            } else if state.held[me] & bit != 0 {
                if share & bit == 0 {
                    steps.push(Step::GiveUp(me, partition));
                }
            } else if share & bit != 0 && state.lease[usize::from(partition)].is_none() {
                steps.push(Step::Take(me, partition));
            }
        }
        for other in (0..self.workers).filter(|other| self.is_stale(state, me, *other)) {
            match state.life[other] {
                Life::Up | Life::Leaving => steps.push(Step::Hear(me, other)),
                _ if self.forgets => steps.push(Step::Forget(me, other)),
                _ => {}
            }
        }
        if state.life[me] == Life::Leaving && state.held[me] == 0 {
            steps.push(Step::Gone(me));
        }
    }

    fn troubles(&self, state: &State, me: At, steps: &mut Vec<Step>) {
        let others_up = (0..self.workers).any(|other| other != me && state.life[other] == Life::Up);
        if state.failures > 0 && matches!(state.life[me], Life::Up | Life::Leaving) {
            if others_up {
                steps.push(Step::Crash(me));
            }
            steps.extend([Step::Cut(me), Step::Freeze(me)]);
            let known = |other: &At| {
                *other != me && state.views[me][*other].is_some() && state.truth(*other).is_some()
            };
            steps.extend((0..self.workers).filter(known).map(|other| Step::Mistake(me, other)));
        }
        if state.changes > 0 {
            match state.life[me] {
                Life::Unborn => steps.push(Step::Join(me)),
                Life::Up if others_up => steps.push(Step::Leave(me)),
                _ => {}
            }
        }
    }
}

fn id(worker: At) -> Id {
    Id { since_ms: worker as u64, name: Uuid::from_u128(worker as u128) }
}

fn member(worker: At, word: Word) -> Member {
    let held = (0..8).filter(|partition| word.held & (1 << partition) != 0).collect();
    Member { id: id(worker), takes: word.takes, held }
}

impl State {
    /// Of itself a worker knows the truth.
    fn word(&self, me: At) -> Word {
        Word { takes: self.life[me] == Life::Up, held: self.held[me] }
    }

    /// What is to be known of a worker.
    fn truth(&self, worker: At) -> Option<Word> {
        matches!(self.life[worker], Life::Up | Life::Leaving).then(|| self.word(worker))
    }

    fn lose_all(&mut self, worker: At) {
        (self.held[worker], self.giving[worker]) = (0, 0);
    }

    fn return_leases(&mut self, worker: At) {
        self.lease.iter_mut().filter(|lease| **lease == Some(worker as u8)).for_each(|lease| *lease = None);
    }

    fn has_leases(&self, worker: At) -> bool {
        self.lease.contains(&Some(worker as u8))
    }
}

impl Model for Evenness {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        let life = std::array::from_fn(|worker| match worker {
            _ if worker >= self.workers => Life::Gone,
            _ if worker >= self.workers - self.unborn => Life::Unborn,
            _ => Life::Up,
        });
        vec![State {
            life,
            lease: [None; 8],
            held: [0; WORKERS],
            giving: [0; WORKERS],
            views: [[None; WORKERS]; WORKERS],
            failures: self.failures,
            changes: self.changes,
        }]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        for me in 0..self.workers {
            self.troubles(state, me, steps);
            match state.life[me] {
                Life::Up | Life::Leaving => self.worker_steps(state, me, steps),
                Life::Frozen => {
                    steps.push(Step::Wake(me));
                    steps.extend(state.has_leases(me).then_some(Step::Return(me)));
                }
                Life::Gone if state.has_leases(me) => steps.push(Step::Return(me)),
                Life::Gone | Life::Unborn => {}
            }
        }
    }

    fn next_state(&self, last: &State, step: Step) -> Option<State> {
        let mut state = *last;
        match step {
            Step::Crash(_) | Step::Cut(_) | Step::Freeze(_) | Step::Mistake(..) => state.failures -= 1,
            Step::Join(_) | Step::Leave(_) => state.changes -= 1,
            _ => {}
        }
        match step {
            Step::Crash(me) | Step::Gone(me) => {
                (state.life[me], state.views[me]) = (Life::Gone, [None; WORKERS]);
                state.lose_all(me);
            }
            Step::Cut(me) => {
                state.return_leases(me);
                state.lose_all(me);
            }
            Step::Freeze(me) => state.life[me] = Life::Frozen,
            Step::Mistake(me, other) | Step::Forget(me, other) => state.views[me][other] = None,
            Step::Join(me) => state.life[me] = Life::Up,
            Step::Leave(me) => state.life[me] = Life::Leaving,
            Step::Take(me, partition) => {
                state.lease[usize::from(partition)] = Some(me as u8);
                state.held[me] |= 1 << partition;
            }
            Step::GiveUp(me, partition) => state.giving[me] |= 1 << partition,
            Step::Free(me, partition) => {
                state.lease[usize::from(partition)] = None;
                state.held[me] &= !(1 << partition);
                state.giving[me] &= !(1 << partition);
            }
            Step::Hear(me, other) => state.views[me][other] = state.truth(other),
            Step::Return(me) => state.return_leases(me),
            Step::Wake(me) => {
                state.life[me] = Life::Up;
                if !state.has_leases(me) {
                    state.lose_all(me);
                }
            }
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![Property::always(
            "who is sound has the lease of what it holds",
            |model: &Self, state: &State| {
                (0..model.workers).filter(|me| state.truth(*me).is_some()).all(|me| {
                    (0..model.partitions).all(|partition| {
                        let held = state.held[me] & (1 << partition) != 0;
                        held == (state.lease[usize::from(partition)] == Some(me as u8))
                    })
                })
            },
        )]
    }

    fn within_boundary(&self, state: &State) -> bool {
        let stale = |me: At| (0..self.workers).filter(move |other| self.is_stale(state, me, *other));
        (0..self.workers).flat_map(stale).count() <= self.stale
    }
}

impl Heals for Evenness {
    fn heals(step: &Step) -> bool {
        use Step::{Crash, Cut, Freeze, Join, Leave, Mistake, Wake};
        !matches!(step, Crash(_) | Cut(_) | Freeze(_) | Wake(_) | Mistake(..) | Join(_) | Leave(_))
    }

    /// Each partition is held, by one who takes, and no two of those differ by more than one.
    fn is_well(&self, state: &State) -> bool {
        let takers: Vec<At> = (0..self.workers).filter(|me| state.life[*me] == Life::Up).collect();
        let all = takers.iter().fold(0, |all, me| all | state.held[*me]);
        let sizes = || takers.iter().map(|me| state.held[*me].count_ones());
        let spread = sizes().max().unwrap_or(0) - sizes().min().unwrap_or(0);
        takers.is_empty() || (all == (1 << self.partitions) - 1 && spread < 2)
    }
}
