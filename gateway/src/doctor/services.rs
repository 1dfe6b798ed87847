//! The services of the table: whether something answers there. A HEAD, since a service takes only POST for work.

use std::time::Duration;

use futures_util::future::join_all;
use shared::settings::Values;
use worker::{Place, RouteSettings};

use super::finding::Finding;
use crate::output::because;

const CHECK: &str = "service";

/// A connection that takes longer is none.
const PATIENCE: Duration = Duration::from_secs(5);

pub async fn examine(values: &Values) -> Vec<Finding> {
    let Ok(routes) = RouteSettings::read(values) else { return Vec::new() };
    let client = reqwest::Client::builder()
        .timeout(PATIENCE)
        .redirect(reqwest::redirect::Policy::none())
        // As the worker asks them.
        .no_proxy()
        .build();
    let Ok(client) = client else { return Vec::new() };
    let used = routes.table.services_used();
    let asked = routes.services.iter().filter(|service| used.contains(service.name.as_str()));
    let asked = asked.map(|service| ask(&client, &service.name, &service.place));
    join_all(asked).await
}

async fn ask(client: &reqwest::Client, name: &str, place: &Place) -> Finding {
    let url = match place {
        Place::Sample => return Finding::well(CHECK, format!("{name}: the demo's sample")),
        Place::At(url) => url,
    };
    // Without a path or query, which may hold a key.
    let host = url.host_str().unwrap_or_default();
    let shown = format!("{host}:{}", url.port_or_known_default().unwrap_or_default());
    match client.head(url.clone()).send().await {
        Ok(answer) if answer.status().is_server_error() && answer.status().as_u16() != 501 => {
            let what = format!("{name} at {shown} answers {}", answer.status().as_u16());
            Finding::worth(CHECK, what, "see its log, and that what stands before it reaches it")
        }
        Ok(_) => Finding::well(CHECK, format!("{name} at {shown} answers")),
        Err(error) => Finding::wrong(
            CHECK,
            format!("{name} at {shown}: {}", because(&error)),
            "start it or correct its address: until then its users read the apology, and letters pile up",
        ),
    }
}
