//! Which form the gateway has where a command is called: in parts over RabbitMQ and Redis, or in one process on a file.

use std::path::Path;

use shared::one_file;
use shared::settings::Values;

const REDIS: [&str; 3] = ["REDIS_URL", "REDIS_HOST", "REDIS_PORT"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deployment {
    /// Else the queue is in the embedded file.
    pub rabbitmq: bool,
    /// Else the store is.
    pub redis: bool,
    /// RabbitMQ is taken for it without anything that says so: it may also be a `tgw run` that was never started.
    pub assumed: bool,
}

impl Deployment {
    /// What is to be added where RabbitMQ is not found.
    pub fn hint(&self) -> &'static str {
        match self.assumed {
            true => {
                ". Or is it `tgw run` that is to be used? That needs neither RabbitMQ nor Redis where neither is set; both \
                 are left out here once it has run and has its file in DATA_DIR"
            }
            false => "",
        }
    }

    /// RabbitMQ if `AMQP_URL` is set, or where there is no embedded queue in `DATA_DIR`; as for `tgw dead`.
    pub fn of(values: &Values) -> Self {
        let folder = Path::new(values.text("DATA_DIR").unwrap_or_default());
        let is_file = folder.join(one_file::FILE.name).exists();
        let named = values.is_given("AMQP_URL");
        let rabbitmq = named || !is_file;
        // In parts it is Redis always, at its default address if no other is set; in one process (`tgw run`) the file.
        let redis = !is_file || REDIS.iter().any(|name| values.is_given(name));
        Self { rabbitmq, redis, assumed: rabbitmq && !named }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_set_up_nothing_is_told_that_nothing_is_needed() {
        let folder = tempfile::tempdir().unwrap();
        let of = |amqp: Option<&str>| {
            let folder = ("DATA_DIR", folder.path().to_string_lossy().into_owned());
            let amqp = amqp.map(|url| ("AMQP_URL", url.to_owned()));
            Deployment::of(&Values::of([folder].into_iter().chain(amqp)))
        };
        assert!(of(None).rabbitmq && of(None).hint().contains("needs neither"));
        assert_eq!(of(Some("amqp://x")).hint(), "");
        std::fs::write(folder.path().join(one_file::FILE.name), "").unwrap();
        assert!(!of(None).rabbitmq);
        assert_eq!(of(None).hint(), "");
    }
}
