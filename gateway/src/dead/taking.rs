//! How RabbitMQ's letters come into one tool's hands, or how it comes to the one who has them.

use std::time::Duration;

use shared::program::Failure;
use shared::queue::rabbitmq::{self, DeadError, DeadLetters, Desk};

use super::beside::{Beside, Holder, Met, Next, next};
use super::board::Purpose;
use super::source::WAITS;
use crate::output::note;

/// How often a lock that somebody else has is tried again.
const AGAIN: Duration = Duration::from_millis(200);

/// Where the letters are.
pub enum Taken {
    Ours(Box<DeadLetters>, Box<Desk>),
    /// With one who shows them.
    Beside(Box<Beside>),
    /// There is no queue of them.
    Missing,
}

/// Tries for as long as it makes sense, or with `wait` for ever.
pub async fn take(settings: &rabbitmq::Settings, wait: bool, purpose: Purpose) -> Result<Taken, Failure> {
    let (mut beside, mut met, mut told) = (None, Met::default(), false);
    loop {
        let holder = match try_to_take(settings).await {
            Ok((dead, desk)) => return Ok(Taken::Ours(Box::new(dead), Box::new(desk))),
            Err(NotTaken::Missing) => return Ok(Taken::Missing),
            Err(NotTaken::Failed(failure)) => return Err(failure),
            Err(NotTaken::Desk) if !wait => {
                let asked = match &mut beside {
                    Some(beside) => beside,
                    none => none.insert(Box::new(Beside::begin(settings).await?)),
                };
                asked.meet().await
            }
            Err(NotTaken::Desk | NotTaken::Locked) => Holder::Unknown,
        };
        match (next(purpose, holder, met.since(holder)), beside.take()) {
            (Next::Ask, Some(asked)) => return Ok(Taken::Beside(asked)),
            (Next::GiveUp, _) if !wait => return Err(failed(DeadError::Held)),
            (_, asked) => beside = asked,
        }
        if wait && !told {
            told = true;
            note(WAITS);
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Why the letters could not be taken.
enum NotTaken {
    /// Somebody has the desk: he can be asked.
    Desk,
    /// Somebody has the lock and no desk.
    Locked,
    Missing,
    Failed(Failure),
}

/// The desk first, so that whoever has the lock can be asked.
async fn try_to_take(settings: &rabbitmq::Settings) -> Result<(DeadLetters, Desk), NotTaken> {
    let desk = Desk::open(settings).await.map_err(|error| match error {
        DeadError::Held => NotTaken::Desk,
        error => NotTaken::Failed(failed(error)),
    })?;
    let error = match DeadLetters::hold(settings).await {
        Ok(dead) => return Ok((dead, desk)),
        Err(error) => error,
    };
    desk.close().await;
    Err(match error {
        DeadError::Held => NotTaken::Locked,
        DeadError::Missing(_) => NotTaken::Missing,
        error => NotTaken::Failed(failed(error)),
    })
}

pub fn failed(error: DeadError) -> Failure {
    match error {
        DeadError::Held => Failure::Failed(format!("{error}: try again when it has ended, or say --wait")),
        DeadError::Partitions(number) => Failure::Refused(format!(
            "the broker's queues were made for {number} partitions: set PARTITIONS to that"
        )),
        DeadError::Missing(queue) => {
            Failure::Failed(format!("there is no queue {queue}: is AMQP_PREFIX right?"))
        }
        other => Failure::Failed(other.to_string()),
    }
}
