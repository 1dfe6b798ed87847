//! What can happen next around one partition.

use super::{Broken, Life, Partition, Phase, State, Worker};

type At = usize;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    // What goes wrong.
    Crash(At),
    Freeze(At),
    /// Neither hears the other, for a while or for good.
    Silence(At),
    /// The broker ends the connection.
    Cut(At),
    // What somebody chooses.
    Restart(At),
    GiveUp(At),
    Renew(At),
    // What the broker does.
    Publish,
    /// It has heard nothing for too long.
    End(At),
    FreeLease,
    /// Of an ended session: its consumer goes, and what it had comes back.
    Return(At),
    Deliver(At, u8),
    // What a worker does.
    Wake(At),
    Hear(At),
    NoticeLoss(At),
    Reconnect(At),
    Take(At),
    Subscribe(At),
    Settle(At),
    Start(At, u8),
    Record(At, At),
    Ack(At, At),
    Close(At),
    Free(At),
}

impl Partition {
    pub fn steps(&self, state: &State, steps: &mut Vec<Step>) {
        if state.published < self.updates {
            steps.push(Step::Publish);
        }
        if state.lease.is_some_and(|session| state.sessions[usize::from(session)].ended) {
            steps.push(Step::FreeLease);
        }
        for (number, session) in state.sessions.iter().enumerate() {
            if session.ended && session.consumer {
                steps.push(Step::Return(number));
            }
        }
        for worker in 0..self.workers {
            self.troubles(state, worker, steps);
            self.deliveries(state, worker, steps);
            match state.workers[worker].life {
                Life::Up => {
                    self.connection_steps(state, worker, steps);
                    self.claim_steps(state, worker, steps);
                    self.handler_steps(state, worker, steps);
                }
                Life::Frozen => steps.push(Step::Wake(worker)),
                // Its successor has a connection of its own.
                Life::Dead if self.is_next_session_clean(state, worker) => steps.push(Step::Restart(worker)),
                Life::Dead => {}
            }
        }
    }

    fn troubles(&self, state: &State, worker: At, steps: &mut Vec<Step>) {
        let Worker { life, heard, .. } = state.workers[worker];
        if life != Life::Dead && state.is_connected(worker) && (!heard || life == Life::Frozen) {
            steps.push(Step::End(worker));
        }
        if state.failures == 0 || life != Life::Up {
            return;
        }
        // Somebody has to be left.
        if (0..self.workers).any(|other| other != worker && state.workers[other].life != Life::Dead) {
            steps.push(Step::Crash(worker));
        }
        steps.push(Step::Freeze(worker));
        if state.is_sound(worker) {
            steps.extend([Step::Silence(worker), Step::Cut(worker)]);
        }
    }

    /// The returned ones in any order (facts R4), then the fresh ones in theirs.
    fn deliveries(&self, state: &State, worker: At, steps: &mut Vec<Step>) {
        let session = state.sessions[state.session_of(worker)];
        if !session.consumer || session.ended || session.unacked.len() >= self.prefetch_of(state, worker) {
            return;
        }
        if state.returned.is_empty() {
            steps.extend(state.fresh.iter().next().map(|update| Step::Deliver(worker, update)));
        }
        steps.extend(state.returned.iter().map(|update| Step::Deliver(worker, update)));
    }

    fn connection_steps(&self, state: &State, worker: At, steps: &mut Vec<Step>) {
        let at = &state.workers[worker];
        if !state.is_connected(worker) {
            if at.phase != Phase::Lost {
                steps.push(Step::NoticeLoss(worker));
            } else if (!at.runs() || self.is(Broken::ClaimsAtOnce))
                && self.is_next_session_clean(state, worker)
            {
                steps.push(Step::Reconnect(worker));
            }
        } else if !at.heard {
            steps.push(Step::Hear(worker));
        }
    }

    fn is_next_session_clean(&self, state: &State, worker: At) -> bool {
        let next = state.session_of(worker) ^ 1;
        !state.sessions[next].consumer && state.lease != Some(next as u8)
    }

    /// Each of these is a round trip to the broker.
    fn claim_steps(&self, state: &State, worker: At, steps: &mut Vec<Step>) {
        if !state.is_sound(worker) {
            return;
        }
        let at = &state.workers[worker];
        let nobody_consumes = state.sessions.iter().all(|session| !session.consumer);
        let complete = at.fresh_came || at.collected.len() >= at.ready.min(self.prefetch_of(state, worker));
        match at.phase {
            Phase::Idle if state.lease.is_none() || self.is(Broken::NeedsNoLease) => {
                steps.push(Step::Take(worker))
            }
            Phase::Leased if nobody_consumes || self.is(Broken::SubscribesAtOnce) => {
                steps.push(Step::Subscribe(worker));
            }
            Phase::Collecting if complete => steps.push(Step::Settle(worker)),
            Phase::Halting if !at.runs() || self.is(Broken::FreesAtOnce) => steps.push(Step::Close(worker)),
            Phase::Closed => steps.push(Step::Free(worker)),
            _ => {}
        }
        if state.moves > 0 {
            if matches!(at.phase, Phase::Leased | Phase::Collecting | Phase::Working) {
                steps.push(Step::GiveUp(worker));
            }
            if at.phase == Phase::Working {
                steps.push(Step::Renew(worker));
            }
        }
    }

    fn handler_steps(&self, state: &State, worker: At, steps: &mut Vec<Step>) {
        let at = &state.workers[worker];
        if at.phase == Phase::Working && self.trusts(at) {
            for chat in (0..self.chats).filter(|chat| at.running[*chat].is_none()) {
                let first = at.lanes.iter().find(|update| self.chat(*update) == chat);
                steps.extend(first.map(|update| Step::Start(worker, update)));
            }
        }
        for (slot, running) in at.running.iter().enumerate() {
            match running {
                Some(running) if !running.recorded => steps.push(Step::Record(worker, slot)),
                // An ack waits for the broker, or for the news that it is gone.
                Some(running) if running.old || at.heard || !state.is_connected(worker) => {
                    steps.push(Step::Ack(worker, slot));
                }
                _ => {}
            }
        }
    }
}
