//! Many requests over few connections, and few bytes over many: what the tests of bounds pour in. By hand,
//! over sockets: a client library would cost more than the gateway that is measured.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::process::Process;
use crate::updates::Update;
use crate::wait::pause;
use crate::world::{SECRET_HEADER, World};

/// Posts to one ingress. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Flood {
    address: String,
    secret: String,
}

impl Flood {
    #[must_use]
    pub fn of(world: &World) -> Self {
        Self::to(&world.ingress, &world.secret)
    }

    #[must_use]
    pub fn to(ingress: &Process, secret: &str) -> Self {
        Self { address: ingress.address(), secret: secret.to_owned() }
    }

    /// Posts all of them over so many connections at a time; each until it is answered 200.
    pub async fn post_all<I>(&self, updates: I, connections: usize)
    where
        I: Iterator<Item = Update> + Send + 'static,
    {
        let updates = Arc::new(Mutex::new(updates));
        let mut tasks = JoinSet::new();
        for _ in 0..connections {
            let (flood, updates) = (self.clone(), updates.clone());
            tasks.spawn(async move {
                let mut stream = None;
                loop {
                    let Some(update) = updates.lock().expect("no iterator panics").next() else { return };
                    flood.post_until_taken(&mut stream, &update.bytes()).await;
                }
            });
        }
        while let Some(ended) = tasks.join_next().await {
            ended.expect("no connection's task panics");
        }
    }

    /// How often it was told to come again.
    pub async fn post_until_taken(&self, stream: &mut Option<TcpStream>, body: &[u8]) -> usize {
        for refused in 0.. {
            if stream.is_none() {
                *stream = Some(self.connect().await);
            }
            match self.post(stream.as_mut().expect("it was just made"), body).await {
                Some(200) => return refused,
                Some(status) => {
                    assert_eq!(status, 503, "the webhook says 200 and 503 only");
                    *stream = None;
                    // What the answer's Retry-After says.
                    pause(Duration::from_secs(2)).await;
                }
                // A kept connection may be closed at any time.
                None => *stream = None,
            }
        }
        unreachable!("it is tried for ever")
    }

    /// The status, or none if the connection broke.
    async fn post(&self, stream: &mut TcpStream, body: &[u8]) -> Option<u16> {
        stream.write_all(self.head(body.len()).as_bytes()).await.ok()?;
        stream.write_all(body).await.ok()?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            if stream.read_buf(&mut answer).await.ok()? == 0 {
                return None;
            }
        }
        std::str::from_utf8(answer.get(9..12)?).ok()?.parse().ok()
    }

    pub async fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).await.expect("the ingress listens");
        stream.set_nodelay(true).ok();
        stream
    }

    /// A request up to its body.
    #[must_use]
    pub fn head(&self, length: usize) -> String {
        format!(
            "POST /webhook/telegram HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
             {SECRET_HEADER}: {}\r\nContent-Length: {length}\r\n\r\n",
            self.secret
        )
    }
}

/// Lets this process, and what it starts from now on, have as many connections as it may.
pub fn allow_many_connections() {
    let now = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: now.maximum, ..now }).ok();
}
