//! What an operator's command may ask a running process that has files in a `DATA_DIR`: a socket beside them, for their
//! owner only. Looking changes nothing, so any number of commands may look at once; what changes something has a
//! socket of its own, in the gateway.

mod client;
mod server;

use serde::{Deserialize, Serialize};
use tokio::net::UnixStream;
use tokio_util::codec::{Framed, LengthDelimitedCodec};

use crate::queue::embedded::{self, Depth};
use crate::snapshot::Snapshot;
use crate::spool::inspect::{Stored, Wanted};

pub use client::{Client, Unasked};
pub use server::{Shown, Window};

/// The socket's name in `DATA_DIR`.
const NAME: &str = "tgw-window.sock";

/// The one of a command that has a file open in place of a running process.
pub const TOOL: &str = "tgw-dead.sock";

/// The largest message: a page of the spool, whose bytes are written as numbers.
const LARGEST: usize = 64 * 1024 * 1024;

#[derive(Debug, Serialize, Deserialize)]
pub enum Question {
    /// The next records of the spool.
    Spool(Wanted),
    /// How it is.
    Status,
    /// The next dead letters of an embedded queue.
    Letters(embedded::Wanted),
    /// Which secrets it takes (`proof`), with the asker's number.
    Secrets(String),
}

#[derive(Debug, Serialize, Deserialize)]
pub enum Answer {
    Spool(Vec<Stored>),
    Status(Box<Status>),
    Letters(Vec<embedded::Seen>),
    Secrets(Vec<String>),
    /// It has none of that, or it can't be read.
    Failed(String),
}

/// How the process is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    pub snapshot: Snapshot,
    /// The dead letters of an embedded queue, and by partition what waits there, in hand or not.
    pub depth: Option<Depth>,
}

type Stream = Framed<UnixStream, LengthDelimitedCodec>;

fn framed(stream: UnixStream) -> Stream {
    LengthDelimitedCodec::builder().max_frame_length(LARGEST).new_framed(stream)
}
