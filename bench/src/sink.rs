//! The fake service and the fake Telegram that all are measured with: one fast server answers for both. It counts
//! whose update got its message, so that no figure is one of work that was not done.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::time::sleep;

use crate::message::Wire;
use crate::updates::mark;

/// The token of a bot that Telegram does not know.
pub const WRONG_TOKEN: &str = "1:WRONG";
pub const TOKEN: &str = "4242424242:AABENCHbenchBENCHbenchBENCHbench123";

/// So many marks are told apart in a run: those of more than ten full rounds with a backlog of a million. In bits, 32 MiB.
pub const MARKS: u64 = 1 << 28;

const ME: &str = r#"{"ok":true,"result":{"id":4242424242,"is_bot":true,"first_name":"Bench","username":"bench_bot","can_join_groups":true,"can_read_all_group_messages":false,"supports_inline_queries":false,"can_connect_to_business":false,"has_main_web_app":false}}"#;

#[derive(Clone, Debug)]
pub struct Sink {
    address: String,
    tally: Arc<Tally>,
}

#[derive(Debug)]
struct Tally {
    seen: Vec<AtomicU64>,
    /// Updates that got their message, since the run began.
    answered: AtomicU64,
    /// Messages for an update that had one.
    twice: AtomicU64,
    /// When the last of them came, in ns since `begun`.
    last_ns: AtomicU64,
    begun: Instant,
}

impl Sink {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("it is bound").to_string();
        let seen = (0..MARKS as usize / 64).map(|_| AtomicU64::new(0)).collect();
        let tally = Tally {
            seen,
            answered: AtomicU64::new(0),
            twice: AtomicU64::new(0),
            last_ns: AtomicU64::new(0),
            begun: Instant::now(),
        };
        let tally = Arc::new(tally);
        tokio::spawn({
            let tally = tally.clone();
            async move {
                loop {
                    let Ok((stream, _)) = listener.accept().await else { continue };
                    tokio::spawn(serve(Wire::new(stream), tally.clone()));
                }
            }
        });
        Self { address, tally }
    }

    pub fn telegram(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn service(&self) -> String {
        format!("http://{}/ask", self.address)
    }

    /// So many updates have their message.
    pub fn answered(&self) -> u64 {
        self.tally.answered.load(Ordering::Relaxed)
    }

    pub fn twice(&self) -> u64 {
        self.tally.twice.load(Ordering::Relaxed)
    }

    /// When the last message came.
    pub fn last(&self) -> Instant {
        self.tally.begun + Duration::from_nanos(self.tally.last_ns.load(Ordering::Relaxed))
    }

    /// Until so many have theirs. Panics where they don't in time: such a figure is worth nothing.
    pub async fn wait_answered(&self, who: &str, count: u64, patience: Duration) {
        let all = self.all_answered(count, patience).await;
        assert!(all, "{who}: {} of {count} updates got their message", self.answered());
    }

    /// Whether so many have theirs within that time.
    pub async fn all_answered(&self, count: u64, patience: Duration) -> bool {
        let end = Instant::now() + patience;
        while self.answered() < count {
            if Instant::now() > end {
                return false;
            }
            sleep(Duration::from_millis(2)).await;
        }
        true
    }
}

/// Answers on one connection until it ends.
async fn serve(mut wire: Wire, tally: Arc<Tally>) {
    loop {
        let Ok(message) = wire.receive().await else { return };
        let (status, body) = answer(message.line, message.body, &tally);
        let answer = format!(
            "HTTP/1.1 {status} OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        if wire.send(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

fn answer(line: &str, body: &[u8], tally: &Tally) -> (u16, String) {
    let path = line.split(' ').nth(1).unwrap_or_default();
    let mark = mark(body).unwrap_or(0);
    let method = path.rsplit('/').next().unwrap_or_default();
    // grammY and the others may write a method in other letters than Telegram does.
    if path.contains(WRONG_TOKEN) {
        return (401, r#"{"ok":false,"error_code":401,"description":"Unauthorized"}"#.to_owned());
    }
    if path.starts_with("/ask") {
        return (
            200,
            format!("{{\"type\":\"text\",\"content\":\"The answer to mark{mark}: yes, Ada would.\"}}"),
        );
    }
    if method.eq_ignore_ascii_case("sendMessage") {
        tally.note(mark);
        let sent = format!(
            "{{\"ok\":true,\"result\":{{\"message_id\":{},\"date\":1700000000,\"chat\":{{\"id\":5000000000,\
             \"type\":\"private\",\"first_name\":\"Ada\"}},\"text\":\"The answer to mark{mark}: yes, Ada would.\"}}}}",
            1000 + mark
        );
        return (200, sent);
    }
    if method.eq_ignore_ascii_case("getMe") {
        return (200, ME.to_owned());
    }
    (200, r#"{"ok":true,"result":true}"#.to_owned())
}

impl Tally {
    fn note(&self, mark: u64) {
        let (word, bit) = (mark as usize / 64 % self.seen.len(), 1_u64 << (mark % 64));
        if self.seen[word].fetch_or(bit, Ordering::Relaxed) & bit != 0 {
            self.twice.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.last_ns.store(self.begun.elapsed().as_nanos() as u64, Ordering::Relaxed);
        self.answered.fetch_add(1, Ordering::Relaxed);
    }
}
