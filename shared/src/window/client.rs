//! A command's end.

use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::UnixStream;

use super::{Answer, NAME, Question, Stream, framed};

/// A process that takes longer is stopped, or its disk hangs.
const PATIENCE: Duration = Duration::from_secs(15);

/// Why a process can't be asked.
#[derive(Debug)]
pub enum Unasked {
    /// None runs here: its files can be opened.
    NotRunning,
    Failed(String),
}

pub struct Client(Stream);

impl Client {
    pub async fn connect(folder: &Path) -> Result<Self, Unasked> {
        Self::connect_to(&folder.join(NAME)).await
    }

    /// To the socket of that path.
    pub async fn connect_to(socket: &Path) -> Result<Self, Unasked> {
        match UnixStream::connect(socket).await {
            Ok(stream) => Ok(Self(framed(stream))),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
                Err(Unasked::NotRunning)
            }
            Err(error) => Err(Unasked::Failed(format!("the running process can't be asked: {error}"))),
        }
    }

    /// The answer, or why there is none.
    pub async fn ask(&mut self, question: &Question) -> Result<Answer, String> {
        let gone = || "the running process has gone, or too many look at it".to_owned();
        let asking = async {
            let question = serde_json::to_vec(question).map_err(|error| error.to_string())?;
            self.0.send(Bytes::from(question)).await.map_err(|_| gone())?;
            let frame = self.0.next().await.and_then(Result::ok).ok_or_else(gone)?;
            match serde_json::from_slice(&frame) {
                Ok(Answer::Failed(words)) => Err(words),
                Ok(answer) => Ok(answer),
                Err(_) => Err("the running process is of another version".to_owned()),
            }
        };
        let answered = tokio::time::timeout(PATIENCE, asking).await;
        answered.unwrap_or_else(|_| Err(format!("the running process does not answer within {PATIENCE:?}")))
    }
}
