//! The way to what a running `tgw run` has in its file, the embedded queue's letters and the store: a socket in its
//! `DATA_DIR`, for the owner of that folder alone. One tool at a time; its end is the end of its connection.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use serde::{Deserialize, Serialize};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::codec::{Framed, LengthDelimitedCodec};
use tokio_util::sync::CancellationToken;

use super::carried::Carried;
use super::keeper::Keeper;

/// The socket's name in `DATA_DIR`.
const NAME: &str = "tgw.sock";

/// The largest message: a page of letters, each of an update and a rest of a mebibyte, a third longer as base64.
const LARGEST: usize = 128 * 1024 * 1024;

/// A tool asks one thing after the other; one that says nothing for so long has been forgotten in a terminal.
const SILENCE: Duration = Duration::from_secs(3600);

/// What a tool has asked for is waited for so long when the process is told to stop.
const GOODBYE: Duration = Duration::from_secs(5);

/// Between two tries where the system accepts nobody: it has no descriptors left.
const PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug, Serialize, Deserialize)]
pub enum Request {
    Page {
        after: Option<u64>,
        limit: usize,
    },
    CanReplay,
    Replay {
        places: Vec<u64>,
        by: String,
    },
    Remove {
        places: Vec<u64>,
    },
    Bury(Box<Carried>),
    /// What is still to send of a letter that is about to be replayed from another queue.
    KeepRest(Box<Carried>),
}

#[derive(Debug, Serialize, Deserialize)]
pub enum Reply {
    /// The first one to every tool: it has the letters.
    Yours,
    /// Instead of that: another tool has them.
    Held,
    Page(Vec<(u64, Carried)>),
    Done(u64),
    Failed(String),
}

type Stream = Framed<UnixStream, LengthDelimitedCodec>;

fn framed(stream: UnixStream) -> Stream {
    LengthDelimitedCodec::builder().max_frame_length(LARGEST).new_framed(stream)
}

/// The running process's end. Removed when it ends.
pub struct Socket {
    listener: UnixListener,
    path: PathBuf,
}

impl Socket {
    /// The caller has the folder's file open, so what lies there under that name is a dead process's.
    pub fn bind(folder: &Path) -> std::io::Result<Self> {
        let path = folder.join(NAME);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&path)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        Ok(Self { listener, path })
    }

    /// Serves one tool after the other, until `stop`; what a tool has asked for is done before that.
    pub async fn serve(self, keeper: Keeper, stop: CancellationToken) {
        let mut tools = tokio::task::JoinSet::new();
        while let Some(accepted) = stop.run_until_cancelled(self.listener.accept()).await {
            let Ok((stream, _)) = accepted else {
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            while tools.try_join_next().is_some() {}
            if tools.is_empty() {
                let (keeper, stop) = (keeper.clone(), stop.clone());
                tools.spawn(async move { serve_one(framed(stream), keeper, stop).await });
            } else {
                // It may be gone already.
                let _ = send(&mut framed(stream), &Reply::Held).await;
            }
        }
        while tools.join_next().await.is_some() {}
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Where it stays it is in nobody's way.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Ends with the tool, or with the process.
async fn serve_one(tool: Stream, keeper: Keeper, stop: CancellationToken) {
    let late = async {
        stop.cancelled().await;
        tokio::time::sleep(GOODBYE).await;
    };
    // A tool that was stopped takes no answer, and a disk that hangs gives none.
    tokio::select! {
        () = serve_until(tool, keeper, &stop) => {}
        () = late => {}
    }
}

async fn serve_until(mut tool: Stream, keeper: Keeper, stop: &CancellationToken) {
    if send(&mut tool, &Reply::Yours).await.is_err() {
        return;
    }
    loop {
        let asked = stop.run_until_cancelled(tokio::time::timeout(SILENCE, tool.next())).await;
        let Some(Ok(Some(Ok(frame)))) = asked else { return };
        let reply = match serde_json::from_slice(&frame) {
            Ok(request) => answer(&keeper, request).await.unwrap_or_else(Reply::Failed),
            Err(error) => Reply::Failed(format!("not understood: {error}")),
        };
        if send(&mut tool, &reply).await.is_err() {
            return;
        }
    }
}

async fn answer(keeper: &Keeper, request: Request) -> Result<Reply, String> {
    Ok(match request {
        Request::Page { after, limit } => {
            let page = keeper.page(after, limit).await?;
            Reply::Page(page.into_iter().map(|(place, letter)| (place, Carried::of(letter))).collect())
        }
        Request::CanReplay => Reply::Done(keeper.can_replay().await.map(|()| 0)?),
        Request::Replay { places, by } => Reply::Done(keeper.replay(places, by).await?),
        Request::Remove { places } => Reply::Done(keeper.remove(places).await?),
        Request::Bury(carried) => {
            let letter = carried.letter().map_err(|error| error.to_string())?;
            Reply::Done(keeper.bury(&letter).await.map(|()| 1)?)
        }
        Request::KeepRest(carried) => {
            let letter = carried.letter().map_err(|error| error.to_string())?;
            Reply::Done(keeper.keep_rest(&letter).await.map(|()| 1)?)
        }
    })
}

async fn send(stream: &mut Stream, message: &impl Serialize) -> std::io::Result<()> {
    stream.send(Bytes::from(serde_json::to_vec(message)?)).await
}

/// A tool's end.
pub struct Client(Stream);

/// Why a running process can't be asked.
#[derive(Debug)]
pub enum Unasked {
    /// No process runs: the file can be opened.
    NotRunning,
    Held,
    Failed(String),
}

impl Client {
    pub async fn connect(folder: &Path) -> Result<Self, Unasked> {
        let stream = UnixStream::connect(folder.join(NAME)).await.map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused => Unasked::NotRunning,
            _ => Unasked::Failed(format!("the running gateway can't be asked: {error}")),
        })?;
        let mut client = Self(framed(stream));
        match client.receive().await.map_err(Unasked::Failed)? {
            Reply::Held => Err(Unasked::Held),
            _ => Ok(client),
        }
    }

    /// What was asked for is done, or the words say why not.
    pub async fn ask(&mut self, request: &Request) -> Result<Reply, String> {
        let gone = |error: std::io::Error| format!("the running gateway has gone: {error}");
        send(&mut self.0, request).await.map_err(gone)?;
        match self.receive().await? {
            Reply::Failed(words) => Err(words),
            reply => Ok(reply),
        }
    }

    async fn receive(&mut self) -> Result<Reply, String> {
        match self.0.next().await {
            Some(Ok(frame)) => serde_json::from_slice(&frame).map_err(|error| error.to_string()),
            _ => Err("the running gateway has gone".to_owned()),
        }
    }
}
