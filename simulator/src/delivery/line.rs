//! The connections to one webhook, each a task: it takes an update, posts it, tells the queue how it went, takes the
//! next. With nothing to do it waits, open, until it is handed one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rand::RngExt as _;
use reqwest::Client;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::Delivery;
use super::answer::{Answer, Failure};
use super::by_client::post_by_client;
use super::connections::Connections;
use super::queue::{Job, Next, Outcome, Pauses};
use super::sender::IDLE;
use super::wire::{Connection, Head};
use crate::api;
use crate::state::World;
use crate::state::webhook::Target;

/// The pause between attempts is capped at a random time in this range (facts T2), in seconds.
const PAUSE_CAP: std::ops::RangeInclusive<u64> = 60..=120;
/// A webhook that says 410 for longer than this, and nothing else meanwhile, is deleted.
const GONE_FOR: Duration = Duration::from_secs(23 * 60 * 60);

pub(super) struct Lines {
    world: Arc<World>,
    client: Client,
    pub target: Target,
    /// None: not plain http, so the client does it.
    head: Option<Head>,
    /// Cancelled when the webhook is no more.
    pub closing: CancellationToken,
    state: Mutex<State>,
}

struct State {
    connections: Connections,
    open: usize,
    /// And until when they are.
    idle: Vec<(oneshot::Sender<Job>, Instant)>,
    first_gone: Option<Instant>,
}

impl Lines {
    pub fn new(world: Arc<World>, client: Client, target: Target) -> Arc<Self> {
        let connections = Connections::new(target.max_connections, world.settings.limit_connections);
        let state = State { connections, open: 0, idle: Vec::new(), first_gone: None };
        let head = Head::new(&target.url, target.secret.as_deref());
        let (closing, state) = (CancellationToken::new(), Mutex::new(state));
        Arc::new(Self { world, client, target, head, closing, state })
    }

