//! A gate at which a fake's answers wait until the test opens it, and which counts those that wait. So a
//! test knows what is in hand at the same time, without a clock.

use std::sync::Arc;

use tokio::sync::watch;

use crate::http::Answer;
use crate::wait::{LONG, wait_until};

/// Shut when it is made. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Gate {
    state: Arc<watch::Sender<State>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    open: bool,
    waiting: usize,
    most: usize,
}

impl Default for Gate {
    fn default() -> Self {
        Self { state: Arc::new(watch::Sender::new(State::default())) }
    }
}

impl Gate {
    /// The answer, once the gate is open.
    #[must_use]
    pub fn holds(&self, answer: Answer) -> Answer {
        Answer::Held(self.clone(), Box::new(answer))
    }

    /// From now on nothing waits.
    pub fn open(&self) {
        self.state.send_modify(|state| state.open = true);
    }

    /// How many requests have come and are not answered. One whose client is gone still counts.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.state.borrow().waiting
    }

    /// The most that ever waited at the same time.
    #[must_use]
    pub fn most(&self) -> usize {
        self.state.borrow().most
    }

    /// Until so many wait.
    pub async fn wait_for(&self, count: usize) {
        wait_until(&format!("{count} requests at the gate"), LONG, || self.waiting() >= count).await;
    }

    /// Counts the one who comes, and lets it through when the gate is open. It is out of the count before
    /// its answer is written, so that whatever the answer leads to is not counted beside it.
    pub(crate) async fn pass(&self) {
        self.state.send_modify(|state| {
            state.waiting += 1;
            state.most = state.most.max(state.waiting);
        });
        self.state.subscribe().wait_for(|state| state.open).await.expect("this gate is not dropped");
        self.state.send_modify(|state| state.waiting -= 1);
    }
}
