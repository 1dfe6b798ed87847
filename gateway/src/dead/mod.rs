//! `tgw dead`: what failed, and what becomes of it (contract 8).
//!
//! Letters lie on RabbitMQ or in the embedded queue's file; `source` is the one door to both. Each command reads all
//! letters' heads, chooses by `filter`, and gives back what it did not take.

mod archive;
mod beside;
mod board;
mod carried;
mod command;
mod discard;
mod embedded;
mod entry;
mod filter;
mod keeper;
mod list;
mod looker;
mod progress;
mod rabbit;
mod replay;
mod serving;
mod show;
mod socket;
mod source;
mod spill;
mod store;
mod taking;

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::time::Duration;

use clap::ArgMatches;
use indicatif::ProgressBar;
use shared::program::{Failure, Stopped};
use shared::settings::{Problems, Values};
use shared::store::redis;
use tokio_util::sync::CancellationToken;

use crate::output::{Output, agrees, note, say};
use archive::{Archive, Exported};
use board::Purpose;
use entry::Entry;
use filter::Filter;
use source::Source;

pub use command::command;
pub use keeper::{Keeper, Queue};
pub use socket::Socket;

/// A tool that is asked may end before it has told all, and then the next one is asked.
const LOOKS: usize = 20;

const AGAIN: Duration = Duration::from_millis(200);

pub async fn dead(values: Values, dead: &ArgMatches, stop: CancellationToken) -> Result<Stopped, Failure> {
    let Some((name, flags)) = dead.subcommand() else { return Ok(Stopped::Clean) };
    let mut call = Call { values, flags, stop };
    match name {
        "list" => call.list().await,
        "show" => call.show().await,
        "replay" => call.replay().await,
        "discard" => call.discard().await,
        "export" => call.export().await,
        _ => call.import().await,
    }
}

/// One call of a command.
struct Call<'a> {
    values: Values,
    flags: &'a ArgMatches,
    stop: CancellationToken,
}

