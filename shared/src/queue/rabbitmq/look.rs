//! What stands on the broker, as somebody sees it who changes nothing: for `tgw doctor` and `tgw status`.
//!
//! Each question has a channel of its own, since a refusal closes it. Whether a queue or an exchange is there is asked
//! by a passive declaration. That one compares no arguments, so what has just been found is then declared as the parts
//! declare it: the broker compares, and makes nothing, since it is there.

use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use lapin::ExchangeKind;
use lapin::options::ExchangeDeclareOptions;
use lapin::types::FieldTable;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::census::Census;
use super::connection::{Connection, open_as, open_channel};
use super::topology::{TopologyError, closing_code, declare_marker, declare_quorum};
use super::{Settings, stat};
use crate::snapshot::Snapshot;

/// One question's time; a queue whose node is down does not answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// Between two tries to hear a queue that is silent.
const PAUSE: Duration = Duration::from_millis(100);

/// A partition goes from one worker to another in less.
const HANDED_OVER: Duration = Duration::from_secs(1);

/// Questions at a time.
const AT_ONCE: usize = 16;

/// The broker's codes: not found, another connection's, other arguments.
const NOT_FOUND: u16 = 404;
const LOCKED: u16 = 405;
const DIFFERS: u16 = 406;

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// None over TLS, where it is not looked for.
    pub version: Option<String>,
    pub made: Made,
    /// Queues and exchanges that are not there, queues that have other arguments (and the broker's words), queues that
    /// don't answer.
    pub missing: Vec<String>,
    pub different: Vec<(String, String)>,
    pub silent: Vec<String>,
    /// Partitions that no worker holds.
    pub ownerless: Vec<u16>,
    /// Updates that wait in the partitions, and dead letters.
    pub waiting: u64,
    pub letters: u32,
}

/// Whether the queues were made, and for how many partitions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Made {
    #[default]
    NotYet,
    ForAsMany,
    /// For this number, or a question mark.
    ForOthers(String),
}

/// How much waits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Depths {
    /// By partition; none where the queue is not there or does not answer.
    pub ready: Vec<Option<u32>>,
    pub letters: Option<u32>,
    /// A tool has the letters in hand, so the broker counts none of them as ready.
    pub letters_held: bool,
}

enum Found {
    Yes(u32),
    Missing,
    Locked,
    Different(String),
    Silent,
}

/// A connection on which only looks are taken.
pub struct Look {
    connection: Connection,
    settings: Settings,
}

impl Look {
    /// The error is why the broker can't be asked.
    pub async fn connect(settings: &Settings, name: &str) -> Result<Self, String> {
        let connected = timeout(PATIENCE, open_as(settings, name)).await.map_err(|_| late())?;
        let connection = connected.map_err(|error| error.to_string())?;
        Ok(Self { connection, settings: settings.clone() })
    }

    /// All of it.
    pub async fn seen(&self) -> Result<Seen, String> {
        let version = timeout(PATIENCE, version(&self.settings)).await.ok().flatten();
        let mut seen = Seen { version, made: self.made().await?, ..Seen::default() };
        if seen.made == Made::ForAsMany {
            self.look_at_queues(&mut seen).await;
        }
        Ok(seen)
    }

    /// Whether the queues were made, and for whom.
    pub async fn made(&self) -> Result<Made, String> {
        made(&self.connection, &self.settings).await
    }

    pub async fn depths(&self) -> Depths {
        let queues = (0..self.settings.partitions).map(|partition| self.settings.partition_queue(partition));
        let asked = queues.chain([self.settings.dead_queue()]).map(async |queue| {
            match passive(&self.connection, &queue).await {
                Found::Yes(count) => Some(count),
                _ => None,
            }
        });
        let mut ready: Vec<Option<u32>> = stream::iter(asked).buffered(AT_ONCE).collect().await;
        let letters = ready.pop().flatten();
        let lock = passive(&self.connection, &self.settings.dead_lock()).await;
        Depths { ready, letters, letters_held: matches!(lock, Found::Locked) }
    }

    /// Those of these partitions that nobody holds. A lease is an exclusive queue: it refuses even to be looked at by
    /// another connection (facts R2).
    pub async fn ownerless(&self, of: Vec<u16>) -> Vec<u16> {
        let asked = of.into_iter().map(|partition| async move {
            let found = passive(&self.connection, &self.settings.lease_queue(partition)).await;
            matches!(found, Found::Missing).then_some(partition)
        });
        stream::iter(asked).buffered(AT_ONCE).filter_map(std::future::ready).collect().await
    }

    /// Begins to ask the processes how they are.
    pub async fn census(&self) -> Result<Census, String> {
        let begun = timeout(PATIENCE, Census::begin(&self.connection, &self.settings)).await;
        begun.map_err(|_| late())?.map_err(|error| error.to_string())
    }

    /// Asks them, as [`Census::ask`].
    pub async fn ask(
        &self,
        census: &mut Census,
        deadline: Instant,
        enough: impl Fn(&[Snapshot]) -> bool,
    ) -> Result<Vec<Snapshot>, String> {
        census.ask(&self.connection, deadline, enough).await
    }

    /// Not waited for long: all has been said.
    pub async fn close(self) {
        let _ = timeout(PATIENCE, self.connection.close(200, "seen".into())).await;
    }

