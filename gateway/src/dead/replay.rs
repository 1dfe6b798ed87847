//! Replays: the chosen letters back into their queues, in the order of their updates, no faster than asked.
//!
//! Each is published under its next replay's number and confirmed, and only then removed; so a replay that is broken off anywhere
//! can be repeated, and what was published twice runs once (contract 8).

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use clap::ArgMatches;
use serde_json::json;
use shared::program::{Failure, Stopped};
use shared::queue::Reason;
use shared::settings::Values;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::entry::Entry;
use super::progress::bar;
use super::source::Source;
use crate::output::{Output, note, say};

/// Letters between two looks at Ctrl-C and the clock: under a second's worth.
const BATCH: usize = 4096;

/// With a rate, batches are as large as what may go in this time.
const BEAT: f64 = 0.1;

/// No faster than so many letters a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate(f64);

impl Rate {
    /// `50/s`, `20/m`, `100/h`; a number alone is by the second.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (number, unit) = text.split_once('/').unwrap_or((text, "s"));
        let seconds = match unit {
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return Err("must be a number by the second, minute or hour: 50/s, 20/m, 100/h".to_owned()),
        };
        match number.trim().parse::<f64>() {
            Ok(number) if number.is_finite() && number > 0.0 => Ok(Self(number / seconds)),
            _ => Err("must be a number above 0, such as 50/s".to_owned()),
        }
    }

    fn batch(self) -> usize {
        ((self.0 * BEAT) as usize).clamp(1, BATCH)
    }

    fn time_for(self, letters: usize) -> Duration {
        Duration::from_secs_f64((letters as f64 / self.0).min(1e9))
    }
}

/// What the caller asked for.
pub struct Plan {
    pub dry_run: bool,
    rate: Option<Rate>,
    by: String,
    output: Output,
}

impl Plan {
    pub fn read(flags: &ArgMatches) -> Self {
        Self {
            dry_run: flags.get_flag("dry-run"),
            rate: flags.get_one::<Rate>("rate").copied(),
            by: flags.get_one::<String>("by").cloned().unwrap_or_else(whoever),
            output: Output::of(flags),
        }
    }
}

/// Who runs this, as `user@host`.
fn whoever() -> String {
    let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let user = variable("SUDO_USER").or_else(|| variable("USER")).or_else(|| variable("LOGNAME"));
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let host = host.map(|host| host.trim().to_owned()).or_else(|| variable("HOSTNAME"));
    format!(
        "{}@{}",
        user.unwrap_or_else(|| "somebody".to_owned()),
        host.unwrap_or_else(|| "somewhere".to_owned())
    )
}

#[derive(Default)]
struct Sum {
    chosen: usize,
    replayed: usize,
    /// Malformed ones: there is no update in them.
    refused: usize,
    /// Somebody took them away meanwhile.
    gone: usize,
    stopped: Option<String>,
}

impl Sum {
    fn told(self, output: Output, verb: &str, reasons: &BTreeMap<&str, usize>) -> Result<Stopped, Failure> {
        let Self { chosen, replayed, refused, gone, stopped } = self;
        let left = chosen - replayed - refused - gone;
        if output == Output::Json {
            let sum = json!({
                "chosen": chosen, verb: replayed, "refused": refused, "gone": gone, "left": left,
                "by_reason": reasons, "stopped_by": stopped,
            });
            say(&sum.to_string())?;
        } else {
            let verb = verb.replace('_', " ");
            say(&format!("{verb}: {replayed} of {chosen}"))?;
            for (reason, count) in reasons {
                say(&format!("  {reason}: {count}"))?;
            }
            let tell = |count: usize, words: &str| {
                if count > 0 { say(&format!("{words}: {count}")) } else { Ok(()) }
            };
            tell(refused, "refused, since there is no update in a malformed letter")?;
            tell(gone, "taken away by somebody else meanwhile")?;
            tell(left, "left where they are")?;
        }
        if let Some(why) = &stopped {
            note(&format!("stopped: {why}; the same command again goes on, and repeats nothing"));
        }
        match (replayed, chosen) {
            _ if replayed == chosen => Ok(Stopped::Clean),
            (0, _) if stopped.is_some() => Ok(Stopped::TimeRanOut),
            _ => Ok(Stopped::Partly),
        }
    }
}

