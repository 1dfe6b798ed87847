//! Every setting there is, once: its name, its default, what it is for. The flags, the help text and the
//! check of `.env.example` are all made from this list.

/// Which programs take a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taker {
    Ingress,
    Worker,
    Both,
}

/// One setting: an environment variable, and a flag of the same name in kebab-case.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    pub name: &'static str,
    pub default: Option<&'static str>,
    /// Its value is never printed. (Of an address, what may be a password is not.)
    pub secret: bool,
    pub taker: Taker,
    pub help: &'static str,
}

impl Setting {
    /// `AMQP_URL` as a flag: `amqp-url`.
    pub fn flag(&self) -> String {
        self.name.to_ascii_lowercase().replace('_', "-")
    }

    pub fn is_for(&self, taker: Taker) -> bool {
        taker == Taker::Both || self.taker == Taker::Both || self.taker == taker
    }
}

const fn plain(name: &'static str, default: &'static str, taker: Taker, help: &'static str) -> Setting {
    Setting { name, default: Some(default), secret: false, taker, help }
}

const fn optional(name: &'static str, taker: Taker, help: &'static str) -> Setting {
    Setting { name, default: None, secret: false, taker, help }
}

const fn secret(name: &'static str, taker: Taker, help: &'static str) -> Setting {
    Setting { name, default: None, secret: true, taker, help }
}

use Taker::{Both, Ingress, Worker};

