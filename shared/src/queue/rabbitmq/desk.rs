//! A word with the tool that has the dead letters in hand: a queue beside its lock, on which it is asked, and one of each
//! visitor's own, to which it answers. What is said is the caller's. Who wants the letters opens the desk first and takes
//! the lock then, so whoever has the lock can be asked.
//!
//! On connections of their own at both ends: under an alarm acks hang on a connection that has published (facts R12), and
//! whatever goes wrong with a visitor shall cost the letters nothing. A tool of an earlier version has no such queue.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Confirmation, Consumer};
use tokio::time::{Instant, timeout, timeout_at};
use uuid::Uuid;

use super::Settings;
use super::connection::{Connection, open_as, open_channel};
use super::consuming::ConsumerChannel;
use super::dead::DeadError;
use super::lease::RESOURCE_LOCKED;
use super::topology::closing_code;

/// The broker's answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A desk answers in milliseconds, unless its process is frozen.
const ANSWER: Duration = Duration::from_secs(5);

/// Questions that may wait. A visitor asks one at a time, so this is how many may come at once; the oldest are dropped.
const WAITING: i32 = 64;

/// Nobody waits longer for an answer.
const LIFE: Duration = ANSWER;

/// The tool's end.
pub struct Desk {
    connection: Connection,
    channel: ConsumerChannel,
    questions: Consumer,
    visitors: String,
}

/// What somebody wants to know.
pub struct Question {
    pub words: Bytes,
    reply_to: ShortString,
    correlation_id: ShortString,
}

impl Desk {
    /// For who wants to have the letters. `Held` where another has it.
    pub async fn open(settings: &Settings) -> Result<Self, DeadError> {
        within(async {
            let connection = connect(settings, "tgw dead desk").await?;
            let mut channel = ConsumerChannel::new(open_channel(&connection).await?);
            let questions = own_queue(&mut channel, settings.dead_desk()).await?;
            let visitors = settings.dead_visitors();
            Ok(Self { connection, channel, questions, visitors })
        })
        .await
    }

    /// Another may open it from then on.
    pub async fn close(self) {
        let _ = timeout(ANSWER, self.connection.close(200, "done".into())).await;
    }

    /// None when the connection is lost.
    pub async fn next(&mut self) -> Option<Question> {
        loop {
            let delivery = self.questions.next().await?.ok()?;
            timeout(ANSWER, delivery.acker.ack(BasicAckOptions::default())).await.ok()?.ok()?;
            if let Some(question) = self.question(delivery) {
                return Some(question);
            }
        }
    }

    /// Answers go to visitors' queues only, whatever a message asks for.
    fn question(&self, delivery: Delivery) -> Option<Question> {
        let reply_to = delivery.properties.reply_to().clone()?;
        let correlation_id = delivery.properties.correlation_id().clone()?;
        let words = Bytes::from(delivery.data);
        reply_to.as_str().starts_with(&self.visitors).then_some(Question { words, reply_to, correlation_id })
    }

    /// Who has gone meanwhile gets none.
    pub async fn answer(&self, question: Question, words: &[u8]) -> Result<(), DeadError> {
        let properties = BasicProperties::default().with_correlation_id(question.correlation_id);
        let options = BasicPublishOptions::default();
        let sent = self.channel.basic_publish("".into(), question.reply_to, options, words, properties);
        // The channel is in no confirm mode: there is nothing to wait for.
        within(async { Ok(sent.await.map(drop)?) }).await
    }
}

