//! One partition: its queue and its lease at the broker, the store, and the workers that may have it. What each of
//! them can do next is in `steps`, and what that changes in `changes`.

mod changes;
mod row;
mod steps;

use stateright::{Model, Property};

use super::graph::Heals;
use row::{Row, Set};
pub use steps::Step;

/// At most this many workers; a model may have fewer.
pub const WORKERS: usize = 3;
/// Update `u` is of chat `u % chats`.
pub const CHATS: usize = 2;
/// At most this many updates: a set of them is a byte.
pub const UPDATES: usize = 6;

/// A mistake that the model has to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// Subscribes while an earlier consumer is still known, as one does who waits for so long and no longer.
    SubscribesAtOnce,
    /// Asks how many updates are ready when it takes the lease, before the old ones are back.
    CountsTooEarly,
    /// Takes what comes back in the order in which it comes.
    SortsNothing,
    /// Starts with the returned ones that its prefetch holds, though there may be more.
    NeverWidens,
    /// Subscribes again even where it has the widest prefetch already.
    WidensForEver,
    /// Works without a lease.
    NeedsNoLease,
    /// Gives the lease away while something it started still runs.
    FreesAtOnce,
    /// Claims again after a lost connection while something it started still runs.
    ClaimsAtOnce,
    /// After a renewal it starts beside what still runs.
    RunsBeside,
    /// Acks before the end is recorded.
    AcksFirst,
    /// A write of the store asks for no claim.
    IsNotFenced,
    /// Starts without having heard the broker.
    TrustsItself,
}

/// What is modelled, and how much may go wrong.
#[derive(Clone, Debug)]
pub struct Partition {
    pub workers: usize,
    pub chats: usize,
    pub updates: u8,
    /// This many are in the queue at the start; the others come at any time.
    pub at_first: u8,
    pub prefetch: [u8; WORKERS],
    /// The greatest of them.
    pub widest: u8,
    /// Crashes, cuts, freezes and silences together.
    pub failures: u8,
    /// Hand-overs and renewals together.
    pub moves: u8,
    /// A worker may learn late that the broker has ended its connection, and start meanwhile. Else it hears so at
    /// once, or has stopped before, since its heartbeat is shorter than the broker's patience.
    pub late_news: bool,
    pub broken: Option<Broken>,
}

