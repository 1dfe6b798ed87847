//! How an ingress over RabbitMQ comes to its publisher and its spool.

use shared::data_dir;
use shared::program::Failure;
use shared::queue::{Publisher, rabbitmq};
use shared::readiness::Readiness;
use shared::settings::Values;
use shared::spool::{self, Spool, Tended};

use crate::Settings;

/// Opens the spool in `DATA_DIR` and begins to drain it to the broker, however far away that is. `role` is the
/// connection's name.
pub async fn publisher_with_spool(
    values: &Values,
    settings: &Settings,
    broker: rabbitmq::Settings,
    readiness: &Readiness,
    role: &'static str,
) -> Result<(Publisher, Tended), Failure> {
    let database = data_dir::open(values, spool::FILE)?;
    let unread = |error| Failure::Failed(format!("the spool can't be read: {error}"));
    let spool = Spool::open(&database, settings.spool_bytes).await.map_err(unread)?;
    let (publisher, fanout) =
        rabbitmq::spooled_publisher(broker, readiness.clone(), settings.secrets.accepted(), role);
    let publisher = Publisher::RabbitMq(publisher);
    let tended = spool::tend(spool, publisher.clone(), Some(fanout), readiness);
    Ok((publisher, tended))
}
