//! The embedded queue against a model of it: whatever happens in whatever order, what was published and
//! not acked is handed out, in order, and once per claim.

use proptest::prelude::*;
use shared::one_file::Database;
use shared::queue::embedded::{Consumer, Publisher, open};
use shared::queue::{Claim, Delivery, partition_of};
use tempfile::TempDir;

use crate::backend::{envelope, id, next};

/// Of each of two partitions.
const LANES: [i64; 2] = [1, 2];

#[derive(Clone, Copy, Debug)]
enum Step {
    Publish,
    /// To the partition beside it.
    PublishOther,
    /// Takes the next update, if one is to come.
    Take,
    /// Acks one of those in hand, if there are any.
    Ack(prop::sample::Index),
    /// Gives the partition back and claims it again.
    Claim(u16),
    /// Closes the file and opens it again.
    Reopen,
}

fn own() -> u16 {
    partition_of(LANES[0], 2)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => Just(Step::Publish),
        3 => Just(Step::PublishOther),
        6 => Just(Step::Take),
        4 => any::<prop::sample::Index>().prop_map(Step::Ack),
        1 => (1..5_u16).prop_map(Step::Claim),
        1 => Just(Step::Reopen),
    ]
}

struct World {
    folder: TempDir,
    database: Database,
    publisher: Publisher,
    consumer: Consumer,
    /// None only between two claims.
    claim: Option<Claim>,
    prefetch: usize,
    in_hand: Vec<Delivery>,
    /// Published and not acked, in order, and whether it was handed out by this claim.
    model: Vec<(u64, bool)>,
    published: u64,
    others: u64,
}

impl World {
    async fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let (database, publisher, consumer, claim) = Self::open(&folder, 3).await;
        let (in_hand, model) = (Vec::new(), Vec::new());
        Self {
            folder,
            database,
            publisher,
            consumer,
            claim: Some(claim),
            prefetch: 3,
            in_hand,
            model,
            published: 0,
            others: 0,
        }
    }

    async fn open(folder: &TempDir, prefetch: u16) -> (Database, Publisher, Consumer, Claim) {
        let database = Database::open(folder.path(), shared::one_file::FILE).unwrap();
        let (publisher, consumer) = open(&database, 2).await.unwrap();
        let claim = consumer.claim(own(), prefetch).await.unwrap();
        (database, publisher, consumer, claim)
    }

    async fn step(&mut self, step: Step) {
        match step {
            Step::Publish => {
                self.published += 1;
                self.publisher.publish(&envelope(self.published, LANES[0])).await.unwrap();
                self.model.push((self.published, false));
            }
            Step::PublishOther => {
                self.others += 1;
                self.publisher.publish(&envelope(1_000_000 + self.others, LANES[1])).await.unwrap();
            }
            Step::Take => {
                let expected = self.model.iter_mut().find(|(_, taken)| !taken);
                if let Some((expected, taken)) = expected.filter(|_| self.in_hand.len() < self.prefetch) {
                    let delivery = next(self.claim.as_mut().unwrap()).await;
                    assert_eq!(id(&delivery), *expected);
                    *taken = true;
                    self.in_hand.push(delivery);
                }
            }
            Step::Ack(index) if !self.in_hand.is_empty() => {
                let delivery = self.in_hand.remove(index.index(self.in_hand.len()));
                self.model.retain(|(update_id, _)| *update_id != id(&delivery));
                if id(&delivery).is_multiple_of(2) {
                    delivery.receipt.ack_soon().await.unwrap();
                } else {
                    delivery.receipt.ack().await.unwrap();
                }
            }
            Step::Ack(_) => {}
            Step::Claim(prefetch) => {
                let taken = self.consumer.claim(own(), 1).await;
                assert!(taken.is_err(), "it is held");
                self.prefetch = usize::from(prefetch);
                self.claim = None;
                self.claim = Some(self.consumer.claim(own(), prefetch).await.unwrap());
                self.forget();
            }
            Step::Reopen => {
                self.database.close().await;
                let (database, publisher, consumer, claim) =
                    Self::open(&self.folder, self.prefetch as u16).await;
                (self.database, self.publisher, self.consumer) = (database, publisher, consumer);
                self.claim = Some(claim);
                self.forget();
            }
        }
        let waiting = [self.model.len() as u64, self.others];
        assert_eq!(LANES.map(|lane| self.consumer.waiting(partition_of(lane, 2)).unwrap()), waiting);
    }

    fn forget(&mut self) {
        self.in_hand.clear();
        self.model.iter_mut().for_each(|(_, taken)| *taken = false);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn the_queue_behaves_as_its_model(steps in proptest::collection::vec(step(), 1..80)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let mut world = World::new().await;
            for step in steps {
                world.step(step).await;
            }
        });
    }
}
