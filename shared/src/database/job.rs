//! One write that waits: its work, whoever waits for it, and what is to be done once it is on disk.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tokio::sync::oneshot;

use super::file::told_apart;
use super::{DatabaseError, Tables};

pub(super) trait Job<T: Tables>: Send {
    /// Does the work on a transaction's tables, whose fate is not yet known. May be called again with another's.
    fn run(&mut self, tables: &mut T::Open<'_>) -> Result<(), DatabaseError>;

    /// Tells whoever waits. `Ok` is: the last run is on disk.
    fn end(self: Box<Self>, fate: Result<(), DatabaseError>);
}

pub(super) struct Task<R, W, A> {
    work: W,
    then: A,
    outcome: Option<R>,
    answer: oneshot::Sender<Result<R, DatabaseError>>,
}

impl<R, W, A> Task<R, W, A> {
    pub(super) fn new(work: W, then: A, answer: oneshot::Sender<Result<R, DatabaseError>>) -> Self {
        Self { work, then, outcome: None, answer }
    }
}

impl<T, R, W, A> Job<T> for Task<R, W, A>
where
    T: Tables,
    R: Send,
    W: Fn(&mut T::Open<'_>) -> Result<R, redb::Error> + Send,
    A: FnOnce(&R) + Send,
{
    /// A panic is this work's failure and nobody else's (I7): its transaction is thrown away.
    fn run(&mut self, tables: &mut T::Open<'_>) -> Result<(), DatabaseError> {
        let panicked = |_| DatabaseError::Refused("the work panicked".to_owned());
        let outcome = catch_unwind(AssertUnwindSafe(|| (self.work)(tables))).map_err(panicked)?;
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
