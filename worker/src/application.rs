//! The worker as a whole: starts what it leans on, works until told to stop.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::Either;
use shared::admin;
use shared::program::{Failure, Stopped};
use shared::queue::rabbitmq::{self, Fanout};
use shared::queue::{Consumer, Publisher};
use shared::readiness::Readiness;
use shared::store::Store;
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::bulk::Dispatcher;
use crate::claim::Keeper;
use crate::fence::Fence;
use crate::handle::Handler;
use crate::messages::messages;
use crate::roster::{Own, Roster, Share};
use crate::routing::{Routing, Source};
use crate::settings::Settings;
use crate::settle::Settler;
use crate::telegram::{self, Telegram};
use crate::token::{self, Token};
use crate::{events, outlook};

/// How long the start waits for Telegram and the store: twice what one failed call costs (contract 9).
const FIRST_ANSWERS: Duration = Duration::from_millis(2500);

const ASK_AGAIN: Duration = Duration::from_millis(50);

/// What a worker takes updates from and puts letters into, and where it remembers.
pub struct Parts {
    pub consumer: Consumer,
    pub letters: Publisher,
    /// Where there may be other workers.
    pub workers: Option<Fanout>,
    pub store: Store,
    pub partitions: u16,
    pub readiness: Readiness,
}

/// A worker that is set up and not yet working.
pub struct Application {
    keeper: Keeper,
    dispatcher: Dispatcher,
    roster: Option<Roster>,
    able: watch::Sender<bool>,
    partitions: u16,
    telegram: Telegram,
    routing: watch::Sender<Arc<Routing>>,
    source: Source,
    readiness: Readiness,
    stop: CancellationToken,
    samples: CancellationToken,
}

impl Application {
    /// Sets a worker up. None of what it leans on has to be there yet.
    pub async fn build(settings: Settings, parts: Parts) -> Result<Self, Failure> {
        events::begin();
        let failed = |error: reqwest::Error| Failure::Failed(format!("no HTTP client: {error}"));
        let samples = CancellationToken::new();
        let source = Source::new(settings.values, samples.clone());
        let (routing, routing_seen) = watch::channel(Arc::new(source.build(settings.routes)?));
        let fence = Fence::of(&parts.consumer);
        let telegram = Telegram::new(settings.telegram, fence.clone()).map_err(failed)?;
        let handler = Handler {
            store: parts.store,
            routing: routing_seen,
            telegram: telegram.clone(),
            limits: settings.limits,
            worker: uuid::Uuid::new_v4().to_string(),
            recent: Default::default(),
            addresses: Default::default(),
            fence,
            room: Default::default(),
        };
        let stop = CancellationToken::new();
        let (able, is_able) = watch::channel(false);
        let (held, has_held) = watch::channel(BTreeSet::new());
        let own = Own { partitions: parts.partitions, able: is_able, held: has_held };
        let (roster, share) = match parts.workers.map(|fanout| Roster::new(fanout, own)) {
            Some((roster, share)) => (Some(roster), share),
            None => (None, watch::channel(Share::whole(parts.partitions)).1),
        };
        let dispatcher = Dispatcher {
            consumer: parts.consumer.clone(),
            queue: parts.letters.clone(),
            telegram: telegram.clone(),
            fence: handler.fence.clone(),
            rate: settings.bulk_rate,
            share: share.clone(),
            token: telegram.token().subscribe(),
            stop: stop.clone(),
        };
        let keeper = Keeper {
            consumer: parts.consumer,
            settler: Arc::new(Settler {
                handler: Arc::new(handler),
                letters: parts.letters,
                ages: Default::default(),
            }),
            permits: Arc::new(Semaphore::new(settings.concurrency as usize)),
            concurrency: settings.concurrency,
            share,
            held,
            turns: Arc::new(Semaphore::new(1)),
            one_by_one: false,
            token: telegram.token().subscribe(),
            stop: stop.clone(),
            grace: settings.grace,
        };
        let (partitions, readiness) = (parts.partitions, parts.readiness);
        Ok(Self {
            keeper,
            dispatcher,
            roster,
            able,
            partitions,
            telegram,
            routing,
            source,
            readiness,
            stop,
            samples,
        })
    }

