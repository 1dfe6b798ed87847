//! The webhook's secret: whether every ingress takes the configured one. Which one Telegram sends can't be asked.

use ingress::Secrets;
use shared::settings::Values;

use super::finding::Finding;
use crate::webhook::ingresses::{Named, Verdict, ask};

const CHECK: &str = "secret";

/// Nothing where none is configured here, or nobody can be asked: that the broker is away is told elsewhere.
pub async fn examine(values: &Values) -> Vec<Finding> {
    let Ok(secrets) = Secrets::read(values) else { return Vec::new() };
    told(ask(values, &[Named { name: "the configured secret", secret: secrets.current() }]).await)
}

fn told(verdict: Verdict) -> Vec<Finding> {
    if verdict.lacking.is_empty() && verdict.unknown.is_empty() && verdict.asked > 0 {
        return vec![Finding::well(CHECK, "each ingress takes the configured one")];
    }
    let advice =
        "start it with the same TELEGRAM_WEBHOOK_SECRET as the others: it drops what comes with that";
    verdict.lacking.into_iter().map(|words| Finding::wrong(CHECK, words, advice)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ingress_that_would_drop_updates_is_wrong_and_who_cannot_be_asked_is_not() {
        let lacking = Verdict { asked: 2, lacking: vec!["a does not".to_owned()], ..Verdict::default() };
        assert_eq!(told(lacking)[0].what, "a does not");
        let unknown = Verdict { asked: 1, unknown: vec!["old".to_owned()], ..Verdict::default() };
        assert!(told(unknown).is_empty() && told(Verdict::default()).is_empty());
        assert_eq!(told(Verdict { asked: 1, ..Verdict::default() }).len(), 1);
    }
}