    /// Where two locks are held, this one comes before the queue's.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn max_keys(&self) -> usize {
        // Facts T5.
        2 * self.target.max_connections
    }

    /// Hands out what may go, opens what connections may be opened; returns when to look again, if no event
    /// comes first.
    pub fn look(self: &Arc<Self>) -> Option<Instant> {
        let (now, mut state) = (self.world.clock.now(), self.state());
        let mut queue = self.world.queue();
        let mut next_at = None;
        while let Some((idle, until)) = state.idle.pop() {
            // One whose time is over learns here that it is, if it did not notice by itself yet.
            if idle.is_closed() || until <= now {
                continue;
            }
            match queue.take(self.target.generation, now, self.max_keys()) {
                Next::Send(job) => {
                    // It went away in this moment; another one takes the update.
                    idle.send(job).unwrap_or_else(|job| queue.give_back(&job, now));
                    continue;
                }
                Next::Wait(at) => next_at = Some(at),
                Next::Nothing => (),
            }
            state.idle.push((idle, until));
            break;
        }
        let keys = queue.load(now, self.max_keys());
        drop(queue);
        loop {
            let open = state.open;
            match state.connections.open(open, keys, now) {
                Ok(true) => {
                    state.open += 1;
                    tokio::spawn(self.clone().line());
                }
                Ok(false) => return next_at,
                Err(at) => return Some(next_at.map_or(at, |next: Instant| next.min(at))),
            }
        }
    }

    async fn line(self: Arc<Self>) {
        let _open = Open(self.clone());
        tokio::select! {
            () = self.closing.cancelled() => (),
            () = self.deliver() => (),
        }
    }

    async fn deliver(&self) {
        let mut connection = None;
        let mut next = match self.take() {
            Next::Send(job) => Some(job),
            _ => None,
        };
        loop {
            let job = match next {
                Some(job) => job,
                None => match self.wait(&mut connection).await {
                    Some(job) => job,
                    None => return,
                },
            };
            let clock = &self.world.clock;
            let (at_ms, begun) = (clock.now_ms(), clock.now());
            let late = || Err(Failure::said("Read timeout expired"));
            let deadline = begun + self.world.settings.delivery_timeout;
            let answer = clock.until(deadline, self.post(&mut connection, &job)).await.unwrap_or_else(late);
            let keep = answer.as_ref().is_ok_and(|answer| answer.keep_alive);
            next = self.settle(&job, answer, at_ms, begun, keep);
            if !keep {
                return;
            }
        }
    }

    fn take(&self) -> Next {
        let now = self.world.clock.now();
        self.world.queue().take(self.target.generation, now, self.max_keys())
    }

    /// Open and idle, until there is an update; None: this connection has ended.
    async fn wait(&self, connection: &mut Option<Connection>) -> Option<Job> {
        if let Err(failure) = self.connect(connection).await {
            self.complain(&failure);
            return None;
        }
        let (hand, mut handed) = oneshot::channel();
        let until = self.world.clock.now() + IDLE;
        self.state().idle.push((hand, until));
        self.world.wake.notify_one();
        let closed = async {
            match connection {
                Some(connection) => connection.closed().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            job = &mut handed => return job.ok(),
            () = closed => (),
            () = self.world.clock.sleep_until(until) => (),
        }
        handed.close();
        if let Ok(job) = handed.try_recv() {
            self.world.queue().give_back(&job, self.world.clock.now());
        }
        None
    }

    async fn connect(&self, connection: &mut Option<Connection>) -> Result<(), Failure> {
        if let (None, Some(head)) = (&connection, &self.head) {
            let opened = Connection::open(head).await.map_err(Failure::of)?;
            self.world.webhook().ip_address = opened.peer().map(|peer| peer.ip());
            *connection = Some(opened);
        }
        Ok(())
    }

    async fn post(&self, connection: &mut Option<Connection>, job: &Job) -> Result<Answer, Failure> {
        self.connect(connection).await?;
        match (connection, &self.head) {
            (Some(connection), Some(head)) => connection.post(head, &job.body).await,
            _ => post_by_client(&self.client, &self.target, job).await,
        }
    }

    /// Writes down how it went, and takes the next update if this connection can still send one.
    fn settle(
        &self,
        job: &Job,
        answer: Result<Answer, Failure>,
        at_ms: i64,
        begun: Instant,
        go_on: bool,
    ) -> Option<Job> {
        let now = self.world.clock.now();
        self.world.deliveries().add(|seq| Delivery {
            seq,
            at_ms,
            update_id: job.update_id,
            attempt: job.attempt,
            status: answer.as_ref().ok().map(|answer| answer.status),
            error: answer.as_ref().err().map(|failure| failure.text().to_owned()),
            duration_ms: i64::try_from((now - begun).as_millis()).unwrap_or(i64::MAX),
        });
        let failure = answer
            .as_ref()
            .map_or_else(|failure| Some(failure.clone()), |it| it.complaint().map(Failure::Said));
        if let Some(failure) = failure {
            tracing::debug!(
                update_id = job.update_id,
                attempt = job.attempt,
                error = failure.text(),
                "not delivered"
            );
            self.complain(&failure);
        }
        let outcome = answer.as_ref().map_or(Outcome::Failed { retry_after: 0 }, Answer::outcome);
        let (gone, open) = self.learn(answer.as_ref().ok(), now);
        let next = {
            let mut queue = self.world.queue();
            queue.settle(job, outcome, now, self.pauses());
            if open < queue.keys().min(self.target.max_connections) {
                // Now more connections may be wanted, or allowed.
                self.world.wake.notify_one();
            }
            if go_on && !gone { Some(queue.take(self.target.generation, now, self.max_keys())) } else { None }
        };
        if gone {
            tracing::info!("the webhook said 410 for 23 hours, and is deleted");
            self.world.close_webhook(self.target.generation);
        }
        if let Ok(answer) = answer
            && answer.accepted()
            && !answer.body.is_empty()
        {
            api::answered(&self.world, answer.is_json, answer.is_form, &answer.body);
        }
        match next {
            Some(Next::Send(job)) => Some(job),
            _ => None,
        }
    }

    /// What the answer says about the webhook: whether it is gone for good, and how many connections it has.
    fn learn(&self, answer: Option<&Answer>, now: Instant) -> (bool, usize) {
        let mut state = self.state();
        let mut gone = false;
        match answer {
            Some(answer) if answer.accepted() => {
                state.connections.succeeded(now);
                state.first_gone = None;
            }
            Some(answer) if answer.status == 410 => {
                let since = *state.first_gone.get_or_insert(now);
                gone = now > since + GONE_FOR;
            }
            Some(_) => state.first_gone = None,
            // No answer says nothing about it.
            None => (),
        }
        (gone, state.open)
    }

    fn pauses(&self) -> Pauses {
        let cap = Duration::from_secs(rand::rng().random_range(PAUSE_CAP));
        Pauses { first: self.world.settings.first_pause, cap }
    }

    fn complain(&self, failure: &Failure) {
        let mut webhook = self.world.webhook();
        let is_current = webhook.target.as_ref().is_some_and(|now| now.generation == self.target.generation);
        if let Failure::Said(text) = failure
            && is_current
        {
            webhook.last_error = Some((self.world.clock.now_seconds(), text.clone()));
        }
    }
}

/// Counts a connection as open for as long as it lives.
struct Open(Arc<Lines>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.state().open -= 1;
        self.0.world.wake.notify_one();
    }
}