impl Call<'_> {
    async fn open(&self, purpose: Purpose) -> Result<Source, Failure> {
        let opening = Source::open(&self.values, self.flags.get_flag("wait"), purpose);
        match self.stop.run_until_cancelled(opening).await {
            Some(opened) => opened,
            None => Err(Failure::Failed("stopped before the dead letters could be had".to_owned())),
        }
    }

    async fn read(
        &self,
        source: &mut Source,
        keep: impl Fn(&Entry) -> bool,
    ) -> Result<Option<Vec<Arc<Entry>>>, Failure> {
        match self.stop.run_until_cancelled(source.read(keep)).await {
            Some(read) => read,
            None => Err(Failure::Failed("stopped before all dead letters were read".to_owned())),
        }
    }

    /// `work` with all letters in hand, which go back however it ends.
    async fn with_letters<T>(
        &self,
        keep: impl Fn(&Entry) -> bool,
        work: impl AsyncFnOnce(&mut Source, Vec<Arc<Entry>>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let mut source = self.open(Purpose::Change).await?;
        let worked = match self.read(&mut source, keep).await {
            Ok(entries) => work(&mut source, entries.unwrap_or_default()).await,
            Err(failure) => Err(failure),
        };
        let returned = source.give_back().await;
        let worked = worked?;
        returned.map(|()| worked)
    }

    /// All letters as they are now, and where the bytes of those can be read that `keep` wants. Nobody else has to wait
    /// for what is done with them.
    async fn looked_at(&self, keep: impl Fn(&Entry) -> bool) -> Result<(Source, Vec<Arc<Entry>>), Failure> {
        for _ in 0..LOOKS {
            let mut source = self.open(Purpose::Look).await?;
            let read = self.read(&mut source, &keep).await;
            if let Source::RabbitMq(_) = source {
                let returned = source.give_back().await;
                return read.and_then(|entries| returned.map(|()| (source, entries.unwrap_or_default())));
            }
            match read? {
                Some(entries) => return Ok((source, entries)),
                None => tokio::time::sleep(AGAIN).await,
            }
        }
        Err(Failure::Failed(
            "the letters are in other tools' hands one after the other: ask again".to_owned(),
        ))
    }

    async fn list(&mut self) -> Result<Stopped, Failure> {
        let filter = Filter::read(self.flags)?;
        let output = Output::of(self.flags);
        let watch = self.flags.get_one::<u64>("watch").copied().map(Duration::from_secs);
        loop {
            let looked = self.looked_at(|_| false).await;
            if looked.is_err() && watch.is_some() && self.stop.is_cancelled() {
                // Told to end while it waited for its turn: as good as in the pause.
                return Ok(Stopped::Clean);
            }
            let (mut source, entries) = looked?;
            source.give_back().await?;
            let entries = filter.choose(entries);
            if watch.is_some() && output == Output::Words && std::io::stdout().is_terminal() {
                // Clears the screen.
                say("\u{1b}[2J\u{1b}[H")?;
            }
            list::print(&entries, output)?;
            let Some(pause) = watch else { return Ok(Stopped::Clean) };
            if self.stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                return Ok(Stopped::Clean);
            }
        }
    }

    async fn show(&mut self) -> Result<Stopped, Failure> {
        let ids: Vec<String> = self.flags.get_many("ids").into_iter().flatten().cloned().collect();
        let how = show::How { output: Output::of(self.flags), text: self.flags.get_flag("show-text") };
        let filter = Filter::of_ids(ids.clone());
        let (mut source, entries) = self.looked_at(|entry| filter.fits(entry)).await?;
        let mut found = Vec::new();
        for entry in filter.choose(entries) {
            if let Some(letter) = source.letter(&entry).await? {
                found.push((entry, letter));
            }
        }
        source.give_back().await?;
        show::print(&found, how)?;
        let missing: Vec<_> =
            ids.iter().filter(|id| !found.iter().any(|(entry, _)| entry.id == **id)).collect();
        match (missing.first(), found.is_empty()) {
            (None, _) => Ok(Stopped::Clean),
            (Some(id), true) => Err(Failure::Failed(format!("there is no dead letter {id}"))),
            (Some(_), false) => {
                missing.iter().for_each(|id| note(&format!("there is no dead letter {id}")));
                Ok(Stopped::Partly)
            }
        }
    }

    async fn replay(&mut self) -> Result<Stopped, Failure> {
        let filter = self.chosen("replay")?;
        let plan = replay::Plan::read(self.flags);
        let (stop, values) = (&self.stop, &self.values);
        // A wrong address is told before anything is taken.
        redis::Settings::read(values).map_err(Problems::from)?;
        if plan.dry_run {
            let (mut source, entries) = self.looked_at(|_| false).await?;
            source.give_back().await?;
            return replay::dry_run(&filter.choose(entries), &plan);
        }
        let replaying = self.with_letters(
            |entry| filter.fits(entry),
            async |source, entries| replay::replay(source, values, filter.choose(entries), &plan, stop).await,
        );
        replaying.await
    }

    async fn discard(&mut self) -> Result<Stopped, Failure> {
        let filter = self.chosen("discard")?;
        let (sure, output, stop) = (self.flags.get_flag("yes"), Output::of(self.flags), &self.stop);
        let discarding = self.with_letters(
            |_| false,
            async |source, entries| {
                let entries = filter.choose(entries);
                let question = format!("discard {} letters for ever?", entries.len());
                if !entries.is_empty() && !sure && !agrees(&question, stop).await? {
                    return Ok(None);
                }
                let bar = progress::bar(entries.len(), output);
                let removed = discard::discard(source, &entries, stop, |count| bar.inc(count as u64)).await;
                bar.finish_and_clear();
                Ok(Some((removed?, entries.len())))
            },
        );
        discard::told(discarding.await?, output)
    }

    async fn export(&mut self) -> Result<Stopped, Failure> {
        let filter = Filter::read(self.flags)?;
        let name = self.flags.get_one::<String>("out").map(String::as_str);
        let (mut source, entries) = self.looked_at(|entry| filter.fits(entry)).await?;
        let entries = filter.choose(entries);
        // Not among the lines of letters on a screen.
        let watched = name.is_some() || !std::io::stdout().is_terminal();
        let bar = if watched {
            progress::bar(entries.len(), Output::of(self.flags))
        } else {
            ProgressBar::hidden()
        };
        let exported = match archive::create(name) {
            Ok(out) => archive::export(&mut source, &entries, out, &self.stop, || bar.inc(1)).await,
            Err(failure) => Err(failure),
        };
        bar.finish_and_clear();
        source.give_back().await?;
        let Exported { written, left } = exported?;
        if left == 0 {
            note(&format!("exported: {written}"));
            return Ok(Stopped::Clean);
        }
        note(&format!("exported: {written} of {}", entries.len()));
        note("stopped: told to; the others are left out");
        Ok(if written > 0 { Stopped::Partly } else { Stopped::TimeRanOut })
    }

    async fn import(&mut self) -> Result<Stopped, Failure> {
        let (file, output) = (self.flags.get_one::<String>("file"), Output::of(self.flags));
        let archive = Archive::open(file.map_or("-", String::as_str), &self.stop).await?;
        let mut source = self.open(Purpose::Change).await?;
        let bar = progress::bar(archive.letters_in_it(), output);
        let imported = archive.import(&mut source, &self.stop, || bar.inc(1)).await;
        bar.finish_and_clear();
        source.give_back().await?;
        let (imported, all) = imported?;
        match output {
            Output::Json => say(&serde_json::json!({ "imported": imported, "of": all }).to_string())?,
            Output::Words => say(&format!("imported: {imported} of {all}"))?,
        }
        if imported == all {
            return Ok(Stopped::Clean);
        }
        note(&format!(
            "stopped: told to, with {imported} of {all} imported; the same command again makes no second ones"
        ));
        Ok(if imported > 0 { Stopped::Partly } else { Stopped::TimeRanOut })
    }

    /// The filter of a command that changes something: nobody shall hit all by leaving it out.
    fn chosen(&self, verb: &str) -> Result<Filter, Failure> {
        if !self.flags.get_flag("all") && !Filter::is_given(self.flags) {
            return Err(Failure::Refused(format!(
                "say which letters to {verb} (such as --reason, --chat, --id), or --all"
            )));
        }
        Filter::read(self.flags)
    }
}
