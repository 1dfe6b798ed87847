//! RabbitMQ: whether it is there, its queues and their arguments, and whether each partition has an owner.

use shared::queue::rabbitmq::{Look, Made, Seen, Settings};
use shared::settings::Values;

use super::finding::Finding;
use crate::deployment::Deployment;
use crate::output::numbers;

pub async fn examine(values: &Values, deployment: &Deployment) -> Vec<Finding> {
    if !deployment.rabbitmq {
        return vec![Finding::well("broker", "none: the queue is in a file in DATA_DIR")];
    }
    // What is wrong with them is told by the settings.
    let Ok(settings) = Settings::read(values) else { return Vec::new() };
    let place = settings.place();
    match seen(&settings).await {
        Ok(seen) => findings(&settings, &place, &seen),
        Err(words) => vec![Finding::wrong(
            "broker",
            format!("{place} can't be used: {words}"),
            format!(
                "see that RabbitMQ runs, that this machine reaches it, and that AMQP_URL's user may use the vhost; until \
                 then an ingress keeps what comes in its spool{}",
                deployment.hint()
            ),
        )],
    }
}

async fn seen(settings: &Settings) -> Result<Seen, String> {
    let look = Look::connect(settings, "tgw doctor").await?;
    let seen = look.seen().await;
    look.close().await;
    seen
}

fn findings(settings: &Settings, place: &str, seen: &Seen) -> Vec<Finding> {
    let version = seen.version.as_ref().map(|version| format!(" {version}")).unwrap_or_default();
    let mut findings = vec![Finding::well("broker", format!("RabbitMQ{version} at {place}"))];
    let (prefix, partitions) = (&settings.prefix, settings.partitions);
    match &seen.made {
        Made::ForAsMany => {}
        Made::NotYet => {
            findings.push(Finding::wrong(
                "queues",
                format!("nothing has run with AMQP_PREFIX {prefix:?} yet"),
                "start an ingress and a worker: they make the queues; or correct AMQP_PREFIX or the vhost in AMQP_URL",
            ));
            return findings;
        }
        Made::ForOthers(many) => {
            findings.push(Finding::wrong(
                "queues",
                format!("they were made for {many} partitions, PARTITIONS says {partitions}"),
                format!(
                    "set PARTITIONS to {many} in every part; a worker that disagrees ends with exit code 2"
                ),
            ));
            return findings;
        }
    }
    let before = findings.len();
    if !seen.missing.is_empty() {
        findings.push(Finding::wrong(
            "queues",
            format!("not there: {}", seen.missing.join(", ")),
            "restart a worker, which makes what is missing; what was in a deleted queue is lost",
        ));
    }
    for (queue, words) in &seen.different {
        findings.push(Finding::wrong(
            "queues",
            format!("{queue} has other arguments: {words}"),
            "see that no policy or tool made it; when it is empty delete it, and restart a worker",
        ));
    }
    if !seen.silent.is_empty() {
        findings.push(Finding::wrong(
            "queues",
            format!("no answer: {}", seen.silent.join(", ")),
            "see that a majority of the nodes that hold them runs (rabbitmq-diagnostics check_if_node_is_quorum_critical)",
        ));
    }
    if findings.len() == before {
        let waiting = seen.waiting;
        findings.push(Finding::well(
            "queues",
            format!("{partitions} partitions; {waiting} updates wait in them"),
        ));
    }
    findings.push(owners(seen, partitions));
    findings.push(letters(u64::from(seen.letters)));
    findings
}

fn owners(seen: &Seen, partitions: u16) -> Finding {
    if seen.ownerless.is_empty() {
        return Finding::well("partitions", "each has a worker");
    }
    let numbers = numbers(&seen.ownerless);
    let (what, advice) = if seen.ownerless.len() == usize::from(partitions) {
        (
            "none has a worker: what comes in waits".to_owned(),
            "start a worker, or see why none is ready (its /ready)",
        )
    } else {
        (
            format!("without a worker: {numbers}"),
            "see whether a worker is starting or frozen: its /ready and its log",
        )
    };
    Finding::wrong("partitions", what, advice)
}

pub fn letters(count: u64) -> Finding {
    match count {
        0 => Finding::well("letters", "no dead letters"),
        1 => Finding::worth("letters", "1 dead letter waits for somebody", "tgw dead list"),
        many => Finding::worth("letters", format!("{many} dead letters wait for somebody"), "tgw dead list"),
    }
}