/// A connection as the broker has it. A worker has two in turn: the broker may still know the old one when the new
/// one is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Session {
    pub ended: bool,
    pub consumer: bool,
    pub unacked: Set,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Life {
    Up,
    Frozen,
    Dead,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    Idle,
    /// Has the lease and no consumer.
    Leased,
    /// Holds the returned updates until all are here.
    Collecting,
    Working,
    /// Starts nothing more; what was started may end.
    Halting,
    /// Has closed the channel.
    Closed,
    /// Has lost the connection; what is on the wire may end.
    Lost,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Running {
    pub update: u8,
    /// Its end is recorded, and only the ack is missing.
    pub recorded: bool,
    /// The channel that it came by is closed.
    pub old: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Worker {
    pub life: Life,
    /// The broker was heard within a heartbeat.
    pub heard: bool,
    /// Which of its two sessions is the present one.
    pub session: u8,
    pub phase: Phase,
    /// Subscribes with the widest prefetch.
    pub wide: bool,
    /// How many were ready when it subscribed.
    pub ready: u8,
    pub collected: Row,
    pub fresh_came: bool,
    /// Not started yet, in their order.
    pub lanes: Row,
    /// One for each chat. Behind them those that only a mistake leaves running beside the lanes.
    pub running: [Option<Running>; 2 * CHATS],
}

impl Worker {
    pub const NEW: Self = Self {
        life: Life::Up,
        heard: true,
        session: 0,
        phase: Phase::Idle,
        wide: false,
        ready: 0,
        collected: Row(0),
        fresh_came: false,
        lanes: Row(0),
        running: [None; 2 * CHATS],
    };

    pub fn runs(&self) -> bool {
        self.running.iter().any(Option::is_some)
    }

    /// Nothing more of what it has in hand is started.
    pub fn drop_hand(&mut self) {
        (self.collected, self.lanes, self.fresh_came, self.ready) = (Row(0), Row(0), false, 0);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct State {
    pub published: u8,
    /// Ready and never handed out.
    pub fresh: Set,
    /// Ready again.
    pub returned: Set,
    pub lease: Option<u8>,
    pub sessions: [Session; 2 * WORKERS],
    /// The store: who began it last, and what has ended.
    pub claims: [Option<u8>; UPDATES],
    pub ended: Set,
    pub workers: [Worker; WORKERS],
    pub failures: u8,
    pub moves: u8,
    /// One was started before an earlier one of its chat had ended.
    pub overtaken: bool,
    /// An end was recorded a second time.
    pub ended_twice: bool,
}

impl State {
    pub fn of(model: &Partition) -> Self {
        Self {
            published: model.at_first,
            fresh: Set::first(model.at_first),
            returned: Set::default(),
            lease: None,
            sessions: [Session::default(); 2 * WORKERS],
            claims: [None; UPDATES],
            ended: Set::default(),
            workers: [Worker::NEW; WORKERS],
            failures: model.failures,
            moves: model.moves,
            overtaken: false,
            ended_twice: false,
        }
    }

    /// The number of a worker's present session.
    pub fn session_of(&self, worker: usize) -> usize {
        2 * worker + usize::from(self.workers[worker].session)
    }

    pub fn is_connected(&self, worker: usize) -> bool {
        self.workers[worker].life != Life::Dead && !self.sessions[self.session_of(worker)].ended
    }

    /// Lives, and knows that the broker knows it.
    pub fn is_sound(&self, worker: usize) -> bool {
        let Worker { life, heard, .. } = self.workers[worker];
        life == Life::Up && heard && self.is_connected(worker)
    }

    /// Lives and may start updates, or knows no reason why those that it has started should stop. What is on the
    /// wire of one that was frozen, or has lost its connection, is seen to its end beside the next owner.
    fn owns(&self, model: &Partition, worker: usize) -> bool {
        let at = &self.workers[worker];
        let may_start = at.life == Life::Up && at.phase == Phase::Working && model.trusts(at);
        may_start || (self.is_sound(worker) && at.runs() && at.phase != Phase::Lost)
    }
}

impl Partition {
    fn is(&self, broken: Broken) -> bool {
        self.broken == Some(broken)
    }

    /// Whether a worker starts updates as far as the connection goes.
    fn trusts(&self, worker: &Worker) -> bool {
        worker.heard || self.late_news || self.is(Broken::TrustsItself)
    }

    fn prefetch_of(&self, state: &State, worker: usize) -> u8 {
        if state.workers[worker].wide { self.widest } else { self.prefetch[worker] }
    }

    fn chat(&self, update: u8) -> usize {
        usize::from(update) % self.chats
    }
}

impl Model for Partition {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        vec![State::of(self)]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        self.steps(state, steps);
    }

    fn next_state(&self, state: &State, step: Step) -> Option<State> {
        let mut next = *state;
        self.take(&mut next, step);
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("no two owners", |model: &Self, state: &State| {
                model.late_news || (0..model.workers).filter(|worker| state.owns(model, *worker)).count() < 2
            }),
            Property::always("nothing is overtaken", |_, state: &State| !state.overtaken),
            Property::always("nothing ends twice", |_, state: &State| !state.ended_twice),
            Property::always("nothing is lost", |_, state: &State| {
                let queued = state.sessions.iter().map(|session| session.unacked.0);
                let known =
                    queued.fold(state.fresh.0 | state.returned.0 | state.ended.0, |all, some| all | some);
                Set::first(state.published).0 & !known == 0
            }),
        ]
    }
}

impl Heals for Partition {
    fn heals(step: &Step) -> bool {
        !matches!(
            step,
            Step::Crash(_)
                | Step::Freeze(_)
                | Step::Silence(_)
                | Step::Cut(_)
                | Step::Restart(_)
                | Step::Wake(_)
                | Step::GiveUp(_)
                | Step::Renew(_)
        )
    }

    /// While anybody lives, the partition is somebody's and all that came has ended.
    fn is_well(&self, state: &State) -> bool {
        if !(0..self.workers).any(|worker| state.workers[worker].life == Life::Up) {
            return true;
        }
        let queued = state.sessions.iter().any(|session| !session.unacked.is_empty());
        let owner = state.lease.map(|session| usize::from(session) / 2);
        let worked_on = owner.is_some_and(|owner| {
            state.workers[owner].phase == Phase::Working
                && state.is_sound(owner)
                && state.sessions[state.session_of(owner)].consumer
        });
        worked_on && !queued && state.returned.is_empty() && state.ended == Set::first(self.updates)
    }
}
