//! One write that waits: its work, whoever waits for it, and what is to be done once it is on disk.

use std::panic::{AssertUnwindSafe, catch_unwind};

use redb::WriteTransaction;
use tokio::sync::oneshot;

use super::DatabaseError;
use super::file::told_apart;

pub(super) trait Job: Send {
    /// Does the work in `txn`, whose fate is not yet known. May be called again with another one.
    fn run(&mut self, txn: &WriteTransaction) -> Result<(), DatabaseError>;

    /// Tells whoever waits. `Ok` is: the last run is on disk.
    fn end(self: Box<Self>, fate: Result<(), DatabaseError>);
}

pub(super) struct Task<T, W, A> {
    work: W,
    then: A,
    outcome: Option<T>,
    answer: oneshot::Sender<Result<T, DatabaseError>>,
}

impl<T, W, A> Task<T, W, A> {
    pub(super) fn new(work: W, then: A, answer: oneshot::Sender<Result<T, DatabaseError>>) -> Self {
        Self { work, then, outcome: None, answer }
    }
}

impl<T, W, A> Job for Task<T, W, A>
where
    T: Send,
    W: Fn(&WriteTransaction) -> Result<T, redb::Error> + Send,
    A: FnOnce(&T) + Send,
{
    /// A panic is this work's failure and nobody else's (I7): its transaction is thrown away.
    fn run(&mut self, txn: &WriteTransaction) -> Result<(), DatabaseError> {
        let panicked = |_| DatabaseError::Refused("the work panicked".to_owned());
        let outcome = catch_unwind(AssertUnwindSafe(|| (self.work)(txn))).map_err(panicked)?;
        self.outcome = Some(outcome.map_err(told_apart)?);
        Ok(())
    }

    fn end(self: Box<Self>, fate: Result<(), DatabaseError>) {
        let Self { then, outcome, answer, .. } = *self;
        let result = match (fate, outcome) {
            (Ok(()), Some(outcome)) => {
                if catch_unwind(AssertUnwindSafe(|| then(&outcome))).is_err() {
                    tracing::error!("what follows a write panicked");
                }
                Ok(outcome)
            }
            (Ok(()), None) => Err(DatabaseError::Refused("the work never ran".to_owned())),
            (Err(error), _) => Err(error),
        };
        // Whoever asked may have stopped waiting; the write stands all the same.
        answer.send(result).ok();
    }
}
