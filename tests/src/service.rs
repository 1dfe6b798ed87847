//! A fake internal service: records what it is asked, and answers by a script.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::http::{Answer, Handler, Request, Server};
use crate::wait::{LONG, wait_until};

type Script = Box<dyn Fn(&Request) -> Answer + Send>;

#[derive(Debug)]
pub struct FakeService {
    server: Server,
    state: Arc<Mutex<State>>,
}

struct State {
    requests: Vec<Request>,
    /// Answered first, one a request; then the script.
    queue: VecDeque<Answer>,
    script: Script,
    forgetful: bool,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("requests", &self.requests.len()).finish_non_exhaustive()
    }
}

impl FakeService {
    /// Answers every request with `{"type":"text","content":"ok"}` until told otherwise.
    pub async fn start() -> Self {
        let script: Script = Box::new(|_| Answer::text("ok"));
        let state = State { requests: Vec::new(), queue: VecDeque::new(), script, forgetful: false };
        let state = Arc::new(Mutex::new(state));
        let seen = state.clone();
        let handler: Handler = Arc::new(move |request| {
            let mut state = seen.lock().expect("no script panics");
            let answer = state.queue.pop_front().unwrap_or_else(|| (state.script)(&request));
            if !state.forgetful {
                state.requests.push(request);
            }
            answer
        });
        Self { server: Server::start(handler).await, state }
    }

    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/ask", self.server.address)
    }

    /// From now on the same answer for every request.
    pub fn answer(&self, answer: Answer) {
        self.answer_with(move |_| answer.clone());
    }

    /// From now on `echo: ` and the message that it was asked about.
    pub fn echo(&self) {
        self.answer_with(|request| {
            Answer::text(&format!("echo: {}", request.body()["message"].as_str().unwrap_or_default()))
        });
    }

    /// From now on what `script` makes of the request.
    pub fn answer_with(&self, script: impl Fn(&Request) -> Answer + Send + 'static) {
        self.state().script = Box::new(script);
    }

    /// From now on no request is kept: for a load that goes on for hours.
    pub fn keep_nothing(&self) {
        self.state().forgetful = true;
    }

    /// These first, one a request, before what [`Self::answer`] set.
    pub fn answer_first(&self, answers: impl IntoIterator<Item = Answer>) {
        self.state().queue.extend(answers);
    }

    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.state().requests.clone()
    }

    #[must_use]
    pub fn count(&self) -> usize {
        self.state().requests.len()
    }

    #[must_use]
    pub fn bodies(&self) -> Vec<Value> {
        self.state().requests.iter().map(Request::body).collect()
    }

    /// Waits until it was asked `count` times, and returns all that it was asked.
    pub async fn wait_for(&self, count: usize) -> Vec<Request> {
        wait_until(&format!("{count} requests to a service"), LONG, || self.count() >= count).await;
        self.requests()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no script panics")
    }
}
