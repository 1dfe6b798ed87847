use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Barrier};
use std::{fs, io};

use redb::backends::InMemoryBackend;
use redb::{ReadableTableMetadata, StorageBackend, TableDefinition, WriteTransaction};
use tempfile::TempDir;

use super::*;

type Database = super::Database;

const KIND: Kind = Kind { name: "test.redb", cache: 1 << 20, salvage: |_| Ok(0) };
const NUMBERS: TableDefinition<'_, u64, u64> = TableDefinition::new("numbers");

async fn put(database: &Database, number: u64) -> Result<(), DatabaseError> {
    database.write(move |txn| insert(txn, number)).await
}

fn insert(txn: &WriteTransaction, number: u64) -> Result<(), redb::Error> {
    txn.open_table(NUMBERS)?.insert(number, number)?;
    Ok(())
}

async fn count(database: &Database) -> Result<u64, DatabaseError> {
    database.read(|txn| Ok(txn.open_table(NUMBERS)?.len()?)).await
}

/// A folder with a file that holds a thousand numbers and was closed well.
async fn filled() -> TempDir {
    let folder = TempDir::new().unwrap();
    let database = Database::open(folder.path(), KIND).unwrap();
    let fill = |txn: &mut &WriteTransaction| {
        let mut numbers = txn.open_table(NUMBERS)?;
        (0..1000).try_for_each(|n| numbers.insert(n, n).map(drop))?;
        Ok(())
    };
    database.write(fill).await.unwrap();
    database.close().await;
    folder
}

#[tokio::test]
async fn what_was_written_is_there_after_opening_again() {
    let folder = filled().await;
    let database = Database::open(folder.path(), KIND).unwrap();
    assert_eq!(count(&database).await, Ok(1000));
    assert_eq!(database.set_aside(), None);
}

#[tokio::test]
async fn a_second_open_says_in_use_until_the_first_is_closed() {
    let folder = TempDir::new().unwrap();
    let database = Database::open(folder.path(), KIND).unwrap();
    assert!(matches!(Database::open(folder.path(), KIND), Err(OpenError::InUse(_))));
    let clone = database.clone();
    database.close().await;
    drop(Database::open(folder.path(), KIND).unwrap());
    assert_eq!(put(&clone, 1).await, Err(DatabaseError::Closed));
    assert!(count(&clone).await.is_err());
    clone.close().await;
}

/// Between its `fork` and its `exec` a child has a copy of each file of its parent's, close-on-exec or not.
#[test]
fn a_lock_ends_though_a_program_is_just_being_started() {
    let folder = TempDir::new().unwrap();
    let take = || open::Lock::take(&folder.path().join("lock"), Path::new("file"));
    let lock = take().unwrap();
    let copy_of_a_child = lock.0.try_clone().unwrap();
    assert!(take().is_err());
    drop(lock);
    assert!(take().is_ok());
    drop(copy_of_a_child);
}

#[tokio::test]
async fn closing_writes_what_waits_first() {
    let folder = TempDir::new().unwrap();
    let database = Database::open(folder.path(), KIND).unwrap();
    let writes: Vec<_> = (0..500)
        .map(|n| {
            let database = database.clone();
            tokio::spawn(async move { put(&database, n).await })
        })
        .collect();
    tokio::task::yield_now().await;
    database.close().await;
    let mut written = 0;
    for write in writes {
        written += u64::from(write.await.unwrap().is_ok());
    }
    assert_eq!(count(&Database::open(folder.path(), KIND).unwrap()).await, Ok(written));
}

/// One table, which all writes of a transaction share.
struct Sharing;

impl Tables for Sharing {
    type Open<'txn> = Lazy<'txn, u64, u64>;

