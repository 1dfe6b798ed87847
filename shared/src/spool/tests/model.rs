//! Random actions, and power failures between and within them: what was acknowledged is there, what was taken
//! out is gone, and only what was under way may be either.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;
use rand::SeedableRng as _;
use rand::rngs::StdRng;

use super::disk::Disk;
use super::*;

type Key = (u16, u64);

#[derive(Clone, Debug)]
enum Action {
    Put {
        lane: i64,
        update_id: u64,
        size: usize,
    },
    Letter {
        size: usize,
    },
    /// The lowest so many of a lane's bucket, as a drain takes them.
    Drain {
        lane: i64,
        count: usize,
    },
    Restart,
    /// The power fails after so many writes of the actions that come next, which are all begun at once.
    PowerFailure {
        after: usize,
        meanwhile: Vec<(i64, u64, usize)>,
        seed: u64,
    },
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let put = || (0..5_i64, 0..60_u64, 0..9000_usize);
    let action = prop_oneof![
        6 => put().prop_map(|(lane, update_id, size)| Action::Put { lane, update_id, size }),
        1 => (0..2000_usize).prop_map(|size| Action::Letter { size }),
        3 => (0..5_i64, 0..4_usize).prop_map(|(lane, count)| Action::Drain { lane, count }),
        1 => Just(Action::Restart),
        2 => (0..40_usize, prop::collection::vec(put(), 0..6), any::<u64>())
            .prop_map(|(after, meanwhile, seed)| {
                Action::PowerFailure { after, meanwhile: alike(meanwhile), seed }
            }),
    ];
    prop::collection::vec(action, 1..25)
}

/// What is put twice at once is the same update: which of two would be kept is anybody's guess.
fn alike(mut puts: Vec<(i64, u64, usize)>) -> Vec<(i64, u64, usize)> {
    for at in 0..puts.len() {
        let (lane, update_id, _) = puts[at];
        if let Some(first) = puts.iter().find(|first| (first.0, first.1) == (lane, update_id)) {
            puts[at].2 = first.2;
        }
    }
    puts
}

/// The real one, on its disk.
struct Real {
    disk: Disk,
    spool: Spool,
}

impl Real {
    async fn open(disk: Disk) -> Self {
        let open = |disk: &Disk| redb::Builder::new().create_with_backend(disk.clone());
        let database = Database::start(open(&disk).unwrap(), None, {
            let disk = disk.clone();
            Box::new(move || open(&disk).map_err(|error| DatabaseError::Disk(error.to_string())))
        });
        let spool = Spool::open(&database.unwrap(), 1 << 30).await.unwrap();
        Self { disk, spool }
    }

    async fn reopen(self, disk: Disk) -> Self {
        self.spool.0.database.close().await;
        Self::open(disk).await
    }

    /// Every record, by what a drain would read.
    async fn records(&self) -> BTreeMap<Key, usize> {
        let wanted: Vec<_> = (0..BUCKETS).map(|bucket| (bucket, u64::MAX)).collect();
        let read = self.spool.0.database.read(move |txn| table::pages(txn, &wanted, 999, 1 << 30, 1 << 30));
        let pages = read.await.unwrap();
        let records = pages.iter().flat_map(|page| {
            page.records.iter().map(|(id, record)| {
                let envelope = record::to_update(record.clone()).expect("a sound record");
                assert_eq!((envelope.update_id, envelope.partition(BUCKETS)), (*id, page.bucket));
                ((page.bucket, *id), envelope.body.len())
            })
        });
        records.collect()
    }

    /// The counters and the heads are what the disk says.
    async fn check_index(&self) {
        let found = self.spool.0.database.read(table::contents).await.unwrap();
        let status = self.spool.status();
        assert_eq!(
            (status.updates, status.letters, status.bytes),
            (found.updates, found.letters, found.bytes)
        );
        assert_eq!(self.spool.0.index.heads(), found.heads);
    }
}

fn sized(lane: i64, update_id: u64, size: usize) -> Envelope {
    Envelope { body: Bytes::from(vec![b'x'; size]), ..update(lane, update_id) }
}

#[derive(Default)]
struct Model {
    records: BTreeMap<Key, usize>,
    letters: u64,
}

impl Model {
    fn put(&mut self, envelope: &Envelope) {
        let key = (envelope.partition(BUCKETS), envelope.update_id);
        self.records.entry(key).or_insert(envelope.body.len());
    }
}

async fn play(actions: Vec<Action>) {
    let mut real = Real::open(Disk::default()).await;
    let mut model = Model::default();
    for action in actions {
        match action {
            Action::Put { lane, update_id, size } => {
                let envelope = sized(lane, update_id, size);
                real.spool.put(&envelope, None).await.unwrap();
                model.put(&envelope);
            }
            Action::Letter { size } => {
                let letter = Letter::malformed("x".to_owned(), None, None, vec![b'y'; size].into());
                real.spool.put_letter(&letter).await.unwrap();
                model.letters += 1;
            }
            Action::Drain { lane, count } => {
                let bucket = update(lane, 0).partition(BUCKETS);
                let lowest = model.records.keys().filter(|key| key.0 == bucket).take(count).copied();
                let lowest: BTreeSet<Key> = lowest.collect();
                real.spool.0.remove(bucket, lowest.iter().map(|key| key.1).collect()).await.unwrap();
                model.records.retain(|key, _| !lowest.contains(key));
            }
            Action::Restart => {
                let disk = real.disk.clone();
                real = real.reopen(disk).await;
            }
            Action::PowerFailure { after, meanwhile, seed } => {
                real = fail(real, &mut model, after, meanwhile, seed).await;
            }
        }
        assert_eq!(real.records().await, model.records);
        assert_eq!(real.spool.status().letters, model.letters);
        real.check_index().await;
    }
}

async fn fail(
    real: Real,
    model: &mut Model,
    after: usize,
    meanwhile: Vec<(i64, u64, usize)>,
    seed: u64,
) -> Real {
    real.disk.fail_after(after);
    let mut under_way = BTreeMap::new();
    let puts: Vec<_> = meanwhile
        .into_iter()
        .map(|(lane, update_id, size)| {
            let (spool, envelope) = (real.spool.clone(), sized(lane, update_id, size));
            tokio::spawn(async move { (spool.put(&envelope, None).await.is_ok(), envelope) })
        })
        .collect();
    for put in puts {
        let (acknowledged, envelope) = put.await.unwrap();
        if acknowledged {
            model.put(&envelope);
        } else {
            under_way.insert((envelope.partition(BUCKETS), envelope.update_id), envelope.body.len());
        }
    }
    let mut chance = StdRng::seed_from_u64(seed);
    let disk = real.disk.after_crash(|of| chance.random_range(0..=of));
    let real = real.reopen(disk).await;
    // What was under way may be there or not: from here on it is what the disk says.
    for (key, size) in real.records().await {
        if under_way.contains_key(&key) {
            model.records.entry(key).or_insert(size);
        }
    }
    real
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn what_was_acknowledged_survives_any_crash(actions in actions()) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let played = async { tokio::time::timeout(Duration::from_secs(60), play(actions)).await };
        // A start that never ends would be as bad as a loss (facts D3).
        runtime.block_on(played).expect("it hangs");
    }
}
