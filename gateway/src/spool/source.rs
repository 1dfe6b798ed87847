//! Where a spool is read from: the ingress that has it open, its file, or the bytes of a file that is damaged.

use std::path::{Path, PathBuf};

use shared::database::{Look, Unreadable};
use shared::program::Failure;
use shared::settings::Values;
use shared::spool::inspect::{self, Content, Stored, Wanted};
use shared::window::{Answer, Client, Question, Unasked};

/// Records that are asked for at once; a page is bounded by bytes too.
const PAGE: usize = 1024;

pub struct Source {
    pub path: PathBuf,
    place: Place,
}

enum Place {
    There(Client),
    Here(Box<Look>),
    /// redb can't open it.
    Damaged(String),
    /// Nothing was ever spooled here.
    Nothing,
}

/// What reading came to.
pub struct Read {
    /// Why the file had to be looked through byte by byte.
    pub damaged: Option<String>,
}

/// A record, and where it is in the file if that is known by now.
pub struct Record {
    pub stored: Stored,
    pub offset: Option<u64>,
}

impl Source {
    pub async fn open(values: &Values) -> Result<Self, Failure> {
        let folder = Path::new(values.text("DATA_DIR").unwrap_or_default());
        let path = folder.join(shared::spool::FILE.name);
        let place = match Client::connect(folder).await {
            Ok(client) => Place::There(client),
            Err(Unasked::Failed(words)) => return Err(Failure::Failed(words)),
            Err(Unasked::NotRunning) if !folder.is_dir() => {
                return Err(Failure::Refused(format!("DATA_DIR {folder:?} is no folder")));
            }
            Err(Unasked::NotRunning) if !path.exists() => Place::Nothing,
            Err(Unasked::NotRunning) => match opened(&path).await? {
                Ok(file) => Place::Here(Box::new(file)),
                Err(words) => Place::Damaged(words),
            },
        };
        Ok(Self { path, place })
    }

    /// Whether there has ever been one.
    pub fn is_there(&self) -> bool {
        !matches!(self.place, Place::Nothing)
    }

    /// Shows `look` every record, in the order of the file. Where the file turns out damaged underneath its records it
    /// is begun again by its bytes: `restart` is called before that.
    pub async fn read<T>(
        &mut self,
        bodies: bool,
        seen: &mut T,
        look: impl Fn(&mut T, Record) -> Result<(), Failure>,
        restart: impl Fn(&mut T),
    ) -> Result<Read, Failure> {
        let mut after = None;
        loop {
            let page = match self.page(Wanted { after, limit: PAGE, bodies }).await? {
                Ok(page) => page,
                Err(words) => {
                    restart(seen);
                    self.scan(bodies, seen, look)?;
                    return Ok(Read { damaged: Some(words) });
                }
            };
            let Some(last) = page.last() else { break };
            after = Some(last.place);
            for stored in page {
                look(seen, Record { stored, offset: None })?;
            }
        }
        self.check_unchanged()?;
        Ok(Read { damaged: None })
    }

    /// The next records, or why only the bytes can be read.
    async fn page(&mut self, wanted: Wanted) -> Result<Result<Vec<Stored>, String>, Failure> {
        match &mut self.place {
            Place::There(client) => {
                match client.ask(&Question::Spool(wanted)).await.map_err(Failure::Failed)? {
                    Answer::Spool(page) => Ok(Ok(page)),
                    _ => Err(Failure::Failed("the running process answers what nobody asked".to_owned())),
                }
            }
            Place::Here(file) => match inspect::page_of(file, wanted) {
                Ok(page) => Ok(Ok(page)),
                Err(Unreadable::Damaged(words)) => {
                    self.check_unchanged()?;
                    Ok(Err(words))
                }
                Err(Unreadable::NotRead(error)) => Err(unread(&self.path, &error)),
            },
            Place::Damaged(words) => Ok(Err(words.clone())),
            Place::Nothing => Ok(Ok(Vec::new())),
        }
    }

    fn scan<T>(
        &self,
        bodies: bool,
        seen: &mut T,
        look: impl Fn(&mut T, Record) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut failed = None;
        inspect::scan_file(&self.path, bodies, |found| {
            if failed.is_none() {
                let record = Record { stored: found.stored, offset: Some(found.offset) };
                failed = look(seen, record).err();
            }
        });
        failed.map_or(Ok(()), Err)
    }

    /// Where in the file a damaged record is.
    pub fn offset(&self, record: &Record) -> Option<u64> {
        match &record.stored.content {
            Content::Damaged(bytes) => record.offset.or_else(|| inspect::find(&self.path, bytes)),
            _ => record.offset,
        }
    }

    /// An ingress that was started meanwhile has written it: what was read may be torn.
    fn check_unchanged(&self) -> Result<(), Failure> {
        match &self.place {
            Place::Here(file) if !file.is_as_it_was() => Err(Failure::Failed(
                "somebody has written the spool meanwhile: an ingress was started, ask again".to_owned(),
            )),
            _ => Ok(()),
        }
    }
}

/// The file, or why it is damaged.
async fn opened(path: &Path) -> Result<Result<Look, String>, Failure> {
    let name = path.to_path_buf();
    let opening = tokio::task::spawn_blocking(move || Look::open(&name)).await;
    match opening.map_err(|error| Failure::Failed(error.to_string()))? {
        Ok(file) => Ok(Ok(file)),
        Err(Unreadable::Damaged(words)) => Ok(Err(words)),
        Err(Unreadable::NotRead(error)) => Err(unread(path, &error)),
    }
}

fn unread(path: &Path, error: &std::io::Error) -> Failure {
    Failure::Failed(format!("{} can't be read: {error}", path.display()))
}