fn by_reason(entries: &[Arc<Entry>]) -> BTreeMap<&'static str, usize> {
    let mut reasons = BTreeMap::new();
    entries.iter().for_each(|entry| *reasons.entry(entry.letter.reason.as_str()).or_default() += 1);
    reasons
}

fn can_go(entry: &Entry) -> bool {
    entry.letter.reason != Reason::Malformed && entry.letter.update_id.is_some()
}

pub fn dry_run(entries: &[Arc<Entry>], plan: &Plan) -> Result<Stopped, Failure> {
    let replayed = entries.iter().filter(|entry| can_go(entry)).count();
    let sum = Sum { chosen: entries.len(), replayed, refused: entries.len() - replayed, ..Sum::default() };
    sum.told(plan.output, "would_replay", &by_reason(entries))
}

pub async fn replay(
    source: &mut Source,
    values: &Values,
    entries: Vec<Arc<Entry>>,
    plan: &Plan,
    stop: &CancellationToken,
) -> Result<Stopped, Failure> {
    let reasons = by_reason(&entries);
    let mut sum = Sum { chosen: entries.len(), ..Sum::default() };
    let mut waiting: VecDeque<Arc<Entry>> = entries.into_iter().filter(|entry| can_go(entry)).collect();
    sum.refused = sum.chosen - waiting.len();
    source.prepare_replay(values).await?;
    let bar = bar(waiting.len(), plan.output);
    let mut next = Instant::now();
    while !waiting.is_empty() && sum.stopped.is_none() {
        if stop.run_until_cancelled(sleep_until(next)).await.is_none() {
            sum.stopped = Some("told to".to_owned());
            break;
        }
        if source.is_old() {
            let taken = read_again(source, waiting).await?;
            (waiting, sum.gone) = (taken.0, sum.gone + taken.1);
        }
        let size = plan.rate.map_or(BATCH, Rate::batch).min(waiting.len());
        let batch: Vec<Arc<Entry>> = waiting.drain(..size).collect();
        // Behind its time it does not hurry to make up for it.
        next = plan.rate.map_or(next, |rate| next.max(Instant::now()) + rate.time_for(size));
        let (done, stopped) = source.replay(&batch, &plan.by).await?;
        (sum.replayed, sum.stopped) = (sum.replayed + done, stopped);
        bar.inc(done as u64);
    }
    bar.finish_and_clear();
    sum.told(plan.output, "replayed", &reasons)
}

/// The same letters in hand for another round, and how many are no longer there.
async fn read_again(
    source: &mut Source,
    waiting: VecDeque<Arc<Entry>>,
) -> Result<(VecDeque<Arc<Entry>>, usize), Failure> {
    let ids: HashSet<String> = waiting.iter().map(|entry| entry.id.clone()).collect();
    drop(waiting);
    let mut entries = source.read_again(|entry| ids.contains(&entry.id)).await?;
    entries.retain(|entry| ids.contains(&entry.id));
    entries.sort_by(|one, other| one.order().cmp(&other.order()));
    let gone = ids.len() - entries.len();
    Ok((entries.into(), gone))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_number_by_a_time() {
        assert_eq!(["50/s", "50", "30/m"].map(Rate::parse), [Ok(Rate(50.0)), Ok(Rate(50.0)), Ok(Rate(0.5))]);
        for wrong in ["", "0/s", "-1", "fast", "5/d", "inf"] {
            assert!(Rate::parse(wrong).is_err(), "{wrong}");
        }
        assert_eq!((Rate(50.0).batch(), Rate(0.5).batch(), Rate(1e9).batch()), (5, 1, BATCH));
        assert_eq!(Rate(50.0).time_for(5), Duration::from_millis(100));
    }
}
