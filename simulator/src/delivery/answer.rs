//! What the webhook answered, and what that means: success, a failure in Telegram's words, how long to wait.

use std::io;

use bytes::Bytes;

use super::queue::Outcome;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Answer {
    pub status: u16,
    pub reason: String,
    /// Whole seconds; a date is not understood (facts T3).
    pub retry_after: u64,
    pub keep_alive: bool,
    pub length: Option<usize>,
    pub chunked: bool,
    pub is_json: bool,
    pub is_form: bool,
    pub body: Bytes,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// The other side ended the connection in good order. Telegram tells nobody.
    Closed,
    /// In getWebhookInfo's words.
    Said(String),
}

impl Failure {
    pub fn said(text: impl Into<String>) -> Self {
        Self::Said(text.into())
    }

    /// Telegram shows the system's own text, without its number.
    pub fn of(error: io::Error) -> Self {
        let text = error.to_string();
        Self::Said(text.split(" (os error").next().unwrap_or_default().to_owned())
    }

    pub fn text(&self) -> &str {
        match self {
            Self::Closed => "Webhook connection closed",
            Self::Said(text) => text,
        }
    }
}

impl Answer {
    /// From the status line and the headers, empty line and all.
    pub fn read(head: &[u8]) -> Result<Self, Failure> {
        let head = String::from_utf8_lossy(head);
        let mut lines = head.split("\r\n");
        let (version, rest) = lines.next().and_then(|line| line.split_once(' ')).unwrap_or_default();
        let (status, reason) = rest.split_once(' ').unwrap_or((rest, ""));
        let status = status.parse().ok().filter(|_| version.starts_with("HTTP/1."));
        let Some(status) = status else {
            return Err(Failure::said("Bad Request: wrong response status line"));
        };
        let mut answer = Self { status, reason: reason.to_owned(), ..Self::default() };
        answer.keep_alive = version == "HTTP/1.1";
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            answer.header(&name.trim().to_ascii_lowercase(), value.trim())?;
        }
        // These have no body, whatever they say.
        if answer.status == 204 || answer.status == 304 {
            (answer.length, answer.chunked) = (Some(0), false);
        }
        Ok(answer)
    }

    fn header(&mut self, name: &str, value: &str) -> Result<(), Failure> {
        match name {
            "content-length" => {
                let wrong = |_| Failure::said("Bad Request: invalid content-length");
                self.length = Some(value.parse().map_err(wrong)?);
            }
            "transfer-encoding" if value.eq_ignore_ascii_case("chunked") => self.chunked = true,
            "transfer-encoding" => {
                return Err(Failure::said("Unimplemented: unsupported transfer-encoding"));
            }
            "connection" if value.eq_ignore_ascii_case("close") => self.keep_alive = false,
            "connection" if value.eq_ignore_ascii_case("keep-alive") => self.keep_alive = true,
            "retry-after" => self.retry_after = value.parse().unwrap_or(0),
            // In an encoding that Telegram does not know: a failure, whatever its status (facts T6).
            "content-encoding" if !["", "gzip", "deflate"].contains(&value) => {
                return Err(Failure::said("Unsupported Media Type: unsupported content-encoding"));
            }
            "content-type" => {
                self.is_json = value.starts_with("application/json");
                self.is_form = value.starts_with("application/x-www-form-urlencoded");
            }
            _ => (),
        }
        Ok(())
    }

    /// 200 to 299, nothing else (facts T2).
    pub fn accepted(&self) -> bool {
        (200..300).contains(&self.status)
    }

    pub fn outcome(&self) -> Outcome {
        match self.accepted() {
            true => Outcome::Accepted,
            false => Outcome::Failed { retry_after: self.retry_after },
        }
    }

    /// What getWebhookInfo says about it (facts T11).
    pub fn complaint(&self) -> Option<String> {
        let wrong = || format!("Wrong response from the webhook: {} {}", self.status, self.reason);
        (!self.accepted()).then(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(head: &str) -> Result<Answer, Failure> {
        Answer::read(format!("{head}\r\n\r\n").replace('\n', "\r\n").replace("\r\r", "\r").as_bytes())
    }

    #[test]
    fn an_answer_is_told_in_telegrams_words() {
        let answer = read("HTTP/1.1 503 Service Unavailable\nRetry-After: 2\nContent-Length: 0").unwrap();
        assert_eq!((answer.retry_after, answer.length, answer.keep_alive), (2, Some(0), true));
        let complaint = "Wrong response from the webhook: 503 Service Unavailable";
        assert_eq!(answer.complaint().as_deref(), Some(complaint));
        assert_eq!(answer.outcome(), Outcome::Failed { retry_after: 2 });
        assert_eq!(read("HTTP/1.1 204 No Content").unwrap().complaint(), None);
    }

    #[test]
    fn whole_seconds_only_are_waited_for() {
        for value in ["Wed, 21 Oct 2026 07:28:00 GMT", "1.5", "-1", ""] {
            assert_eq!(read(&format!("HTTP/1.1 503 x\nRetry-After: {value}")).unwrap().retry_after, 0);
        }
    }

    #[test]
    fn an_encoding_that_telegram_does_not_know_is_a_failure_even_with_200() {
        let encoded = |name| read(&format!("HTTP/1.1 200 OK\nContent-Encoding: {name}"));
        assert!(encoded("gzip").is_ok() && encoded("deflate").is_ok());
        let refused = encoded("br").unwrap_err();
        assert_eq!(refused.text(), "Unsupported Media Type: unsupported content-encoding");
    }

    #[test]
    fn a_connection_is_kept_unless_the_answer_says_otherwise() {
        let kept = |head| read(head).unwrap().keep_alive;
        assert!(kept("HTTP/1.1 200 OK") && !kept("HTTP/1.1 200 OK\nConnection: close"));
        assert!(!kept("HTTP/1.0 200 OK") && kept("HTTP/1.0 200 OK\nconnection: keep-alive"));
        assert!(read("SSH-2.0-OpenSSH_9.2").is_err());
    }
}
