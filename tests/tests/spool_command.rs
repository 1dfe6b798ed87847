//! `tgw spool`: an operator sees what waits on an ingress's disk, beside a running ingress and without one, and nothing
//! is changed by that.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use harness::{Process, ProcessBuilder, Update, World};
use serde_json::{Value, json};

/// Exit code, stdout, stderr.
type Ended = (i32, String, String);

async fn ended(command: ProcessBuilder) -> Ended {
    let mut process = command.start();
    let code = process.wait_exit().await;
    (code, process.stdout(), process.stderr())
}

async fn spool(ingress: &Process, arguments: &[&str]) -> Ended {
    let command = arguments.iter().fold(Process::of("tgw").arg("spool"), |it, argument| it.arg(argument));
    ended(command.env("DATA_DIR", ingress.data_dir().display())).await
}

async fn json(ingress: &Process, arguments: &[&str]) -> (i32, Value) {
    let (code, stdout, stderr) = spool(ingress, &[arguments, &["--json"]].concat()).await;
    (code, serde_json::from_str(&stdout).unwrap_or_else(|_| panic!("{stdout}{stderr}")))
}

fn file(ingress: &Process) -> PathBuf {
    ingress.data_dir().join("spool.redb")
}

/// An ingress whose broker is away.
async fn world() -> World {
    World::distributed().without_broker().without_worker().await
}

