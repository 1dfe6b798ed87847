//! A bare queue in a file: what a 200 after an fsync costs at least, with the same libraries. It looks at the secret, reads the
//! update's chat, has one thread put what has gathered into a redb file, and says 200 when that is committed; without a
//! deadline, partitions, dead letters, a way to get anything out again, records, metrics or a log. A process of its own, as all
//! that is measured.

use std::path::Path;

use actix_web::rt::System;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use bytes::Bytes;
use clap::{Arg, ArgMatches, Command};
use redb::TableDefinition;
use tokio::sync::{mpsc, oneshot};

use crate::bare_ingress::chat_of;
use crate::updates::PATH;

/// Number → an update's bytes.
const UPDATES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("updates");

/// As the gateway's (`shared/src/database`): the most updates to a commit, the most that wait, and the file's cache.
const BATCH: usize = 256;
const WAITING: usize = 1024;
const CACHE: usize = 8 * 1024 * 1024;

/// What it is told, all as its environment.
const SETTINGS: [&str; 2] = ["LISTEN_ADDR", "DATA_DIR"];

pub fn command() -> Command {
    let settings = SETTINGS.map(|name| Arg::new(name).long(name).env(name).required(true));
    Command::new("bare-queue").hide(true).args(settings)
}

/// An update, and who waits for its being on disk.
struct Waiting {
    body: Bytes,
    stored: oneshot::Sender<()>,
}

pub fn serve(flags: &ArgMatches) -> std::io::Result<()> {
    let text = |name: &str| flags.get_one::<String>(name).cloned().expect("it is required");
    let folder = text("DATA_DIR");
    std::fs::create_dir_all(&folder)?;
    let file = redb::Builder::new().set_cache_size(CACHE).create(Path::new(&folder).join("bare.redb"));
    let file = file.expect("the folder takes files");
    let (way, waiting) = mpsc::channel(WAITING);
    std::thread::spawn(move || write(&file, waiting));
    let app = move || App::new().app_data(web::Data::new(way.clone())).route(PATH, web::post().to(handle));
    System::new().block_on(HttpServer::new(app).bind(text("LISTEN_ADDR"))?.run())
}

async fn handle(way: web::Data<mpsc::Sender<Waiting>>, request: HttpRequest, body: Bytes) -> HttpResponse {
    let _chat = chat_of(&request, &body);
    let (stored, storing) = oneshot::channel();
    way.send(Waiting { body, stored }).await.expect("the writer goes on");
    storing.await.expect("the disk takes it");
    HttpResponse::Ok().finish()
}

/// What gathers while a commit is under way is the next one's.
fn write(file: &redb::Database, mut waiting: mpsc::Receiver<Waiting>) {
    let (mut next, mut batch) = (0, Vec::with_capacity(BATCH));
    while waiting.blocking_recv_many(&mut batch, BATCH) > 0 {
        let writing = file.begin_write().expect("the file is well");
        let mut updates = writing.open_table(UPDATES).expect("the table is well");
        for Waiting { body, .. } in &batch {
            updates.insert(next, &body[..]).expect("the table takes it");
            next += 1;
        }
        drop(updates);
        writing.commit().expect("the disk takes it");
        for Waiting { stored, .. } in batch.drain(..) {
            stored.send(()).ok();
        }
    }
}