    async fn look_at_queues(&self, seen: &mut Seen) {
        let Self { connection, settings } = self;
        let partitions = (0..settings.partitions).map(|partition| settings.partition_queue(partition));
        let queues: Vec<String> = partitions.chain([settings.dead_queue()]).collect();
        let dead = queues.len() - 1;
        let found = queues.iter().map(|queue| look_at(connection, queue));
        let found: Vec<Found> = stream::iter(found).buffered(AT_ONCE).collect().await;
        for (at, (queue, found)) in queues.into_iter().zip(found).enumerate() {
            match found {
                Found::Yes(count) if at == dead => seen.letters = count,
                Found::Yes(count) => seen.waiting += u64::from(count),
                Found::Missing => seen.missing.push(queue),
                Found::Different(words) => seen.different.push((queue, words)),
                Found::Silent | Found::Locked => seen.silent.push(queue),
            }
        }
        let exchange = settings.exchange();
        if let Found::Missing = exchange_found(connection, &exchange, ExchangeKind::Direct).await {
            seen.missing.push(exchange);
        }
        seen.ownerless = self.ownerless((0..settings.partitions).collect()).await;
        if !seen.ownerless.is_empty() {
            // A partition that is being handed over has none for a moment.
            tokio::time::sleep(HANDED_OVER).await;
            seen.ownerless = self.ownerless(std::mem::take(&mut seen.ownerless)).await;
        }
    }
}

fn late() -> String {
    format!("no answer within {PATIENCE:?}")
}

async fn look_at(connection: &Connection, queue: &str) -> Found {
    let found = passive(connection, queue).await;
    match found {
        Found::Yes(count) => match compare(connection, queue).await {
            Found::Yes(_) => Found::Yes(count),
            other => other,
        },
        other => other,
    }
}

async fn passive(connection: &Connection, queue: &str) -> Found {
    let asked = async {
        let channel = open_channel(connection).await?;
        let stat = stat::ask_again(&channel, queue, PAUSE).await?;
        channel.close(200, "seen".into()).await?;
        Ok(stat.ready)
    };
    found(timeout(PATIENCE, asked).await)
}

async fn compare(connection: &Connection, queue: &str) -> Found {
    let asked = async {
        let channel = open_channel(connection).await?;
        declare_quorum(&channel, queue.to_owned()).await?;
        channel.close(200, "seen".into()).await.map(|()| 0)
    };
    found(timeout(PATIENCE, asked).await)
}

fn found(answer: Result<Result<u32, lapin::Error>, tokio::time::error::Elapsed>) -> Found {
    let Ok(answer) = answer else { return Found::Silent };
    match answer.map_err(|error| closing_code(&error)) {
        Ok(count) => Found::Yes(count),
        Err(Some((NOT_FOUND, _))) => Found::Missing,
        Err(Some((LOCKED, _))) => Found::Locked,
        Err(Some((DIFFERS, words))) => Found::Different(words),
        Err(_) => Found::Silent,
    }
}

async fn exchange_found(connection: &Connection, exchange: &str, kind: ExchangeKind) -> Found {
    let options = ExchangeDeclareOptions { passive: true, ..Default::default() };
    let asked = async {
        let channel = open_channel(connection).await?;
        channel.exchange_declare(exchange.into(), kind, options, FieldTable::default()).await?;
        channel.close(200, "seen".into()).await.map(|()| 0)
    };
    found(timeout(PATIENCE, asked).await)
}

/// Whether the marker is there, and whose number it bears.
async fn made(connection: &Connection, settings: &Settings) -> Result<Made, String> {
    match exchange_found(connection, &settings.marker(), ExchangeKind::Fanout).await {
        Found::Yes(_) | Found::Locked => {}
        Found::Missing => return Ok(Made::NotYet),
        Found::Different(words) => return Err(words),
        Found::Silent => return Err(late()),
    }
    let compared = async {
        let channel = open_channel(connection).await?;
        match declare_marker(&channel, settings).await {
            Ok(()) => channel.close(200, "seen".into()).await.map(|()| Made::ForAsMany),
            Err(TopologyError::Partitions { broker }) => Ok(Made::ForOthers(broker)),
            Err(TopologyError::Broker(error)) => Err(error),
        }
    };
    let compared = timeout(PATIENCE, compared).await.map_err(|_| late())?;
    compared.map_err(|error: lapin::Error| error.to_string())
}

/// What the broker calls itself in its first words, which come before any password.
async fn version(settings: &Settings) -> Option<String> {
    if settings.uri.scheme != lapin::uri::AMQPScheme::AMQP {
        return None;
    }
    let authority = &settings.uri.authority;
    let mut stream = TcpStream::connect((authority.host.as_str(), authority.port)).await.ok()?;
    stream.write_all(b"AMQP\x00\x00\x09\x01").await.ok()?;
    // A frame: type, channel, the length of the rest.
    let mut head = [0; 7];
    stream.read_exact(&mut head).await.ok()?;
    let [_, _, _, length @ ..] = head;
    let length = u32::from_be_bytes(length).min(64 * 1024);
    let mut frame = vec![0; length as usize];
    stream.read_exact(&mut frame).await.ok()?;
    version_in(&frame)
}

/// The field `version` of the table: a short name, then `S` for a long text and its length.
fn version_in(frame: &[u8]) -> Option<String> {
    const KEY: &[u8] = b"\x07versionS";
    let at = frame.windows(KEY.len()).position(|window| window == KEY)?;
    let (length, rest) = frame.get(at + KEY.len()..)?.split_first_chunk::<4>()?;
    let text = rest.get(..u32::from_be_bytes(*length) as usize)?;
    Some(String::from_utf8_lossy(text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_from_the_brokers_first_words() {
        let frame = b"\0\x0a\0\x0a\x07productS\0\0\0\x08RabbitMQ\x07versionS\0\0\0\x063.10.8\x08platformS";
        assert_eq!(version_in(frame).as_deref(), Some("3.10.8"));
        for broken in [&b"\x07versionS\0\0\0\x09x"[..], b"\x07versionS", b""] {
            assert_eq!(version_in(broken), None);
        }
    }
}
