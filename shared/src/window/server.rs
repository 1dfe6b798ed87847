//! The running process's end.

use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::UnixListener;
use tokio::task::{JoinHandle, JoinSet};

use super::{Answer, NAME, Question, Status, Stream, framed};
use crate::proof::Accepted;
use crate::queue::embedded::Consumer;
use crate::readiness::Readiness;
use crate::snapshot::Snapshot;
use crate::spool::Spool;

/// Commands that look at once. The next one is turned away, since each may have a page in memory.
const LOOKING: usize = 8;

/// One that says nothing for so long is not waited for.
const SILENCE: Duration = Duration::from_secs(60);

/// Between two tries where the system accepts nobody: it has no descriptors left.
const PAUSE: Duration = Duration::from_secs(1);

/// What can be seen of this process.
#[derive(Clone, Default)]
pub struct Shown {
    pub spool: Option<Spool>,
    /// Where the queue is this process's own.
    pub queue: Option<Consumer>,
    pub readiness: Readiness,
    /// The secrets that Telegram may send.
    pub accepted: Accepted,
}

/// An open window. It is closed, and its socket removed, when this is dropped.
pub struct Window {
    path: PathBuf,
    serving: JoinHandle<()>,
}

impl Window {
    /// Opens it in `folder`, whose files the caller has open: what lies there under that name is a dead process's. None
    /// where that can't be (a path of over 107 bytes, a disk that takes no sockets): everything else works without.
    pub fn open(folder: &Path, shown: Shown) -> Option<Self> {
        Self::open_as(folder, NAME, shown)
    }

    /// Under another name: that of a command that has a file open in place of a process ([`super::TOOL`]).
    pub fn open_as(folder: &Path, name: &str, shown: Shown) -> Option<Self> {
        let path = folder.join(name);
        match bind(&path) {
            Ok(listener) => Some(Self { path, serving: tokio::spawn(serve(listener, shown)) }),
            Err(error) => {
                tracing::warn!(%error, "no socket by which commands could look into this process");
                None
            }
        }
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        self.serving.abort();
        // Where it stays it is in nobody's way.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn bind(path: &Path) -> std::io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

async fn serve(listener: UnixListener, shown: Shown) {
    let mut looking = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        while looking.try_join_next().is_some() {}
        if looking.len() < LOOKING {
            let shown = shown.clone();
            looking.spawn(async move { serve_one(framed(stream), &shown).await });
        }
    }
}

async fn serve_one(mut stream: Stream, shown: &Shown) {
    while let Ok(Some(Ok(frame))) = tokio::time::timeout(SILENCE, stream.next()).await {
        let answer = match serde_json::from_slice(&frame) {
            Ok(question) => shown.answer(question).await,
            Err(error) => Answer::Failed(format!("not understood: {error}")),
        };
        let Ok(bytes) = serde_json::to_vec(&answer) else { return };
        if stream.send(Bytes::from(bytes)).await.is_err() {
            return;
        }
    }
}

impl Shown {
    async fn answer(&self, question: Question) -> Answer {
        match question {
            Question::Status => Answer::Status(Box::new(Status {
                snapshot: Snapshot::take(&self.readiness),
                depth: self.queue.as_ref().map(Consumer::depth),
            })),
            Question::Secrets(nonce) => {
                let none = || Answer::Failed("the running process takes no secrets".to_owned());
                self.accepted.proofs(&nonce).map_or_else(none, Answer::Secrets)
            }
            Question::Letters(wanted) => match &self.queue {
                Some(queue) => {
                    let page = queue.letters().look(wanted).await;
                    page.map_or_else(|error| Answer::Failed(error.to_string()), Answer::Letters)
                }
                None => Answer::Failed("the running process has no queue of its own".to_owned()),
            },
            Question::Spool(wanted) => match &self.spool {
                Some(spool) => {
                    let page = spool.page(wanted).await;
                    page.map_or_else(|error| Answer::Failed(error.to_string()), Answer::Spool)
                }
                None => Answer::Failed("the running process has no spool".to_owned()),
            },
        }
    }
}
