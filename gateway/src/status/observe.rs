//! What can be seen of a deployment at one moment: the broker is asked for its queues, and every process for itself, the
//! one in `DATA_DIR` by its socket too.

use std::path::Path;
use std::time::Duration;

use shared::database::{Look, Unreadable};
use shared::one_file;
use shared::program::Failure;
use shared::queue::embedded::{self, Depth};
use shared::queue::rabbitmq::{self, Census, Depths, Made, Settings};
use shared::settings::Values;
use shared::snapshot::Snapshot;
use shared::window::{Answer, Client, Question, Status, Unasked};
use tokio::time::Instant;

use super::metrics;
use crate::deployment::Deployment;

/// For so long answers are waited for where it is not known whether one is missing.
const LISTEN: Duration = Duration::from_millis(300);

/// And so much longer where one is.
const LONGEST: Duration = Duration::from_millis(1500);

/// What was seen.
pub struct Observed {
    pub at: Instant,
    pub at_ms: u64,
    pub processes: Vec<Snapshot>,
    pub queues: Queues,
    /// What could not be seen, in words.
    pub missing: Vec<String>,
}

pub enum Queues {
    RabbitMq {
        depths: Depths,
        /// Partitions that nobody holds.
        ownerless: Vec<u16>,
    },
    Embedded(Depth),
    /// The broker can't be asked.
    Unseen,
}

