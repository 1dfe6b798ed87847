//! The way to a webhook that has https. The answer is read as that of a plain connection.

use reqwest::Client;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};

use super::answer::{Answer, Failure};
use super::queue::Job;
use crate::state::webhook::Target;

/// By https: the client opens the connections, and counts them as it likes.
pub(super) async fn post_by_client(client: &Client, target: &Target, job: &Job) -> Result<Answer, Failure> {
    let mut request =
        client.post(&target.url).header(CONTENT_TYPE, "application/json").body(job.body.clone());
    if let Some(secret) = &target.secret {
        request = request.header(super::SECRET, secret);
    }
    let failed = |error: reqwest::Error| match error.is_connect() {
        true => Failure::said("Connection refused"),
        false => Failure::Closed,
    };
    let response = request.send().await.map_err(failed)?;
    let status = response.status();
    let mut head = format!("HTTP/1.1 {} {}\r\n", status.as_u16(), status.canonical_reason().unwrap_or(""));
    for name in [CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER] {
        if let Some(value) = response.headers().get(&name).and_then(|value| value.to_str().ok()) {
            head += &format!("{name}: {value}\r\n");
        }
    }
    let mut answer = Answer::read(head.as_bytes())?;
    // Read to its end, or the connection could not be used again.
    answer.body = response.bytes().await.map_err(failed)?;
    Ok(answer)
}
