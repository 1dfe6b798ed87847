use std::collections::BTreeMap;

use proptest::prelude::*;
use redb::ReadableTableMetadata;
use redb::backends::InMemoryBackend;

use super::*;

fn database() -> redb::Database {
    redb::Builder::new().create_with_backend(InMemoryBackend::new()).unwrap()
}

/// Does something at a moment, in a write of its own, and tells how many values and entries lie there then.
fn at<T>(
    database: &redb::Database,
    now_ms: u64,
    work: impl FnOnce(&mut Shelf<'_, '_>) -> T,
) -> (T, u64, u64) {
    let txn = database.begin_write().unwrap();
    let mut tables = Tables::within(&txn);
    let mut shelf = tables.shelf(now_ms).unwrap();
    let outcome = work(&mut shelf);
    let (values, index) = (shelf.values.len().unwrap(), shelf.index.len().unwrap());
    drop(tables);
    txn.commit().unwrap();
    (outcome, values, index)
}

#[test]
fn a_renewed_value_lives_on_with_one_entry() {
    let database = database();
    for now in (0..1000).step_by(10) {
        at(&database, now, |shelf| shelf.put(b"session", b"x", 100).unwrap());
    }
    assert_eq!(at(&database, 1080, |shelf| shelf.purge().unwrap()), ((), 1, 1));
    assert_eq!(at(&database, 1080, |shelf| shelf.get(b"session").unwrap()).0, Some(b"x".to_vec()));
    assert_eq!(at(&database, 1090, |shelf| shelf.get(b"session").unwrap()).0, None);
    assert_eq!(at(&database, 1100, |shelf| shelf.purge().unwrap()), ((), 0, 0));
}

#[test]
fn a_purge_is_bounded_and_keeps_up() {
    let database = database();
    at(&database, 0, |shelf| (0..1000_u32).for_each(|n| shelf.put(&n.to_be_bytes(), b"", 5).unwrap()));
    assert_eq!(at(&database, 10, |shelf| shelf.purge().unwrap()), ((), 936, 936));
    for _ in 0..15 {
        at(&database, 10, |shelf| shelf.purge().unwrap());
    }
    assert_eq!(at(&database, 10, |_| ()), ((), 0, 0));
}

#[derive(Clone, Debug)]
enum Step {
    Put(u8, u64),
    Remove(u8),
    Purge,
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..6_u8, 0..50_u64).prop_map(|(key, ttl)| Step::Put(key, ttl)),
        1 => (0..6_u8).prop_map(Step::Remove),
        2 => Just(Step::Purge),
        3 => (1..30_u64).prop_map(Step::Pass),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn it_keeps_what_a_map_keeps_and_nothing_for_ever(steps in proptest::collection::vec(step(), 1..60)) {
        let (database, mut model, mut now) = (database(), BTreeMap::new(), 0);
        for step in steps {
            let ((), values, index) = at(&database, now, |shelf| match step {
                Step::Put(key, ttl) => {
                    shelf.put(&[key], &[key, ttl as u8], ttl).unwrap();
                    model.insert(key, (now + ttl, vec![key, ttl as u8]));
                }
                Step::Remove(key) => {
                    shelf.remove(&[key]).unwrap();
                    model.remove(&key);
                }
                Step::Purge => shelf.purge().unwrap(),
                Step::Pass(ms) => now += ms,
            });
            prop_assert_eq!(values, index, "one entry for each value");
            for key in 0..6_u8 {
                let known = at(&database, now, |shelf| shelf.get(&[key]).unwrap()).0;
                let expected = model.get(&key).filter(|(expires, _)| *expires > now).map(|(_, value)| value.clone());
                prop_assert_eq!(known, expected);
            }
        }
        prop_assert_eq!(at(&database, now + 1000, |shelf| shelf.purge().unwrap()), ((), 0, 0));
    }
}