    fn within(txn: &WriteTransaction) -> Self::Open<'_> {
        Lazy::new(txn, NUMBERS)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_write_fails_alone() {
    bad_writes_fail_alone::<Plain>(|txn, n| insert(txn, n)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_write_fails_alone_on_a_table_that_others_share() {
    bad_writes_fail_alone::<Sharing>(|numbers, n| {
        numbers.open()?.insert(n, n)?;
        Ok(())
    })
    .await;
}

async fn bad_writes_fail_alone<T: Tables>(insert: fn(&mut T::Open<'_>, u64) -> Result<(), redb::Error>) {
    let folder = TempDir::new().unwrap();
    let database = super::Database::<T>::open(folder.path(), KIND).unwrap();
    let bad = |n: u64| {
        let database = database.clone();
        tokio::spawn(async move {
            let work = move |tables: &mut T::Open<'_>| {
                insert(tables, n)?;
                match n % 3 {
                    0 => panic!("on purpose"),
                    1 => Err(redb::Error::TableDoesNotExist("of that name".to_owned())),
                    _ => Ok(()),
                }
            };
            database.write(work).await
        })
    };
    let writes: Vec<_> = (0..300).map(bad).collect();
    for (n, write) in writes.into_iter().enumerate() {
        let outcome = write.await.unwrap();
        assert_eq!(outcome.is_ok(), n % 3 == 2, "{n}: {outcome:?}");
        assert!(!matches!(outcome, Err(DatabaseError::Disk(_))), "{n}: {outcome:?}");
    }
    assert_eq!(database.read(|txn| Ok(txn.open_table(NUMBERS)?.len()?)).await, Ok(100));
    database.close().await;
    let database = Database::open(folder.path(), KIND).unwrap();
    assert_eq!((count(&database).await, database.set_aside()), (Ok(100), None));
}

#[tokio::test]
async fn what_follows_a_write_comes_once_and_without_a_waiter() {
    let folder = TempDir::new().unwrap();
    let database = Database::open(folder.path(), KIND).unwrap();
    let done = Arc::new(AtomicU32::new(0));
    for number in 0..50 {
        let done = Arc::clone(&done);
        let write = database.write_then(
            move |txn| insert(txn, number),
            move |()| {
                done.fetch_add(1, Ordering::Relaxed);
                assert!(number != 7, "on purpose");
            },
        );
        // Polled once, so that it is asked for, and dropped.
        tokio::select! { biased; _ = write => {} () = std::future::ready(()) => {} }
    }
    database.close().await;
    assert_eq!(done.load(Ordering::Relaxed), 50);
}

#[tokio::test]
async fn a_damaged_file_is_set_aside_and_a_new_one_begun() {
    type Harm = fn(&mut Vec<u8>);
    let harms: [(&str, Harm); 6] = [
        ("the first page", |file| file[..4096].fill(0xa5)),
        ("the commit slots", |file| file[64..320].fill(0x5a)),
        ("the middle", |file| {
            let middle = file.len() / 2;
            file[8192..middle].fill(0x77);
        }),
        ("half of it gone", |file| file.truncate(file.len() / 2)),
        ("all but a few bytes gone", |file| file.truncate(100)),
        ("no database", |file| *file = b"hello, I am a text file\n".repeat(1000)),
    ];
    for (what, harm) in harms {
        let folder = filled().await;
        let path = folder.path().join(KIND.name);
        let mut file = fs::read(&path).unwrap();
        harm(&mut file);
        fs::write(&path, &file).unwrap();
        let database = Database::open(folder.path(), KIND).unwrap();
        let aside = database.set_aside().unwrap_or_else(|| panic!("{what}: not noticed"));
        assert_eq!(fs::read(&aside).unwrap(), file, "{what}: kept as it was");
        assert!(aside.file_name().unwrap().to_string_lossy().starts_with("test.redb.damaged-"));
        put(&database, 1).await.unwrap();
        assert_eq!(count(&database).await, Ok(1), "{what}");
    }
}

/// The number 7 is what can be saved of any file of this kind.
const SAVING: Kind = Kind {
    salvage: |damaged| {
        damaged.to.open_table(NUMBERS)?.insert(7, 7)?;
        Ok(1)
    },
    ..KIND
};

#[tokio::test]
async fn a_start_that_was_killed_while_it_saved_is_begun_again() {
    let folder = TempDir::new().unwrap();
    let (path, new) = (folder.path().join(KIND.name), folder.path().join("test.redb.new"));
    // Killed in the midst: half a new file beside the damaged one.
    fs::write(&path, b"damaged".repeat(1000)).unwrap();
    fs::write(&new, b"half a file").unwrap();
    let database = Database::open(folder.path(), SAVING).unwrap();
    assert_eq!((count(&database).await, database.set_aside().is_some()), (Ok(1), true));
    database.close().await;
    // Killed between the two renames: the new file is whole, and nothing has the name.
    fs::rename(&path, &new).unwrap();
    let database = Database::open(folder.path(), SAVING).unwrap();
    assert_eq!((count(&database).await, database.set_aside()), (Ok(1), None));
    assert!(!new.exists());
}

#[tokio::test]
async fn an_empty_file_is_no_damage() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join(KIND.name), b"").unwrap();
    assert_eq!(Database::open(folder.path(), KIND).unwrap().set_aside(), None);
}

/// A disk that fails on cue. What it holds outlives the database on it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    memory: Arc<InMemoryBackend>,
    is_full: Arc<AtomicBool>,
    /// It has what is written, and says that it has not.
    pub denies: Arc<AtomicBool>,
    panics: Arc<AtomicBool>,
}

