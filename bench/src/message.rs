//! HTTP/1.1 messages over a kept connection, both ways, with no more than the load and the sink need: a library
//! would cost more than what is measured.

use std::io::{Error, ErrorKind, Result};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    read: Vec<u8>,
    /// How much of `read` was the message before.
    used: usize,
}

/// A request or an answer.
#[derive(Debug)]
pub struct Message<'a> {
    /// The first line.
    pub line: &'a str,
    pub body: &'a [u8],
}

impl Message<'_> {
    /// An answer's.
    pub fn status(&self) -> Option<u16> {
        self.line.get(9..12)?.parse().ok()
    }
}

impl Wire {
    pub fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).ok();
        Self { stream, read: Vec::with_capacity(4096), used: 0 }
    }

    pub async fn connect(address: &str) -> Result<Self> {
        TcpStream::connect(address).await.map(Self::new)
    }

    pub async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes).await
    }

    /// The next message; an error where the connection ended.
    pub async fn receive(&mut self) -> Result<Message<'_>> {
        self.read.drain(..self.used);
        self.used = 0;
        let head = loop {
            if let Some(at) = find(&self.read, b"\r\n\r\n") {
                break at + 4;
            }
            self.more().await?;
        };
        let length = length(&self.read[..head]);
        let body = match length {
            Length::Known(length) => {
                while self.read.len() < head + length {
                    self.more().await?;
                }
                self.used = head + length;
                head..head + length
            }
            Length::Chunked => {
                let end = loop {
                    if let Some(at) = find(&self.read[head - 2..], b"\r\n0\r\n\r\n") {
                        break head - 2 + at;
                    }
                    if self.read[head..].starts_with(b"0\r\n\r\n") {
                        break head - 2;
                    }
                    self.more().await?;
                };
                self.used = end + 7;
                head..end.max(head)
            }
        };
        let line = self.read.split(|byte| *byte == b'\r').next().unwrap_or_default();
        let line = std::str::from_utf8(line).unwrap_or_default();
        Ok(Message { line, body: &self.read[body] })
    }

    async fn more(&mut self) -> Result<()> {
        match self.stream.read_buf(&mut self.read).await? {
            0 => Err(Error::from(ErrorKind::UnexpectedEof)),
            _ => Ok(()),
        }
    }
}

enum Length {
    Known(usize),
    Chunked,
}

fn length(head: &[u8]) -> Length {
    let text = std::str::from_utf8(head).unwrap_or_default();
    for line in text.split("\r\n").skip(1) {
        let Some((name, value)) = line.split_once(':') else { continue };
        if name.eq_ignore_ascii_case("content-length") {
            return Length::Known(value.trim().parse().unwrap_or(0));
        }
        if name.eq_ignore_ascii_case("transfer-encoding") {
            return Length::Chunked;
        }
    }
    Length::Known(0)
}

pub fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|part| part == what)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn messages_of_every_length_are_read_one_after_the_other() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let mut from = Wire::connect(&address).await.unwrap();
        let mut to = Wire::new(listener.accept().await.unwrap().0);
        let all = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nab\
                   HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n\
                   HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n\
                   HTTP/1.1 204 OK\r\n\r\n";
        for byte in all.as_bytes().chunks(7) {
            from.send(byte).await.unwrap();
        }
        let mut seen = Vec::new();
        for _ in 0..4 {
            let message = to.receive().await.unwrap();
            seen.push((message.status().unwrap(), String::from_utf8_lossy(message.body).into_owned()));
        }
        let seen: Vec<_> = seen.iter().map(|(status, body)| (*status, body.as_str())).collect();
        assert_eq!(seen, [(200, "ab"), (503, ""), (200, "3\r\nabc"), (204, "")]);
    }
}
