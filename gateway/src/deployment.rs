//! Which form the gateway has where a command is called: in parts over RabbitMQ and Redis, or in one process on a file.

use std::path::Path;

use shared::queue::embedded;
use shared::settings::Values;

const REDIS: [&str; 3] = ["REDIS_URL", "REDIS_HOST", "REDIS_PORT"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deployment {
    /// Else the queue is in the embedded file.
    pub rabbitmq: bool,
    /// Else the store is.
    pub redis: bool,
}

impl Deployment {
    /// RabbitMQ if `AMQP_URL` is set, or where there is no embedded queue in `DATA_DIR`; as for `tgw dead`.
    pub fn of(values: &Values) -> Self {
        let folder = Path::new(values.text("DATA_DIR").unwrap_or_default());
        let is_file = folder.join(embedded::FILE.name).exists();
        let rabbitmq = values.is_given("AMQP_URL") || !is_file;
        // In parts it is Redis always, at its default address if no other is set; in one process (`tgw run`) the file.
        let redis = !is_file || REDIS.iter().any(|name| values.is_given(name));
        Self { rabbitmq, redis }
    }
}