/// The end of who wants to look.
pub struct Visitor {
    _connection: Connection,
    channel: ConsumerChannel,
    answers: Consumer,
    reply_to: ShortString,
    desk: ShortString,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum NoAnswer {
    /// Nobody has the letters in hand, or one who does not answer questions.
    #[error("there is nobody to ask")]
    NoDesk,
    /// There is a desk, and nobody at it.
    #[error("no answer within {ANSWER:?}")]
    Silent,
    #[error("{0}")]
    Away(DeadError),
}

impl Visitor {
    pub async fn begin(settings: &Settings) -> Result<Self, DeadError> {
        within(async {
            let connection = connect(settings, "tgw dead visitor").await?;
            let mut channel = ConsumerChannel::new(open_channel(&connection).await?);
            channel.confirm_select(ConfirmSelectOptions::default()).await?;
            let name = format!("{}{}", settings.dead_visitors(), Uuid::new_v4());
            let answers = own_queue(&mut channel, name.clone()).await?;
            let desk = settings.dead_desk().into();
            Ok(Self { _connection: connection, channel, answers, reply_to: name.into(), desk })
        })
        .await
    }

    /// One question and its answer.
    pub async fn ask(&mut self, words: &[u8]) -> Result<Bytes, NoAnswer> {
        let deadline = Instant::now() + ANSWER;
        let away = |error: lapin::Error| NoAnswer::Away(error.into());
        let asking = self.publish(words);
        let number = timeout_at(deadline, asking).await.map_err(|_| NoAnswer::Silent)??;
        loop {
            let next = timeout_at(deadline, self.answers.next()).await.map_err(|_| NoAnswer::Silent)?;
            let lost = || NoAnswer::Away(DeadError::Away("the connection is gone".to_owned()));
            let answer = next.ok_or_else(lost)?.map_err(away)?;
            let acked = timeout_at(deadline, answer.acker.ack(BasicAckOptions::default())).await;
            acked.map_err(|_| NoAnswer::Silent)?.map_err(away)?;
            // The answer to a question that was given up may come late.
            if answer.properties.correlation_id().as_ref() == Some(&number) {
                return Ok(answer.data.into());
            }
        }
    }

    /// `mandatory`: where there is no desk the question comes back, before its confirm (facts R10).
    async fn publish(&self, words: &[u8]) -> Result<ShortString, NoAnswer> {
        let away = |error: lapin::Error| NoAnswer::Away(error.into());
        let number: ShortString = Uuid::new_v4().to_string().into();
        let properties = BasicProperties::default()
            .with_reply_to(self.reply_to.clone())
            .with_correlation_id(number.clone());
        let options = BasicPublishOptions { mandatory: true, ..Default::default() };
        let sent = self.channel.basic_publish("".into(), self.desk.clone(), options, words, properties);
        match sent.await.map_err(away)?.await.map_err(away)? {
            Confirmation::Ack(None) => Ok(number),
            _ => Err(NoAnswer::NoDesk),
        }
    }
}

async fn connect(settings: &Settings, name: &str) -> Result<Connection, DeadError> {
    Ok(open_as(settings, name).await?)
}

/// Bounded, and gone with its connection (facts R14: exclusive, or 4.3 refuses a queue that is not durable). With a qos,
/// since lapin's own queue has no bound (facts L6).
async fn own_queue(channel: &mut ConsumerChannel, name: String) -> Result<Consumer, DeadError> {
    let mut arguments = FieldTable::default();
    arguments.insert("x-max-length".into(), AMQPValue::LongInt(WAITING));
    arguments.insert("x-message-ttl".into(), AMQPValue::LongInt(LIFE.as_millis() as i32));
    let exclusive = QueueDeclareOptions { exclusive: true, auto_delete: true, ..Default::default() };
    let declared = channel.queue_declare(name.clone().into(), exclusive, arguments).await;
    declared.map_err(|error| match closing_code(&error) {
        Some((RESOURCE_LOCKED, _)) => DeadError::Held,
        _ => error.into(),
    })?;
    channel.basic_qos(2, BasicQosOptions { global: false }).await?;
    Ok(channel.consume(name.into(), "".into()).await?)
}

async fn within<T>(asking: impl Future<Output = Result<T, DeadError>>) -> Result<T, DeadError> {
    let late = || DeadError::Away(format!("no answer within {PATIENCE:?}"));
    timeout(PATIENCE, asking).await.map_err(|_| late())?
}
