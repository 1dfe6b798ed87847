//! Who is there, and how each is: a question to all processes of a deployment, over the exchanges on which they hear
//! each other anyway (`fanout`). Nobody says anything unasked, so a broker has nothing to carry where nobody looks.
//!
//! A process of an earlier version takes the question for words that it does not understand.

use std::time::Duration;

use futures_util::StreamExt as _;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions, ExchangeDeclareOptions,
    QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{FieldTable, ShortString};
use lapin::{BasicProperties, ExchangeKind};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout, timeout_at};
use uuid::Uuid;

use super::Settings;
use super::connection::{Connection, open_channel};
use super::consuming::ConsumerChannel;
use crate::proof::Accepted;
use crate::readiness::Readiness;
use crate::snapshot::Snapshot;

/// The message type that marks a question.
const QUESTION: &str = "tgw.status";

/// An answer that takes longer is not given: who asked has gone on.
const PATIENCE: Duration = Duration::from_millis(500);

/// What a question says. Nothing of it has to be there.
#[derive(Default, Deserialize, Serialize)]
struct Words {
    /// Who asks wants to know which secrets are taken too (`proof`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nonce: Option<String>,
}

/// A question.
pub(super) struct Asked {
    /// Where to the answer is to be sent.
    to: String,
    nonce: Option<String>,
}

/// Whether this is one. It is answered only to an exchange of the same prefix.
pub(super) fn asked(delivery: &Delivery, exchange: &str) -> Option<Asked> {
    let is_question = delivery.properties.kind().as_ref().is_some_and(|kind| kind.as_str() == QUESTION);
    let reply_to = delivery.properties.reply_to().as_ref().filter(|_| is_question)?;
    let (prefix, _) = exchange.rsplit_once('.')?;
    let expected = format!("{prefix}.status");
    let words: Words = serde_json::from_slice(&delivery.data).unwrap_or_default();
    (reply_to.as_str() == expected).then_some(Asked { to: expected, nonce: words.nonce })
}

/// Answers, on a channel of its own: whatever goes wrong with that costs nobody else anything.
pub(super) async fn answer(
    connection: &Connection,
    asked: Asked,
    readiness: &Readiness,
    accepted: &Accepted,
) {
    let mut snapshot = Snapshot::take(readiness);
    snapshot.secrets = asked.nonce.and_then(|nonce| accepted.proofs(&nonce));
    let words = snapshot.to_bytes();
    let answering = say(connection, asked.to, BasicProperties::default(), &words);
    match timeout(PATIENCE, answering).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "an operator's question is not answered"),
        Err(_) => tracing::debug!("an operator's question is not answered in time"),
    }
}

/// Publishes on a channel of its own, and waits for the confirm: where the broker refuses (there is no such exchange, or
/// it is forbidden) it closes the channel, and if we closed it at that moment too lapin would lose the connection.
async fn say(
    connection: &Connection,
    exchange: String,
    properties: BasicProperties,
    words: &[u8],
) -> Result<(), lapin::Error> {
    let channel = open_channel(connection).await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let options = BasicPublishOptions::default();
    channel.basic_publish(exchange.into(), "".into(), options, words, properties).await?.await?;
    channel.close(200, "said".into()).await
}

/// An operator's end.
pub struct Census {
    // Dropped, it would be closed.
    _channel: ConsumerChannel,
    answers: lapin::Consumer,
    exchanges: [String; 2],
    reply_to: String,
    words: Words,
}

impl Census {
    pub(super) async fn begin(connection: &Connection, settings: &Settings) -> Result<Self, lapin::Error> {
        let mut channel = ConsumerChannel::new(open_channel(connection).await?);
        let reply_to = settings.status_exchange();
        let exchange: ShortString = reply_to.as_str().into();
        let durable = ExchangeDeclareOptions { durable: true, ..Default::default() };
        let none = FieldTable::default;
        channel.exchange_declare(exchange.clone(), ExchangeKind::Fanout, durable, none()).await?;
        // Exclusive: one that is neither that nor durable is refused by 4.3 (facts R14).
        let exclusive = QueueDeclareOptions { exclusive: true, auto_delete: true, ..Default::default() };
        let name: ShortString = format!("{reply_to}.{}", Uuid::new_v4()).into();
        channel.queue_declare(name.clone(), exclusive, none()).await?;
        channel.queue_bind(name.clone(), exchange, "".into(), QueueBindOptions::default(), none()).await?;
        // lapin's own queue has no bound (facts L6).
        channel.basic_qos(256, BasicQosOptions { global: false }).await?;
        let answers = channel.consume(name, "".into()).await?;
        let exchanges = [settings.workers_exchange(), settings.spools_exchange()];
        Ok(Self { _channel: channel, answers, exchanges, reply_to, words: Words::default() })
    }

    /// Asks for the secrets too, from now on, with this number.
    pub fn with_secrets(mut self, nonce: String) -> Self {
        self.words.nonce = Some(nonce);
        self
    }

    /// Asks all, and listens until `deadline`, or until `enough` have answered. The last word of each.
    pub(super) async fn ask(
        &mut self,
        connection: &Connection,
        deadline: Instant,
        enough: impl Fn(&[Snapshot]) -> bool,
    ) -> Result<Vec<Snapshot>, String> {
        for exchange in &self.exchanges {
            // Its absence closes the channel, and only tells that no process of that kind has ever run.
            let _ = timeout(PATIENCE, self.question(connection, exchange)).await;
        }
        let mut snapshots: Vec<Snapshot> = Vec::new();
        while !enough(&snapshots) {
            let Ok(next) = timeout_at(deadline, self.answers.next()).await else { break };
            let delivery = next.ok_or("the broker has gone")?.map_err(|error| error.to_string())?;
            let acked = timeout(PATIENCE, delivery.acker.ack(BasicAckOptions::default())).await;
            acked.map_err(|_| "the broker is silent")?.map_err(|error| error.to_string())?;
            if let Some(snapshot) = Snapshot::from_bytes(&delivery.data) {
                snapshots.retain(|known| known.id != snapshot.id);
                snapshots.push(snapshot);
            }
        }
        Ok(snapshots)
    }

    async fn question(&self, connection: &Connection, exchange: &str) -> Result<(), lapin::Error> {
        let properties = BasicProperties::default()
            .with_type(QUESTION.into())
            .with_reply_to(self.reply_to.as_str().into());
        let words = serde_json::to_vec(&self.words).unwrap_or_default();
        say(connection, exchange.to_owned(), properties, &words).await
    }
}
