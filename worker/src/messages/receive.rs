//! Takes a request's body in, within bounds of bytes and of time.

use std::time::Duration;

use actix_web::web;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use tokio::time::timeout;

use super::Refusal;

/// As much as a service's answer.
pub const LARGEST: usize = 1024 * 1024;

/// A body that is not here after this is not coming.
const TIME: Duration = Duration::from_secs(10);

/// For so long what nobody wants is read and dropped.
const DROPPING: Duration = Duration::from_millis(300);

pub async fn whole(mut payload: web::Payload) -> Result<Bytes, Refusal> {
    let reading = async {
        let mut body = BytesMut::new();
        while let Some(chunk) = payload.next().await {
            let chunk = chunk.map_err(|_| Refusal::Bad("the body broke off".to_owned()))?;
            if body.len() + chunk.len() > LARGEST {
                return Err(Refusal::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    };
    let read = timeout(TIME, reading).await;
    let read = read.unwrap_or_else(|_| Err(Refusal::Bad(format!("the body was not here within {TIME:?}"))));
    if matches!(read, Err(Refusal::TooLarge)) {
        drop_all(payload).await;
    }
    read
}

pub async fn drop_all(mut payload: web::Payload) {
    let rest = async { while payload.next().await.is_some_and(|chunk| chunk.is_ok()) {} };
    // Whether it ended is all the same.
    let _ = timeout(DROPPING, rest).await;
}
