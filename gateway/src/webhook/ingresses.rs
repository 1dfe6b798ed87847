//! Whether every ingress takes a secret, before Telegram is told to send it: each is asked for a proof (`shared::proof`), over
//! the broker, or over the socket of the one process that has the `DATA_DIR`. No secret leaves a process for that.

use std::path::Path;
use std::time::Duration;

use secrecy::SecretString;
use shared::proof::proof;
use shared::queue::rabbitmq::{Look, Settings};
use shared::settings::Values;
use shared::snapshot::Snapshot;
use shared::window::{Answer, Client, Question, Unasked};
use tokio::time::Instant;
use uuid::Uuid;

use crate::deployment::Deployment;
use crate::status::{is_ingress, unheard};

/// For so long answers are waited for where it is not known whether one is missing, and where it is.
const LISTEN: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(2);

/// A secret, and what a person calls it.
pub struct Named<'a> {
    pub name: &'static str,
    pub secret: &'a SecretString,
}

/// What was found out.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Ingresses that were asked.
    pub asked: usize,
    /// Which ingress lacks what.
    pub lacking: Vec<String>,
    /// Why it is not known of all.
    pub unknown: Vec<String>,
    /// Nothing says where the ingresses are: no AMQP_URL, and no file in DATA_DIR.
    pub nowhere: bool,
}

/// One ingress: its name, and its proofs, or none where it gives none.
struct Ingress {
    name: String,
    proofs: Option<Vec<String>>,
}

/// Asks all for all of these secrets.
pub async fn ask(values: &Values, secrets: &[Named<'_>]) -> Verdict {
    let nonce = Uuid::new_v4().to_string();
    let asked = if values.is_given("AMQP_URL") {
        over_the_broker(values, &nonce).await
    } else if !Deployment::of(values).rabbitmq {
        by_its_socket(values, &nonce).await.map(|ingress| (vec![ingress], 0))
    } else {
        return Verdict { nowhere: true, ..Verdict::default() };
    };
    match asked {
        Ok((ingresses, silent)) => judge(&ingresses, silent, secrets, &nonce),
        Err(words) => Verdict { unknown: vec![words], ..Verdict::default() },
    }
}

fn judge(ingresses: &[Ingress], silent: usize, secrets: &[Named<'_>], nonce: &str) -> Verdict {
    let mut verdict = Verdict { asked: ingresses.len(), ..Verdict::default() };
    for Ingress { name, proofs } in ingresses {
        let Some(proofs) = proofs else {
            verdict.unknown.push(format!("{name} is of a version that can't be asked"));
            continue;
        };
        for wanted in secrets {
            if !proofs.contains(&proof(wanted.secret, nonce)) {
                verdict.lacking.push(format!("{name} does not take {}", wanted.name));
            }
        }
    }
    if silent > 0 {
        verdict.unknown.push(format!("ingresses that did not answer: {silent}"));
    }
    if ingresses.is_empty() {
        verdict.unknown.push("no ingress answers".to_owned());
    }
    verdict
}

/// Those that answered, and how many more they know of.
async fn over_the_broker(values: &Values, nonce: &str) -> Result<(Vec<Ingress>, usize), String> {
    let settings = Settings::read(values).map_err(|error| error.to_string())?;
    let away = |words: String| format!("the broker at {} can't be asked: {words}", settings.place());
    let look = Look::connect(&settings, "tgw webhook").await.map_err(away)?;
    let mut census = look.census().await.map_err(away)?.with_secrets(nonce.to_owned());
    let begun = Instant::now();
    let mut told = look.ask(&mut census, begun + LISTEN, |_| false).await.map_err(away)?;
    let silent = |told: &[Snapshot]| unheard(told).1;
    let some = |told: &[Snapshot]| told.iter().any(is_ingress);
    if silent(&told) > 0 || !some(&told) {
        let all = |told: &[Snapshot]| some(told) && silent(told) == 0;
        let more = look.ask(&mut census, begun + LONGEST, all).await.map_err(away)?;
        told.retain(|known| more.iter().all(|it| it.id != known.id));
        told.extend(more);
    }
    look.close().await;
    let silent = silent(&told);
    let ingresses = told.into_iter().filter(is_ingress);
    let named =
        |it: Snapshot| Ingress { name: format!("ingress {}:{}", it.host, it.pid), proofs: it.secrets };
    Ok((ingresses.map(named).collect(), silent))
}

async fn by_its_socket(values: &Values, nonce: &str) -> Result<Ingress, String> {
    let folder = Path::new(values.text("DATA_DIR").unwrap_or_default());
    let mut client = Client::connect(folder).await.map_err(|unasked| match unasked {
        Unasked::NotRunning => format!("no gateway runs on {}", folder.display()),
        Unasked::Failed(words) => words,
    })?;
    let proofs = match client.ask(&Question::Secrets(nonce.to_owned())).await {
        Ok(Answer::Secrets(proofs)) => Some(proofs),
        _ => None,
    };
    Ok(Ingress { name: format!("the gateway on {}", folder.display()), proofs })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_lacks_a_secret_is_named_and_one_that_cannot_tell_is_not_believed() {
        let secret = |text: &str| SecretString::from(text.to_owned());
        let (new, old) = (secret("new"), secret("old"));
        let proofs = |secrets: &[&SecretString]| Some(secrets.iter().map(|it| proof(it, "17")).collect());
        let ingress = |name: &str, proofs| Ingress { name: name.to_owned(), proofs };
        let both = [Named { name: "the new one", secret: &new }, Named { name: "the old one", secret: &old }];
        let judged = |ingresses: &[Ingress], silent| judge(ingresses, silent, &both, "17");
        let well = judged(&[ingress("a", proofs(&[&new, &old])), ingress("b", proofs(&[&old, &new]))], 0);
        assert_eq!(well, Verdict { asked: 2, ..Verdict::default() });
        let lacking = judged(&[ingress("a", proofs(&[&new, &old])), ingress("b", proofs(&[&old]))], 0);
        assert_eq!(lacking.lacking, ["b does not take the new one"]);
        let lacking = judged(&[ingress("a", proofs(&[&new]))], 0);
        assert_eq!(lacking.lacking, ["a does not take the old one"]);
        assert_eq!(judged(&[ingress("a", None)], 1).unknown.len(), 2);
        assert_eq!(judged(&[], 0).unknown, ["no ingress answers"]);
    }
}