    /// Works until `stop`, then ends what is in hand.
    pub async fn run(self, stop: CancellationToken) -> Result<Stopped, Failure> {
        let asking = tokio::spawn(token::keep(self.telegram.clone(), self.readiness.clone()));
        let store = self.keeper.settler.handler.store.clone();
        let sharing = tokio::spawn(telegram::share_parks(self.telegram.clone(), store));
        let told =
            outlook::tell(self.telegram.clone(), self.keeper.consumer.clone(), self.keeper.held.subscribe());
        let telling = tokio::spawn(told);
        let disagreed = disagreement(&self.keeper.consumer);
        stop.run_until_cancelled(first_answers(&self.keeper)).await;
        let working = roster(self.roster, self.able, &self.keeper);
        let reloading = tokio::spawn(self.source.reload_on_hangup(self.routing));
        let mut keepers = JoinSet::new();
        for partition in 0..self.partitions {
            keepers.spawn(self.keeper.clone().keep(partition));
        }
        let dispatching = tokio::spawn(self.dispatcher.run());
        tokio::select! {
            () = stop.cancelled() => {}
            failure = disagreed => return Err(failure),
        }
        self.readiness.stop();
        self.stop.cancel();
        let mut stopped = Stopped::Clean;
        while let Some(in_time) = keepers.join_next().await {
            if !in_time.unwrap_or(false) {
                stopped = Stopped::TimeRanOut;
            }
        }
        if let Err(error) = dispatching.await {
            tracing::error!(%error, "the dispatcher of bulk ended badly");
        }
        asking.abort();
        sharing.abort();
        telling.abort();
        working.abort();
        reloading.abort();
        self.samples.cancel();
        Ok(stopped)
    }
}

/// Waits a moment for the bot's name, without which it does not know `/start@its_name`, and for the store,
/// without which the first updates would be handled as if nothing were known of them.
async fn first_answers(keeper: &Keeper) {
    let mut token = keeper.token.clone();
    let named = async { token.wait_for(|token| *token != Token::Asking).await.is_ok() };
    let remembered = async {
        while keeper.settler.handler.store.ping().await.is_err() {
            tokio::time::sleep(ASK_AGAIN).await;
        }
    };
    let both = async { tokio::join!(named, remembered) };
    if tokio::time::timeout(FIRST_ANSWERS, both).await.is_err() {
        tracing::debug!("starting without the bot's name, or without the store");
    }
}

/// A worker on its own: its three pages and the services' messages beside it, on `listener`.
pub async fn run_with_admin(
    settings: Settings,
    listener: TcpListener,
    parts: Parts,
    stop: CancellationToken,
) -> Result<Stopped, Failure> {
    let listen = settings.listen;
    let failed = |error| Failure::Failed(format!("can't listen on {listen}: {error}"));
    let (readiness, linger) = (parts.readiness.clone(), admin::linger(settings.grace));
    let address = listener.local_addr().map_err(failed)?;
    let messages = messages(&settings, &parts);
    // First, since it hears SIGHUP from then on: whoever sees that the worker is there may send one.
    let application = Application::build(settings, parts).await?;
    let server = admin::server(listener, readiness, messages).map_err(failed)?;
    let handle = server.handle();
    let serving = tokio::spawn(server);
    events::listening(address);
    // The pages stay for a while after the signal even if nothing is in hand, so that whoever asks can notice.
    let lingering = async {
        stop.cancelled().await;
        tokio::time::sleep(linger).await;
    };
    let stopped =
        match futures_util::future::select(pin!(application.run(stop.clone())), pin!(lingering)).await {
            Either::Left((Ok(stopped), lingering)) => {
                lingering.await;
                Ok(stopped)
            }
            Either::Left((failed, _)) => failed,
            Either::Right(((), running)) => running.await,
        };
    handle.stop(false).await;
    if let Ok(Err(error)) = serving.await {
        tracing::debug!(%error, "the HTTP server ended badly");
    }
    stopped
}

/// Keeps the roster, where there is one, and whether this worker is able: connected, and its token not wrong.
fn roster(roster: Option<Roster>, able: watch::Sender<bool>, keeper: &Keeper) -> JoinHandle<()> {
    let (stop, mut token) = (keeper.stop.clone(), keeper.token.clone());
    let link = match &keeper.consumer {
        Consumer::RabbitMq(queue) => Some(queue.link()),
        Consumer::Embedded(_) => None,
    };
    tokio::spawn(async move {
        let (Some(roster), Some(mut link)) = (roster, link) else { return };
        let watching = async {
            loop {
                let connected =
                    matches!(*link.borrow_and_update(), rabbitmq::Link::Up | rabbitmq::Link::Blocked);
                able.send_replace(connected && *token.borrow_and_update() != Token::Wrong);
                tokio::select! {
                    Ok(()) = link.changed() => {}
                    Ok(()) = token.changed() => {}
                    else => return std::future::pending().await,
                }
            }
        };
        tokio::select! {
            () = roster.run(stop) => {}
            () = watching => {}
        }
    })
}

/// Ends when the broker's queues turn out to be made for another number of partitions.
async fn disagreement(consumer: &Consumer) -> Failure {
    if let Consumer::RabbitMq(queue) = consumer {
        let mut link = queue.link();
        let found = link.wait_for(|link| matches!(link, rabbitmq::Link::Disagrees(_))).await;
        if let Ok(rabbitmq::Link::Disagrees(broker)) = found.as_deref() {
            let advice = format!(
                "the queues on the broker were made with {broker}; set PARTITIONS to that in every part, or make \
                 new queues by another AMQP_PREFIX (README, \"As many workers as the load asks for\")"
            );
            return Failure::Refused(format!("PARTITIONS disagrees: {advice}"));
        }
    }
    std::future::pending().await
}
