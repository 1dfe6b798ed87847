//! What each step changes.

use super::row::Set;
use super::{Broken, CHATS, Life, Partition, Phase, Running, Session, State, Step, Worker};

type At = usize;

impl Partition {
    pub fn take(&self, state: &mut State, step: Step) {
        match step {
            Step::Crash(_) | Step::Freeze(_) | Step::Silence(_) | Step::Cut(_) => self.fail(state, step),
            Step::Publish => {
                state.fresh.add(state.published);
                state.published += 1;
            }
            Step::End(worker) => state.sessions[state.session_of(worker)].ended = true,
            Step::FreeLease => state.lease = None,
            Step::Return(number) => close(state, number),
            Step::Deliver(worker, update) => deliver(state, worker, update),
            Step::Wake(worker) => state.workers[worker].life = Life::Up,
            Step::Hear(worker) => state.workers[worker].heard = true,
            Step::NoticeLoss(worker) => {
                state.workers[worker].phase = Phase::Lost;
                state.workers[worker].drop_hand();
            }
            Step::Reconnect(worker) | Step::Restart(worker) => reconnect(state, worker),
            Step::Start(worker, update) => self.start(state, worker, update),
            Step::Record(worker, slot) => self.record(state, worker, slot),
            Step::Ack(worker, slot) => ack(state, worker, slot),
            _ => self.claim(state, step),
        }
    }

    fn fail(&self, state: &mut State, step: Step) {
        state.failures -= 1;
        match step {
            Step::Crash(worker) => {
                state.sessions[state.session_of(worker)].ended = true;
                let session = state.workers[worker].session;
                state.workers[worker] = Worker { life: Life::Dead, session, ..Worker::NEW };
            }
            Step::Freeze(worker) => {
                (state.workers[worker].life, state.workers[worker].heard) = (Life::Frozen, false)
            }
            Step::Silence(worker) => state.workers[worker].heard = false,
            Step::Cut(worker) => {
                state.sessions[state.session_of(worker)].ended = true;
                state.workers[worker].heard = self.late_news;
            }
            _ => {}
        }
    }

    /// Taking, keeping and giving back.
    fn claim(&self, state: &mut State, step: Step) {
        match step {
            Step::Take(worker) => {
                state.lease.get_or_insert(state.session_of(worker) as u8);
                state.workers[worker].phase = Phase::Leased;
                if self.is(Broken::CountsTooEarly) {
                    state.workers[worker].ready = state.returned.len() + state.fresh.len();
                }
            }
            Step::Subscribe(worker) => {
                state.sessions[state.session_of(worker)].consumer = true;
                if !self.is(Broken::CountsTooEarly) {
                    state.workers[worker].ready = state.returned.len() + state.fresh.len();
                }
                state.workers[worker].phase = Phase::Collecting;
            }
            Step::Settle(worker) => self.settle(state, worker),
            Step::GiveUp(worker) => {
                state.moves -= 1;
                state.workers[worker].phase = Phase::Halting;
                state.workers[worker].drop_hand();
            }
            Step::Renew(worker) => {
                state.moves -= 1;
                self.resubscribe(state, worker, false);
                if self.is(Broken::RunsBeside) {
                    leave_beside(&mut state.workers[worker]);
                }
            }
            Step::Close(worker) => {
                close_channel(state, worker);
                state.workers[worker].phase = Phase::Closed;
            }
            Step::Free(worker) => {
                if state.lease == Some(state.session_of(worker) as u8) {
                    state.lease = None;
                }
                (state.workers[worker].phase, state.workers[worker].wide) = (Phase::Idle, false);
            }
            _ => {}
        }
    }

    fn settle(&self, state: &mut State, worker: At) {
        let prefetch = self.prefetch_of(state, worker);
        let at = &mut state.workers[worker];
        let full = at.collected.len() == prefetch && !at.fresh_came;
        let may_be_more = full && (prefetch < self.widest || self.is(Broken::WidensForEver));
        if may_be_more && !self.is(Broken::NeverWidens) {
            return self.resubscribe(state, worker, true);
        }
        // A fresh one is younger than all that were ever handed out.
        at.lanes = if self.is(Broken::SortsNothing) { at.collected } else { at.collected.sorted() };
        (at.collected.0, at.fresh_came, at.ready, at.phase) = (0, false, 0, Phase::Working);
    }

