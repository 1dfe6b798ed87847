//! One kept-alive HTTP/1.1 connection to the webhook, as Telegram's own client has it (facts T6, T7): the request's
//! headers in its order, one request at a time. Knows bytes; what an answer means is decided in `answer`.

use std::io;
use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use reqwest::Url;
use reqwest::header::AUTHORIZATION;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::answer::{Answer, Failure};

/// An answer's headers, and its body, may be so long.
const MAX_HEAD: usize = 64 << 10;
const MAX_BODY: usize = 4 << 20;

/// What all requests to one target begin with, up to the value of Content-Length, and where they go.
pub(super) struct Head {
    host: String,
    port: u16,
    bytes: Bytes,
}

impl Head {
    /// None for a URL that is not plain http.
    pub fn new(url: &str, secret: Option<&str>) -> Option<Self> {
        let parsed = Url::parse(url).ok().filter(|url| url.scheme() == "http")?;
        let (host, port) = (parsed.host_str()?.to_owned(), parsed.port_or_known_default()?);
        let named_port = parsed.port().map(|port| format!(":{port}")).unwrap_or_default();
        let query = parsed.query().map(|query| format!("?{query}")).unwrap_or_default();
        let mut head = format!("POST {}{query} HTTP/1.1\r\nHost: {host}{named_port}\r\n", parsed.path());
        // A name and password in the URL become a header, which reqwest knows how to write.
        let request = reqwest::Client::new().post(parsed).build().ok()?;
        if let Some(login) = request.headers().get(AUTHORIZATION).and_then(|login| login.to_str().ok()) {
            head += &format!("Authorization: {login}\r\n");
        }
        if let Some(secret) = secret {
            head += &format!("{}: {secret}\r\n", super::SECRET);
        }
        head += "Content-Type: application/json\r\nContent-Length: ";
        Some(Self { host, port, bytes: head.into() })
    }
}

pub(super) struct Connection {
    stream: TcpStream,
    /// What was read and not used yet.
    read: BytesMut,
    write: Vec<u8>,
}

impl Connection {
    pub async fn open(head: &Head) -> io::Result<Self> {
        let host = head.host.trim_start_matches('[').trim_end_matches(']');
        let stream = TcpStream::connect((host, head.port)).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, read: BytesMut::with_capacity(1024), write: Vec::with_capacity(2048) })
    }

    pub fn peer(&self) -> Option<SocketAddr> {
        self.stream.peer_addr().ok()
    }

    /// An error ends the connection.
    pub async fn post(&mut self, head: &Head, body: &[u8]) -> Result<Answer, Failure> {
        self.write.clear();
        self.write.extend_from_slice(&head.bytes);
        self.write.extend_from_slice(body.len().to_string().as_bytes());
        self.write.extend_from_slice(b"\r\nConnection: keep-alive\r\nAccept-Encoding: gzip, deflate\r\n\r\n");
        self.write.extend_from_slice(body);
        self.stream.write_all(&self.write).await.map_err(Failure::of)?;
        loop {
            let head = self.read_head().await?;
            let mut answer = Answer::read(&head)?;
            // 100 and its kin come before the answer.
            if answer.status >= 200 {
                answer.body = self.read_body(&mut answer).await?;
                return Ok(answer);
            }
        }
    }

    /// Comes back when the other side closes an idle connection, or says something unasked.
    pub async fn closed(&self) {
        self.stream.readable().await.ok();
    }

    /// Up to and with the empty line.
    async fn read_head(&mut self) -> Result<BytesMut, Failure> {
        let mut looked_at = 0;
        loop {
            let end = self.read[looked_at..].windows(4).position(|four| four == b"\r\n\r\n");
            if let Some(end) = end {
                return Ok(self.read.split_to(looked_at + end + 4));
            }
            looked_at = self.read.len().saturating_sub(3);
            if self.read.len() > MAX_HEAD {
                return Err(Failure::said("Request Header Fields Too Large: total headers size exceeded"));
            }
            self.more().await?;
        }
    }

    async fn read_body(&mut self, answer: &mut Answer) -> Result<Bytes, Failure> {
        if answer.chunked {
            return self.read_chunks().await;
        }
        let Some(length) = answer.length else {
            // Without a length Telegram reads no body; what may follow can't be told from the next answer.
            answer.keep_alive &= self.read.is_empty();
            return Ok(Bytes::new());
        };
        if length > MAX_BODY {
            return Err(Failure::said(format!("Request Entity Too Large: content length is {length}")));
        }
        while self.read.len() < length {
            self.more().await?;
        }
        Ok(self.read.split_to(length).freeze())
    }

    async fn read_chunks(&mut self) -> Result<Bytes, Failure> {
        let mut body = BytesMut::new();
        loop {
            let line = self.read_line().await?;
            let size = std::str::from_utf8(&line).ok().and_then(|line| line.split(';').next());
            let size = size.and_then(|size| usize::from_str_radix(size.trim(), 16).ok());
            let size = size.ok_or_else(|| Failure::said("Bad Request: invalid chunk size"))?;
            if body.len().saturating_add(size) > MAX_BODY {
                return Err(Failure::said("Request Entity Too Large: too much content"));
            }
            if size == 0 {
                // Trailers, if any, end with an empty line.
                while !self.read_line().await?.is_empty() {}
                return Ok(body.freeze());
            }
            while self.read.len() < size + 2 {
                self.more().await?;
            }
            body.extend_from_slice(&self.read.split_to(size));
            drop(self.read.split_to(2));
        }
    }

    async fn read_line(&mut self) -> Result<BytesMut, Failure> {
        loop {
            if let Some(end) = self.read.windows(2).position(|two| two == b"\r\n") {
                let line = self.read.split_to(end);
                drop(self.read.split_to(2));
                return Ok(line);
            }
            if self.read.len() > MAX_HEAD {
                return Err(Failure::said("Bad Request: line is too long"));
            }
            self.more().await?;
        }
    }

    async fn more(&mut self) -> Result<(), Failure> {
        self.read.reserve(1024);
        match self.stream.read_buf(&mut self.read).await {
            Ok(0) => Err(Failure::Closed),
            Ok(_) => Ok(()),
            Err(error) => Err(Failure::of(error)),
        }
    }
}