impl Disk {
    fn room(&self) -> io::Result<()> {
        assert!(!self.panics.swap(false, Ordering::SeqCst), "on cue");
        if self.is_full.load(Ordering::SeqCst) { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn open(&self) -> Result<redb::Database, DatabaseError> {
        redb::Builder::new().create_with_backend(self.clone()).map_err(file::disk)
    }

    pub fn database<T: Tables>(&self) -> super::Database<T> {
        let again = self.clone();
        super::Database::start(self.open().unwrap(), None, Box::new(move || again.open())).unwrap()
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        self.memory.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.memory.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.room()?;
        self.memory.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.room()?;
        if self.denies.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::Other.into());
        }
        self.memory.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.room()?;
        self.memory.write(offset, data)
    }
}

#[tokio::test]
async fn a_disk_that_was_full_is_written_again_without_a_restart() {
    let disk = Disk::default();
    let database = disk.database();
    put(&database, 1).await.unwrap();
    assert_eq!(database.failures(), 0);
    disk.is_full.store(true, Ordering::SeqCst);
    assert!(matches!(put(&database, 2).await, Err(DatabaseError::Disk(_))));
    assert!(matches!(put(&database, 3).await, Err(DatabaseError::Disk(_))));
    assert!(database.is_failing());
    assert_eq!(database.failures(), 2);
    disk.is_full.store(false, Ordering::SeqCst);
    let mut tries = 0;
    while let Err(error) = put(&database, 4).await {
        assert!(matches!(error, DatabaseError::Disk(_)) && tries < 500, "{error}");
        tries += 1;
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert!(!database.is_failing());
    assert_eq!(
        database.read(|txn| Ok(txn.open_table(NUMBERS)?.get(1)?.map(|n| n.value()))).await,
        Ok(Some(1))
    );
    assert_eq!(
        database.read(|txn| Ok(txn.open_table(NUMBERS)?.get(4)?.map(|n| n.value()))).await,
        Ok(Some(4))
    );
}

/// redb asserts here and there what a page of a sick disk need not keep.
#[tokio::test]
async fn a_panic_while_it_is_written_costs_what_was_written_and_nothing_else() {
    let disk = Disk::default();
    let database = disk.database();
    put(&database, 1).await.unwrap();
    disk.panics.store(true, Ordering::SeqCst);
    let failed = tokio::time::timeout(std::time::Duration::from_secs(20), put(&database, 2)).await.unwrap();
    assert!(matches!(failed, Err(DatabaseError::Disk(_))), "{failed:?}");
    let mut tries = 0;
    while let Err(error) = put(&database, 3).await {
        assert!(matches!(error, DatabaseError::Disk(_)) && tries < 500, "{error}");
        tries += 1;
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(
        database.read(|txn| Ok(txn.open_table(NUMBERS)?.get(1)?.map(|n| n.value()))).await,
        Ok(Some(1))
    );
}

#[tokio::test]
async fn few_read_at_a_time_and_all_of_them_in_the_end() {
    let folder = filled().await;
    let database = Database::open(folder.path(), KIND).unwrap();
    let (reading, most) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let as_many = Arc::new(Barrier::new(READS));
    let reads = (0..4 * READS).map(|_| {
        let (reading, most, as_many) = (reading.clone(), most.clone(), as_many.clone());
        database.read(move |_| {
            most.fetch_max(reading.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            as_many.wait();
            reading.fetch_sub(1, Ordering::SeqCst);
            Ok(())
        })
    });
    assert!(futures_util::future::join_all(reads).await.into_iter().all(|read| read.is_ok()));
    assert_eq!(most.load(Ordering::SeqCst) as usize, READS, "at the same time");
}