/// Three updates and something that is none; the updates' ids.
async fn filled(world: &World) -> Vec<i64> {
    let updates: Vec<Update> = ["one", "two", "three"].map(|text| Update::text(world.user(), text)).into();
    for update in &updates {
        world.accept(update).await;
    }
    assert_eq!(world.post_bytes(b"no update".to_vec()).await.status, 200);
    updates.iter().map(Update::update_id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_seen_beside_a_running_ingress_and_after_its_death() {
    let mut world = world().await;
    let ids = filled(&world).await;
    let socket = world.ingress.data_dir().join("tgw-window.sock");
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    for is_running in [true, false] {
        if !is_running {
            world.ingress.kill9();
        }
        let before = std::fs::read(file(&world.ingress)).unwrap();
        let (code, list) = json(&world.ingress, &["list"]).await;
        assert_eq!(code, 0, "{list}");
        let rows = list.as_array().unwrap();
        assert_eq!(rows.len(), 4, "{list}");
        assert_eq!(
            rows.iter().map(|row| row["update_id"].as_i64()).collect::<Vec<_>>()[..3],
            [Some(ids[0]), Some(ids[1]), Some(ids[2])]
        );
        assert_eq!((&rows[0]["what"], &rows[0]["kind"]), (&json!("update"), &json!("message")));
        assert_eq!((&rows[3]["what"], &rows[3]["reason"]), (&json!("letter"), &json!("malformed")));
        let (code, stdout, _) = spool(&world.ingress, &["list", "--limit", "2"]).await;
        assert_eq!((code, stdout.lines().count()), (0, 3), "a head and two: {stdout}");
        assert!(stdout.starts_with("UPDATE") && !stdout.contains("three"), "{stdout}");
        let (code, stdout, stderr) = spool(&world.ingress, &["verify"]).await;
        assert_eq!((code, stderr.as_str()), (0, ""));
        assert!(stdout.starts_with("sound: 3 updates, 1 letters; "), "{stdout}");
        exported(&world, &ids).await;
        assert_eq!(std::fs::read(file(&world.ingress)).unwrap(), before, "nothing was changed");
    }
    // It starts as if nobody had looked.
    world.ingress.start_again();
    world.ingress.wait_ready().await;
    assert_eq!(json(&world.ingress, &["list"]).await.1.as_array().unwrap().len(), 4);
}

/// An export holds what came, to the byte.
async fn exported(world: &World, ids: &[i64]) {
    let (code, stdout, stderr) = spool(&world.ingress, &["export"]).await;
    assert_eq!((code, stderr.as_str()), (0, "exported: 4\n"));
    let mut lines: Vec<Value> = stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    lines.sort_by_key(|line| line["update_id"].as_i64().unwrap_or(i64::MAX));
    assert_eq!(lines[1]["update_id"], ids[1]);
    // "no update"
    assert_eq!(
        (&lines[3]["reason"], &lines[3]["update_base64"]),
        (&json!("malformed"), &json!("bm8gdXBkYXRl"))
    );
    let out = tempfile::tempdir().unwrap();
    let name = out.path().join("spool.jsonl");
    let name = name.to_str().unwrap();
    let (code, told) = json(&world.ingress, &["export", "--out", name]).await;
    assert_eq!((code, told), (0, json!({"exported": 4, "damaged": 0})));
    assert_eq!(std::fs::read_to_string(name).unwrap(), stdout);
    assert_eq!(std::fs::metadata(name).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(spool(&world.ingress, &["export", "--out", name]).await.0, 2, "it is there already");
}

/// Where in the file's bytes an update's text stands.
fn place_of(bytes: &[u8], text: &str) -> usize {
    let quoted = format!("\"{text}\"");
    bytes.windows(quoted.len()).position(|window| window == quoted.as_bytes()).expect("it is in the file")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_record_is_named_with_its_place() {
    for dies in [false, true] {
        let mut world = world().await;
        let ids = filled(&world).await;
        if dies {
            world.ingress.kill9();
        } else {
            world.ingress.term();
            world.ingress.wait_exit().await;
        }
        let mut bytes = std::fs::read(file(&world.ingress)).unwrap();
        let at = place_of(&bytes, "two");
        bytes[at + 2] ^= 1;
        std::fs::write(file(&world.ingress), &bytes).unwrap();
        let (code, told) = json(&world.ingress, &["verify"]).await;
        assert_eq!(
            (code, &told["sound"], &told["first_damaged"]["update"]),
            (1, &json!(false), &json!(ids[1]))
        );
        let offset = told["first_damaged"]["offset"].as_u64().unwrap();
        assert!(offset < at as u64 && at as u64 - offset < 2000, "{told}: {at}");
        let (code, stdout, stderr) = spool(&world.ingress, &["verify"]).await;
        assert_eq!(code, 1);
        assert!(stdout.starts_with("sound: 2 updates, 1 letters; "), "{stdout}");
        let first = format!("error: damaged records: 1; the first is update {}, at byte {offset}", ids[1]);
        assert_eq!(stderr.lines().next(), Some(first.as_str()));
        let (code, stdout, stderr) = spool(&world.ingress, &["export"]).await;
        assert_eq!((code, stdout.lines().count()), (3, 3), "{stderr}");
        assert!(stderr.contains("damaged, and left out: 1"), "{stderr}");
        assert_eq!(std::fs::read(file(&world.ingress)).unwrap(), bytes, "nothing was mended");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_damaged_file_all_is_shown_that_its_bytes_hold() {
    let mut world = world().await;
    filled(&world).await;
    world.ingress.term();
    world.ingress.wait_exit().await;
    let mut bytes = std::fs::read(file(&world.ingress)).unwrap();
    bytes[..320].fill(0x5a);
    std::fs::write(file(&world.ingress), &bytes).unwrap();
    let (code, list) = json(&world.ingress, &["list"]).await;
    assert_eq!(code, 3);
    assert!(list.as_array().unwrap().len() >= 4, "{list}");
    let (code, told) = json(&world.ingress, &["verify"]).await;
    assert_eq!((code, &told["sound"], told["file"].is_string()), (1, &json!(false), true), "{told}");
    let (code, _, stderr) = spool(&world.ingress, &["verify"]).await;
    assert!(code == 1 && stderr.contains("an ingress that starts here keeps it aside"), "{stderr}");
    assert_eq!(std::fs::read(file(&world.ingress)).unwrap(), bytes);
}

#[tokio::test]
async fn where_there_is_no_spool_that_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let call = async |arguments: &[&str], folder: String| {
        let command = arguments.iter().fold(Process::of("tgw").arg("spool"), |it, argument| it.arg(argument));
        ended(command.env("DATA_DIR", folder)).await
    };
    let here = folder.path().display().to_string();
    let (code, stdout, stderr) = call(&["list"], here.clone()).await;
    assert_eq!((code, stdout.as_str()), (0, "nothing waits in the spool\n"));
    assert!(stderr.starts_with("there is no spool at "), "{stderr}");
    assert_eq!(call(&["list", "--json"], here.clone()).await.1, "[]\n");
    assert_eq!(call(&["verify"], here.clone()).await.1, "sound: 0 updates, 0 letters; 0 bytes in all\n");
    let (code, stdout, stderr) = call(&["list"], format!("{here}/nothing")).await;
    assert_eq!((code, stdout.as_str()), (2, ""));
    assert!(stderr.contains("is no folder"), "{stderr}");
    for wrong in [&["list", "--limit", "few"][..], &["verify", "--out", "x"], &[]] {
        assert_eq!(call(wrong, here.clone()).await.0, 2, "{wrong:?}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing was made");
}
