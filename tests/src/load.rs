//! A poster that behaves like Telegram: one update of a chat at a time, the next only after a 200 (facts
//! T1, T2), and what gets no answer is posted again. Each chat keeps to one ingress, as behind a load
//! balancer that hashes, and waits for it where it is dead: what one ingress spooled alone while another
//! still reached the broker may come late (contract 2.1.4), and that is not what is tested.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use futures_util::{StreamExt as _, stream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::ledger::Ledger;
use crate::process::Process;
use crate::updates::Update;
use crate::wait::pause;
use crate::world::SECRET_HEADER;

/// What Telegram waits for an answer (facts T6).
const PATIENCE: Duration = Duration::from_secs(60);

/// Telegram posts again at once, then after 2 s; a test has less time.
const AGAIN: Duration = Duration::from_millis(300);

/// So many chats at once are poured.
const AT_ONCE: usize = 32;

/// A running load; [`Load::stop`] ends it.
#[derive(Debug)]
pub struct Load {
    stop: watch::Sender<bool>,
    chats: Vec<JoinHandle<()>>,
}

/// One chat, and where its updates go.
struct Chat {
    id: i64,
    url: String,
    secret: String,
    client: reqwest::Client,
    ledger: Arc<Ledger>,
}

impl Load {
    /// An update of each chat every `every`, as long as its ingress takes them; those that fell due while
    /// it did not come one after the other then.
    #[must_use]
    pub fn start(
        chats: &[i64],
        every: Duration,
        ingresses: &[String],
        secret: &str,
        ledger: &Arc<Ledger>,
    ) -> Self {
        let (stop, stopped) = watch::channel(false);
        let client = client();
        let chats = chats.iter().enumerate().map(|(n, id)| {
            let chat = Chat {
                id: *id,
                url: format!("{}/webhook/telegram", ingresses[n % ingresses.len()]),
                secret: secret.to_owned(),
                client: client.clone(),
                ledger: ledger.clone(),
            };
            tokio::spawn(chat.talk(every, stopped.clone()))
        });
        Self { chats: chats.collect(), stop }
    }

    /// So many updates of each chat, as fast as its ingress takes them; ends when all are taken.
    pub async fn pour(chats: &[i64], each: usize, ingress: &Process, secret: &str, ledger: &Arc<Ledger>) {
        let client = client();
        let chats = chats.iter().map(|id| Chat {
            id: *id,
            url: format!("{}/webhook/telegram", ingress.base_url()),
            secret: secret.to_owned(),
            client: client.clone(),
            ledger: ledger.clone(),
        });
        let pouring = chats.map(|chat| async move {
            for _ in 0..each {
                chat.say().await;
            }
        });
        stream::iter(pouring).buffer_unordered(AT_ONCE).collect::<()>().await;
    }

    /// No more updates; ends when those that were begun are taken. Panics where they are not in `patience`.
    pub async fn stop(self, patience: Duration) {
        self.stop.send_replace(true);
        let all = timeout(patience, join_all(self.chats)).await.expect("what was begun is taken in the end");
        all.into_iter().for_each(|chat| chat.expect("no chat panics"));
    }
}

impl Chat {
    async fn talk(self, every: Duration, mut stop: watch::Receiver<bool>) {
        let mut due = interval(every);
        due.set_missed_tick_behavior(MissedTickBehavior::Burst);
        loop {
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return,
                _ = due.tick() => {}
            }
            self.say().await;
        }
    }

    /// One update more; ends when it is taken.
    async fn say(&self) {
        let update = Update::text(self.id, "");
        let id = update.update_id();
        let body = update.saying(&id.to_string()).bytes();
        while let Err(wait) = self.post(id, body.clone()).await {
            pause(wait).await;
        }
    }

    /// Posts an update once. The error is how long to wait before it is posted again.
    async fn post(&self, id: i64, body: Vec<u8>) -> Result<(), Duration> {
        let begun = Instant::now();
        let request = self.client.post(&self.url).header("Content-Type", "application/json");
        let Ok(answer) = request.header(SECRET_HEADER, &self.secret).body(body).send().await else {
            self.ledger.unanswered();
            return Err(AGAIN);
        };
        match answer.status().as_u16() {
            200 => {
                self.ledger.accepted(id, self.id, begun.elapsed());
                Ok(())
            }
            status => {
                self.ledger.refused(status);
                let wait =
                    answer.headers().get("Retry-After").and_then(|text| text.to_str().ok()?.parse().ok());
                Err(wait.map_or(AGAIN, Duration::from_secs))
            }
        }
    }
}

/// Keeps connections, as Telegram does (facts T7).
fn client() -> reqwest::Client {
    // The first of them installs a TLS, which reqwest asks for.
    drop(crate::client::http_client());
    let builder = reqwest::Client::builder().timeout(PATIENCE).no_proxy();
    builder.build().expect("a client without special wishes")
}