pub const ALL: &[Setting] = &[
    secret("TELEGRAM_BOT_TOKEN", Worker, "The bot's token, as @BotFather gave it"),
    secret(
        "TELEGRAM_WEBHOOK_SECRET",
        Ingress,
        "The secret that Telegram sends with each update: 1-256 of A-Za-z0-9_-",
    ),
    secret("TELEGRAM_WEBHOOK_SECRET_PREVIOUS", Ingress, "Accepted too, while the secret is being changed"),
    plain(
        "TELEGRAM_API_URL",
        "https://api.telegram.org",
        Worker,
        "The Bot API: Telegram's, a local server's or the simulator's",
    ),
    plain("TELEGRAM_TIMEOUT", "10", Worker, "Seconds for one call of the Bot API"),
    plain(
        "TELEGRAM_RESEND",
        "always",
        Worker,
        "After a time-out that may have sent the message: always (send it once more) or never (dead letter)",
    ),
    plain("CHAT_RATE", "1", Worker, "Messages a second that a private chat gets in the long run (facts T14)"),
    plain("CHAT_BURST", "3", Worker, "Messages that a private chat gets at once after a pause"),
    plain("ALBUM_WAIT", "1", Worker, "Seconds for which the next part of an album is waited for"),
    optional(
        "BOT_ID",
        Both,
        "The bot's number, stamped on updates by the ingress; the worker knows its own from the token",
    ),
    optional(
        "LISTEN_ADDR",
        Both,
        "Where to listen: 0.0.0.0:8000 for the ingress, 0.0.0.0:8001 for the worker",
    ),
    optional("HTTP_WORKERS", Ingress, "Threads of the ingress; one per core by default"),
    plain("AMQP_URL", "amqp://guest:guest@127.0.0.1:5672/%2f", Both, "RabbitMQ, amqp or amqps"),
    plain("AMQP_PREFIX", "tgw", Both, "The start of every queue's and exchange's name"),
    plain(
        "PARTITIONS",
        "32",
        Both,
        "Queues that the updates are spread over; fixed by the first part that declares them",
    ),
    plain("REDIS_HOST", "127.0.0.1", Worker, "Redis"),
    plain("REDIS_PORT", "6379", Worker, "Redis"),
    optional(
        "REDIS_URL",
        Worker,
        "Redis: redis, redis+sentinel or redis+cluster, with TLS rediss; wins over host and port",
    ),
    optional(
        "REDIS_CA_FILE",
        Worker,
        "Redis with TLS: whom to trust, PEM; without it the system's authorities",
    ),
    optional("REDIS_CERT_FILE", Worker, "Redis with TLS: our own certificate, PEM, where it asks for one"),
    optional("REDIS_KEY_FILE", Worker, "Redis with TLS: the key of our certificate, PEM"),
    plain("SESSION_TTL", "86400", Worker, "Seconds that a session lives after its last update"),
    plain("RATE_LIMIT_REQUESTS", "1", Worker, "Messages that one user may send in a window"),
    plain("RATE_LIMIT_WINDOW", "1", Worker, "Seconds in a window"),
    optional("CONVERSATION_SERVICE_URL", Worker, "The conversation service, or sample: for the demo's own"),
    optional("MATCHING_SERVICE_URL", Worker, "The matching service, or sample:"),
    optional("NOTIFICATION_SERVICE_URL", Worker, "The notification service, or sample:"),
    optional("USER_PROFILE_SERVICE_URL", Worker, "The user profile service, or sample:"),
    plain("CONVERSATION_SERVICE_TIMEOUT", "5", Worker, "Seconds for one call"),
    plain("MATCHING_SERVICE_TIMEOUT", "3", Worker, "Seconds for one call"),
    plain("NOTIFICATION_SERVICE_TIMEOUT", "3", Worker, "Seconds for one call"),
    plain("USER_PROFILE_SERVICE_TIMEOUT", "3", Worker, "Seconds for one call"),
    secret("CONVERSATION_SERVICE_TOKEN", Worker, "Sent to the service: Authorization: Bearer …"),
    secret("MATCHING_SERVICE_TOKEN", Worker, "Sent to the service: Authorization: Bearer …"),
    secret("NOTIFICATION_SERVICE_TOKEN", Worker, "Sent to the service: Authorization: Bearer …"),
    secret("USER_PROFILE_SERVICE_TOKEN", Worker, "Sent to the service: Authorization: Bearer …"),
    secret("CONVERSATION_SERVICE_SECRET", Worker, "Signs what the service is asked; 16 bytes or more"),
    secret("MATCHING_SERVICE_SECRET", Worker, "Signs what the service is asked; 16 bytes or more"),
    secret("NOTIFICATION_SERVICE_SECRET", Worker, "Signs what the service is asked; 16 bytes or more"),
    secret("USER_PROFILE_SERVICE_SECRET", Worker, "Signs what the service is asked; 16 bytes or more"),
    secret(
        "MESSAGES_TOKEN",
        Worker,
        "What services send to POST /v1/messages: Authorization: Bearer …; off without it",
    ),
    plain(
        "BULK_RATE",
        "30",
        Worker,
        "Notifications and broadcasts a second, of all workers together (facts T14)",
    ),
    optional("ROUTES_FILE", Worker, "The routing table, TOML; without it the built-in table"),
    plain("ACCEPT_DEADLINE", "0.5", Ingress, "Seconds in which every request is answered"),
    plain(
        "DATA_DIR",
        "./data",
        Both,
        "The folder of the spool, the embedded queue and store; of one process",
    ),
    plain(
        "SPOOL_MAX_BYTES",
        "1GiB",
        Ingress,
        "What the spool may hold: bytes, or a number with KiB, MiB or GiB",
    ),
    plain("CONCURRENCY", "1024", Worker, "Updates in hand per worker"),
    plain("SHUTDOWN_GRACE", "25", Both, "Seconds that work in hand has to end after SIGTERM"),
    plain("LOG_LEVEL", "info", Both, "error, warn, info, debug or trace"),
    optional("LOG_FORMAT", Both, "json or text; text on a terminal by default"),
    optional(
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        Both,
        "The collector that traces are sent to, OTLP over HTTP, such as http://collector:4318; none without it",
    ),
    secret("OTEL_EXPORTER_OTLP_HEADERS", Both, "Sent to the collector: name=value,name=value"),
    optional("OTEL_SERVICE_NAME", Both, "The name in the traces; tgw-ingress, tgw-worker or tgw by default"),
    plain(
        "OTEL_TRACES_SAMPLER",
        "parentbased_always_on",
        Both,
        "Which traces are kept: always_on, always_off, traceidratio, or parentbased_ before one of these",
    ),
    plain("OTEL_TRACES_SAMPLER_ARG", "1", Both, "The share of the traces that traceidratio keeps, 0 to 1"),
];

/// The setting of that name.
pub fn find(name: &str) -> Option<&'static Setting> {
    ALL.iter().find(|setting| setting.name == name)
}