    fn resubscribe(&self, state: &mut State, worker: At, wide: bool) {
        close_channel(state, worker);
        let at = &mut state.workers[worker];
        at.drop_hand();
        (at.phase, at.wide) = (Phase::Leased, wide);
    }

    /// Begins one in the store, and with that its request is on the wire. (A worker begins it while the end of the one before
    /// is recorded, and waits for that: a claim that is set a step early, which is left out here.)
    fn start(&self, state: &mut State, worker: At, update: u8) {
        state.workers[worker].lanes = state.workers[worker].lanes.without(update);
        if state.ended.has(update) {
            return ack_at_broker(state, worker, update);
        }
        if self.is(Broken::AcksFirst) {
            ack_at_broker(state, worker, update);
        }
        let chat = self.chat(update);
        state.overtaken |= (0..update).any(|other| self.chat(other) == chat && !state.ended.has(other));
        state.claims[usize::from(update)] = Some(worker as u8);
        state.workers[worker].running[chat] = Some(Running { update, recorded: false, old: false });
    }

    fn record(&self, state: &mut State, worker: At, slot: At) {
        let Some(running) = state.workers[worker].running[slot] else { return };
        let update = running.update;
        let is_ours = state.claims[usize::from(update)] == Some(worker as u8);
        let at = &mut state.workers[worker];
        if is_ours || self.is(Broken::IsNotFenced) {
            state.ended_twice |= state.ended.has(update);
            state.ended.add(update);
            at.running[slot] = Some(Running { recorded: true, ..running });
            return;
        }
        at.running[slot] = None;
        if matches!(at.phase, Phase::Leased | Phase::Collecting | Phase::Working) {
            at.phase = Phase::Halting;
            at.drop_hand();
        }
    }
}

fn deliver(state: &mut State, worker: At, update: u8) {
    let session = state.session_of(worker);
    state.sessions[session].unacked.add(update);
    let at = &mut state.workers[worker];
    at.fresh_came |= at.phase == Phase::Collecting && state.fresh.has(update);
    state.fresh.remove(update);
    state.returned.remove(update);
    match at.phase {
        Phase::Collecting => at.collected.push(update),
        Phase::Working => at.lanes.push(update),
        // It starts nothing more.
        _ => {}
    }
}

/// A session's consumer goes, and what it had comes back.
fn close(state: &mut State, number: At) {
    let session = &mut state.sessions[number];
    state.returned.0 |= session.unacked.0;
    (session.unacked, session.consumer) = (Set::default(), false);
}

fn close_channel(state: &mut State, worker: At) {
    close(state, state.session_of(worker));
    state.workers[worker].running.iter_mut().flatten().for_each(|running| running.old = true);
}

fn reconnect(state: &mut State, worker: At) {
    let at = &mut state.workers[worker];
    // Empty, but for one who does not wait.
    leave_beside(at);
    let (session, running) =
        (at.session ^ 1, at.running.map(|running| running.map(|r| Running { old: true, ..r })));
    *at = Worker { session, running, ..Worker::NEW };
    let session = state.session_of(worker);
    state.sessions[session] = Session::default();
}

fn leave_beside(at: &mut Worker) {
    for chat in 0..CHATS {
        let running = at.running[chat].take();
        at.running[CHATS + chat] = at.running[CHATS + chat].or(running);
    }
}

fn ack(state: &mut State, worker: At, slot: At) {
    let Some(running) = state.workers[worker].running[slot].take() else { return };
    // On a closed channel it fails, which does not matter.
    if !running.old {
        ack_at_broker(state, worker, running.update);
    }
}

fn ack_at_broker(state: &mut State, worker: At, update: u8) {
    if state.is_connected(worker) {
        state.sessions[state.session_of(worker)].unacked.remove(update);
    }
}
