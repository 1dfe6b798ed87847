//! Redis: whether it is there, takes writes, and keeps what it is told.

use shared::settings::Values;
use shared::store::redis::{Looked, Seen, Settings, look};

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
        Ok(looked) => findings(&looked),
        Err(words) => {
            let advice = "see that Redis runs and that REDIS_URL (or REDIS_HOST, REDIS_PORT) leads to it; until then \
                          updates are handled without sessions, limits and memory of what was handled";
            (vec![Finding::wrong(CHECK, format!("can't be used: {words}"), advice)], None)
        }
    }
}

fn findings(looked: &Looked) -> (Vec<Finding>, Option<i64>) {
    let (servers, form) = match looked {
        Looked::One(seen) => (std::slice::from_ref(seen), String::new()),
        Looked::Master(seen) => {
            (std::slice::from_ref(seen), format!(" at {}, as the sentinels say", seen.at))
        }
        Looked::Cluster(seen) => (&seen[..], format!(", a cluster of {} masters", seen.len())),
    };
    let mut findings = Vec::new();
    if servers.iter().any(|seen| seen.cluster_state == "fail") {
        let advice = "see that each of its masters runs, or has a replica that can take its place";
        findings.push(Finding::wrong(CHECK, "some of the cluster's slots have no server", advice));
    }
    if let Looked::One(Seen { cluster: true, .. }) = looked {
        let advice =
            "let REDIS_URL begin with redis+cluster (or rediss+cluster): a node takes its own slots only";
        findings.push(Finding::wrong(CHECK, "it is a node of a cluster", advice));
    }
    for seen in servers {
        let whose = if servers.len() > 1 { format!("{}: ", seen.at) } else { String::new() };
        findings.extend(of_server(seen, &whose));
    }
    if let (true, Some(first)) = (findings.is_empty(), servers.first()) {
        findings.push(Finding::well(CHECK, format!("Redis {}{form}", first.version)));
    }
    (findings, servers.iter().map(|seen| seen.ahead_ms).max_by_key(|ahead| ahead.unsigned_abs()))
}

fn of_server(seen: &Seen, whose: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    if seen.role == "slave" {
        let advice = "let REDIS_URL lead to the master: a replica takes no writes";
        findings.push(Finding::wrong(CHECK, format!("{whose}it is a replica"), advice));
    }
    if seen.loading {
        findings.push(Finding::wrong(CHECK, format!("{whose}it is loading its data"), "wait until it has"));
    }
    if seen.maxmemory > 0 && !matches!(seen.policy.as_str(), "" | "noeviction") {
        findings.push(Finding::worth(
            CHECK,
            format!("{whose}with its memory full it forgets keys (maxmemory-policy {})", seen.policy),
            "set maxmemory-policy noeviction: what is forgotten may be handled twice",
        ));
    }
    if !seen.appends && seen.saves.as_deref() == Some("") {
        findings.push(Finding::worth(
            CHECK,
            format!("{whose}it keeps nothing over a restart"),
            "set appendonly yes (or save): after a restart what is delivered again may be handled twice",
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::State;

    fn well() -> Seen {
        Seen { version: "7.0".to_owned(), role: "master".to_owned(), ..Seen::default() }
    }

    fn states(looked: &Looked) -> Vec<State> {
        findings(looked).0.iter().map(|it| it.state).collect()
    }

    #[test]
    fn a_redis_that_would_forget_is_told() {
        let states = |seen: Seen| states(&Looked::One(seen));
        let well = well();
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

    #[test]
    fn what_is_wrong_with_one_of_a_cluster_is_told_with_its_name() {
        let node = Seen { cluster: true, cluster_state: "ok".to_owned(), ahead_ms: -3, ..well() };
        let other = Seen { at: "h:2".to_owned(), ahead_ms: 7, ..node.clone() };
        let (told, ahead) = findings(&Looked::Cluster(vec![node.clone(), other.clone()]));
        assert_eq!((told[0].what.as_str(), ahead), ("Redis 7.0, a cluster of 2 masters", Some(7)));
        let other = Seen { cluster_state: "fail".to_owned(), loading: true, ..other };
        let (told, _) = findings(&Looked::Cluster(vec![node.clone(), other]));
        let told: Vec<_> = told.iter().map(|it| it.what.as_str()).collect();
        assert_eq!(told, ["some of the cluster's slots have no server", "h:2: it is loading its data"]);
        assert_eq!(states(&Looked::One(node)), [State::Wrong], "reached as if it were alone");
    }
}
