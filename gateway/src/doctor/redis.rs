//! Redis: whether it is there, takes writes, and keeps what it is told.

use shared::settings::Values;
use shared::store::redis::{Seen, Settings, look};

use super::finding::Finding;
use crate::deployment::Deployment;

const CHECK: &str = "redis";

/// And how far its clock is ahead of ours, in milliseconds.
pub async fn examine(values: &Values, deployment: &Deployment) -> (Vec<Finding>, Option<i64>) {
    if !deployment.redis {
        return (vec![Finding::well(CHECK, "none: the store is in a file in DATA_DIR")], None);
    }
    let Ok(settings) = Settings::read(values) else { return (Vec::new(), None) };
    match look(settings).await {
        Ok(seen) => (findings(&seen), Some(seen.ahead_ms)),
        Err(words) => {
            let advice = "see that Redis runs and that REDIS_URL (or REDIS_HOST, REDIS_PORT) leads to it; until then \
                          updates are handled without sessions, limits and memory of what was handled";
            (vec![Finding::wrong(CHECK, format!("can't be used: {words}"), advice)], None)
        }
    }
}

fn findings(seen: &Seen) -> Vec<Finding> {
    let mut findings = Vec::new();
    if seen.role == "slave" {
        let advice = "let REDIS_URL lead to the master: a replica takes no writes";
        findings.push(Finding::wrong(CHECK, "it is a replica", advice));
    }
    if seen.loading {
        findings.push(Finding::wrong(CHECK, "it is loading its data", "wait until it has"));
    }
    if seen.maxmemory > 0 && !matches!(seen.policy.as_str(), "" | "noeviction") {
        findings.push(Finding::worth(
            CHECK,
            format!("with its memory full it forgets keys (maxmemory-policy {})", seen.policy),
            "set maxmemory-policy noeviction: what is forgotten may be handled twice",
        ));
    }
    if !seen.appends && seen.saves.as_deref() == Some("") {
        findings.push(Finding::worth(
            CHECK,
            "it keeps nothing over a restart",
            "set appendonly yes (or save): after a restart what is delivered again may be handled twice",
        ));
    }
    if findings.is_empty() {
        let mode = if seen.cluster { ", a cluster" } else { "" };
        findings.push(Finding::well(CHECK, format!("Redis {}{mode}", seen.version)));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::State;

    #[test]
    fn a_redis_that_would_forget_is_told() {
        let states = |seen: Seen| findings(&seen).iter().map(|it| it.state).collect::<Vec<_>>();
        let well = Seen { version: "7.0".to_owned(), role: "master".to_owned(), ..Seen::default() };
        assert_eq!(states(well.clone()), [State::Well]);
        let evicts = Seen { maxmemory: 1, policy: "allkeys-lru".to_owned(), ..well.clone() };
        assert_eq!(states(evicts), [State::Worth]);
        assert_eq!(states(Seen { saves: Some(String::new()), ..well.clone() }), [State::Worth]);
        assert_eq!(states(Seen { saves: Some(String::new()), appends: true, ..well.clone() }), [State::Well]);
        assert_eq!(
            states(Seen { role: "slave".to_owned(), loading: true, ..well }),
            [State::Wrong, State::Wrong]
        );
    }
}
