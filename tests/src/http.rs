//! A small HTTP/1.1 server for the fakes. Written by hand because its point is to misbehave: to hang, to
//! close in the middle, to answer with what no well-behaved server library would send.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::gate::Gate;
use crate::wait::pause;

/// A request as a fake saw it.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    pub path: String,
    headers: Vec<(String, String)>,
    pub raw: Vec<u8>,
    pub at: Instant,
}

impl Request {
    /// By its name in any case; the first if there are several.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The body as JSON, `null` where it is none.
    #[must_use]
    pub fn body(&self) -> Value {
        serde_json::from_slice(&self.raw).unwrap_or_default()
    }
}

/// What a fake does with a request.
#[derive(Clone, Debug)]
pub enum Answer {
    Json(Value),
    Status(u16, Value),
    /// These bytes under this content type, with status 200.
    Raw(&'static str, Vec<u8>),
    /// The answer, so much later.
    After(Duration, Box<Answer>),
    /// The answer, once the gate is open.
    Held(Gate, Box<Answer>),
    /// Takes the request and never answers.
    Hang,
    /// Takes the request and closes the connection.
    Close,
}

impl Answer {
    #[must_use]
    pub fn html() -> Self {
        Self::Raw("text/html", b"<html><body>502 Bad Gateway</body></html>".to_vec())
    }

    #[must_use]
    pub fn empty() -> Self {
        Self::Raw("application/json", Vec::new())
    }

    /// A well-formed text answer of 10 MB, more than a gateway should take in.
    #[must_use]
    pub fn huge() -> Self {
        let body = serde_json::json!({"type": "text", "content": "x".repeat(10 * 1024 * 1024)});
        Self::Raw("application/json", body.to_string().into_bytes())
    }

    #[must_use]
    pub fn text(content: &str) -> Self {
        Self::Json(serde_json::json!({"type": "text", "content": content}))
    }

    #[must_use]
    pub fn after(self, delay: Duration) -> Self {
        Self::After(delay, Box::new(self))
    }
}

pub(crate) type Handler = Arc<dyn Fn(Request) -> Answer + Send + Sync>;

/// A listening server; it ends with this value.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) address: String,
    task: JoinHandle<()>,
}

impl Server {
    pub(crate) async fn start(handler: Handler) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound").to_string();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(converse(stream, handler.clone()));
            }
        });
        Self { address, task }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One connection, request after request. Ends quietly when the client is gone.
async fn converse(stream: TcpStream, handler: Handler) {
    stream.set_nodelay(true).ok();
    let mut stream = BufReader::new(stream);
    while let Some(request) = read_request(&mut stream).await {
        let mut answer = handler(request);
        let answer = loop {
            answer = match answer {
                Answer::After(delay, then) => {
                    pause(delay).await;
                    *then
                }
                Answer::Held(gate, then) => {
                    gate.pass().await;
                    *then
                }
                answer => break answer,
            };
        };
        let Some(bytes) = on_the_wire(answer).await else {
            return;
        };
        if stream.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

async fn read_request(stream: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut line = String::new();
    stream.read_line(&mut line).await.ok().filter(|read| *read > 0)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.ok()?;
        let Some((key, value)) = line.split_once(':') else {
            break;
        };
        headers.push((key.trim().to_owned(), value.trim().to_owned()));
    }
    let mut request = Request { method, path, headers, raw: Vec::new(), at: Instant::now() };
    assert!(request.header("transfer-encoding").is_none(), "the fakes read no chunked bodies");
    let length = request.header("content-length").map_or(0, |text| text.parse().expect("a length"));
    request.raw = vec![0; length];
    stream.read_exact(&mut request.raw).await.ok()?;
    Some(request)
}

/// None: the connection closes without an answer.
async fn on_the_wire(answer: Answer) -> Option<Vec<u8>> {
    let (status, content_type, body) = match answer {
        Answer::Json(value) => (200, "application/json", value.to_string().into_bytes()),
        Answer::Status(status, value) => (status, "application/json", value.to_string().into_bytes()),
        Answer::Raw(content_type, bytes) => (200, content_type, bytes),
        Answer::Hang => std::future::pending().await,
        Answer::Close | Answer::After(..) | Answer::Held(..) => return None,
    };
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status} X\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n");
    let mut bytes = head.into_bytes();
    bytes.extend(body);
    Some(bytes)
}