pub enum Observer<'a> {
    RabbitMq { values: &'a Values, settings: Box<Settings>, connected: Option<Box<(rabbitmq::Look, Census)>> },
    Embedded { values: &'a Values },
}

impl<'a> Observer<'a> {
    pub fn new(values: &'a Values) -> Result<Self, Failure> {
        if !Deployment::of(values).rabbitmq {
            return Ok(Self::Embedded { values });
        }
        let settings = Settings::read(values)?;
        Ok(Self::RabbitMq { values, settings: Box::new(settings), connected: None })
    }

    /// The error is why there is nothing at all to see.
    pub async fn observe(&mut self) -> Result<Observed, Failure> {
        match self {
            Self::Embedded { values } => match local(values).await? {
                Some(Status { snapshot, depth: Some(depth) }) => {
                    Ok(observed(vec![snapshot], Queues::Embedded(depth), Vec::new()))
                }
                Some(_) => Err(Failure::Failed("the process that has DATA_DIR has no queue".to_owned())),
                None => {
                    let depth = resting(values).await?;
                    let what = "no gateway runs on this DATA_DIR: this is what its file holds".to_owned();
                    Ok(observed(Vec::new(), Queues::Embedded(depth), vec![what]))
                }
            },
            Self::RabbitMq { values, settings, connected } => {
                let local = local(values).await?.map(|status| status.snapshot);
                match ask(settings, connected).await {
                    Ok(Asked { mut processes, depths, ownerless }) => {
                        processes.extend(local.filter(|local| processes.iter().all(|it| it.id != local.id)));
                        let missing = missing(&processes, &ownerless, depths.ready.len());
                        Ok(observed(processes, Queues::RabbitMq { depths, ownerless }, missing))
                    }
                    Err(words) => {
                        *connected = None;
                        let why = format!("the broker at {} can't be asked: {words}", settings.place());
                        let local = local.ok_or_else(|| Failure::Failed(why.clone()))?;
                        Ok(observed(vec![local], Queues::Unseen, vec![why]))
                    }
                }
            }
        }
    }
}

fn observed(mut processes: Vec<Snapshot>, queues: Queues, missing: Vec<String>) -> Observed {
    processes.sort_by_key(|it| (it.host.clone(), it.since_ms, it.pid));
    Observed { at: Instant::now(), at_ms: shared::clock::now_ms(), processes, queues, missing }
}

/// The process that has `DATA_DIR`, if one runs.
async fn local(values: &Values) -> Result<Option<Status>, Failure> {
    let folder = Path::new(values.text("DATA_DIR").unwrap_or_default());
    let mut client = match Client::connect(folder).await {
        Ok(client) => client,
        Err(Unasked::NotRunning) => return Ok(None),
        Err(Unasked::Failed(words)) => return Err(Failure::Failed(words)),
    };
    match client.ask(&Question::Status).await.map_err(Failure::Failed)? {
        Answer::Status(status) => Ok(Some(*status)),
        _ => Err(Failure::Failed("the running process answers what nobody asked".to_owned())),
    }
}

/// What waits in the file of a gateway that does not run.
async fn resting(values: &Values) -> Result<Depth, Failure> {
    let path = Path::new(values.text("DATA_DIR").unwrap_or_default()).join(one_file::FILE.name);
    let reading = tokio::task::spawn_blocking(move || {
        let failed =
            |error: Unreadable| Failure::Failed(format!("{} can't be read: {error}", path.display()));
        let file = Look::open(&path).map_err(failed)?;
        let depth = embedded::depth_of(&file).map_err(failed)?;
        let torn = || Failure::Failed("a gateway was started meanwhile: ask again".to_owned());
        file.is_as_it_was().then_some(depth).ok_or_else(torn)
    });
    reading.await.map_err(|error| Failure::Failed(error.to_string()))?
}

struct Asked {
    processes: Vec<Snapshot>,
    depths: Depths,
    ownerless: Vec<u16>,
}

async fn ask(
    settings: &Settings,
    connected: &mut Option<Box<(rabbitmq::Look, Census)>>,
) -> Result<Asked, String> {
    if connected.is_none() {
        let look = rabbitmq::Look::connect(settings, "tgw status").await?;
        match look.made().await? {
            Made::ForAsMany => {}
            Made::NotYet => {
                return Err(format!("nothing has run with AMQP_PREFIX {:?} yet", settings.prefix));
            }
            Made::ForOthers(many) => {
                return Err(format!("its queues were made for {many} partitions: set PARTITIONS to that"));
            }
        }
        let census = look.census().await?;
        *connected = Some(Box::new((look, census)));
    }
    let Some((look, census)) = connected.as_deref_mut() else { return Err("no connection".to_owned()) };
    let partitions = settings.partitions;
    let mut processes = look.ask(census, Instant::now() + LISTEN, |_| false).await?;
    let mut ownerless = look.ownerless(untold(&processes, partitions)).await;
    // The first round may tell that there are more than have answered by then, and so do leases that nobody tells of.
    let all = |told: &[Snapshot]| {
        are_all(told) && untold(told, partitions).iter().all(|partition| ownerless.contains(partition))
    };
    if !all(&processes) {
        let more = look.ask(census, Instant::now() + LONGEST, all).await?;
        processes.retain(|known| more.iter().all(|it| it.id != known.id));
        processes.extend(more);
        ownerless = look.ownerless(untold(&processes, partitions)).await;
    }
    let depths = look.depths().await;
    Ok(Asked { processes, depths, ownerless })
}

/// The partitions that none of these works on.
fn untold(processes: &[Snapshot], partitions: u16) -> Vec<u16> {
    let held: Vec<u16> = processes.iter().flat_map(held).collect();
    (0..partitions).filter(|partition| !held.contains(partition)).collect()
}

/// The partitions that a process works on.
pub fn held(process: &Snapshot) -> Vec<u16> {
    let held = metrics::by(&process.metrics, "tgw_partition_updates", "partition", &[("state", "in_hand")]);
    held.keys().filter_map(|partition| partition.parse().ok()).collect()
}

pub fn is_worker(process: &Snapshot) -> bool {
    metrics::has(&process.metrics, "tgw_workers_known")
        || metrics::has(&process.metrics, "tgw_partitions_held")
}

pub fn is_ingress(process: &Snapshot) -> bool {
    ["tgw_spool_records", "tgw_ingress_requests_total"]
        .iter()
        .any(|name| metrics::has(&process.metrics, name))
}

/// How many workers and ingresses those that answered know of, and did not answer themselves.
pub fn unheard(processes: &[Snapshot]) -> (usize, usize) {
    let most = |name: &str| {
        let known = processes.iter().map(|it| metrics::sum(&it.metrics, name, &[]) as usize);
        known.max().unwrap_or(0)
    };
    let workers = processes.iter().filter(|it| is_worker(it)).count();
    let ingresses = processes.iter().filter(|it| is_ingress(it)).count();
    let peers = if ingresses > 0 { most("tgw_ingress_peers") + 1 } else { 0 };
    (most("tgw_workers_known").saturating_sub(workers), peers.saturating_sub(ingresses))
}

fn are_all(processes: &[Snapshot]) -> bool {
    !processes.is_empty() && unheard(processes) == (0, 0)
}

fn missing(processes: &[Snapshot], ownerless: &[u16], partitions: usize) -> Vec<String> {
    let mut missing = Vec::new();
    let (workers, ingresses) = unheard(processes);
    for (count, what) in [(workers, "workers"), (ingresses, "ingresses")] {
        if count > 0 {
            missing.push(format!("{what} that did not answer: {count}"));
        }
    }
    let held: usize = processes.iter().map(|it| held(it).len()).sum();
    if workers == 0 && held + ownerless.len() < partitions {
        missing
            .push(format!("partitions whose worker did not answer: {}", partitions - held - ownerless.len()));
    }
    missing
}
