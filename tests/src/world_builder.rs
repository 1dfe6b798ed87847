//! How a world comes to be: what each process is told, and in what order all of it starts.

use std::collections::BTreeMap;
use std::future::{Future, IntoFuture};
use std::pin::Pin;

use crate::process::Process;
use crate::rabbit::Rabbit;
use crate::redis_server::Redis;
use crate::service::FakeService;
use crate::telegram::FakeTelegram;
use crate::world::World;

/// A deployment still to be started: `.await` does that.
#[derive(Clone, Debug)]
pub struct WorldBuilder {
    embedded: bool,
    settings: BTreeMap<String, String>,
    amqp_url: Option<String>,
    redis_url: Option<String>,
    broker: bool,
    worker: bool,
    wait: bool,
}

impl WorldBuilder {
    pub(crate) fn new(embedded: bool) -> Self {
        Self {
            embedded,
            settings: BTreeMap::new(),
            amqp_url: None,
            redis_url: None,
            broker: true,
            worker: true,
            wait: true,
        }
    }

    /// A setting of every process, over what the world sets itself.
    #[must_use]
    pub fn set(mut self, name: &str, value: impl ToString) -> Self {
        self.settings.insert(name.into(), value.to_string());
        self
    }

    /// Another RabbitMQ than the shared one (a private one, or a proxy before it).
    #[must_use]
    pub fn rabbit(mut self, url: &str) -> Self {
        self.amqp_url = Some(url.to_owned());
        self
    }

    /// The broker is away, and stays so: there is nothing at its address.
    #[must_use]
    pub fn without_broker(mut self) -> Self {
        self.broker = false;
        self.rabbit("amqp://guest:guest@127.0.0.1:9/%2f")
    }

    /// Another Redis than the shared one.
    #[must_use]
    pub fn redis(mut self, url: &str) -> Self {
        self.redis_url = Some(url.to_owned());
        self
    }

    /// Only an ingress: what it takes stays in the queue until [`World::add_worker`].
    #[must_use]
    pub fn without_worker(mut self) -> Self {
        self.worker = false;
        self
    }

    /// The processes are started, not waited for.
    #[must_use]
    pub fn without_waiting(mut self) -> Self {
        self.wait = false;
        self
    }

    #[must_use]
    pub fn is_embedded(&self) -> bool {
        self.embedded
    }

    async fn start(mut self) -> World {
        if !self.embedded {
            self.amqp_url = Some(match self.amqp_url {
                Some(url) => url,
                None => Rabbit::shared().await.url().to_owned(),
            });
            self.redis_url = Some(match self.redis_url {
                Some(url) => url,
                None => Redis::shared().await.url().to_owned(),
            });
        }
        let mut world = self.plan().await;
        if let (Some(plan), true) = (&world.worker_plan, self.worker) {
            world.worker = Some(plan.clone().start());
        }
        if self.wait {
            world.ingress.wait_ready().await;
            world.worker_mut().wait_ready().await;
            // An ingress with a spool is ready without, and what it takes meanwhile goes another way.
            if self.broker && !self.embedded {
                world.ingress.wait_broker("up").await;
            }
        }
        world
    }

    /// The fakes, the names, and the first process.
    async fn plan(&self) -> World {
        let unique = uuid::Uuid::new_v4().simple().to_string();
        let bot_id = 1_000_000_000 + i64::from(u32::from_str_radix(&unique[..7], 16).expect("hex digits"));
        let names = Names {
            prefix: format!("t{}", &unique[..12]),
            token: format!("{bot_id}:TESTTOKEN-{}", &unique[..25]),
            secret: format!("TESTSECRET-{}", &unique[12..]),
        };
        let telegram = FakeTelegram::start().await;
        let services = [
            FakeService::start().await,
            FakeService::start().await,
            FakeService::start().await,
            FakeService::start().await,
        ];
        let (for_ingress, for_worker) =
            (self.ingress_settings(&names), self.worker_settings(&names, &telegram, &services));
        let (ingress_plan, worker_plan) = if self.embedded {
            (Process::of("tgw").arg("run").envs(&for_ingress).envs(&for_worker), None)
        } else {
            (Process::of("tgw-ingress").envs(&for_ingress), Some(Process::of("tgw-worker").envs(&for_worker)))
        };
        let ingress_plan = ingress_plan.envs(&self.settings);
        let [conversation, matching, notification, profile] = services;
        let Names { prefix, token, secret } = names;
        World {
            ingress: ingress_plan.clone().start(),
            worker: None,
            worker_plan: worker_plan.map(|plan| plan.envs(&self.settings)),
            ingress_plan,
            amqp_url: self.amqp_url.clone(),
            telegram,
            conversation,
            matching,
            notification,
            profile,
            prefix,
            token,
            bot_id,
            secret,
        }
    }

    fn ingress_settings(&self, names: &Names) -> BTreeMap<String, String> {
        let mut settings = self.common_settings(names);
        settings.insert("TELEGRAM_WEBHOOK_SECRET".into(), names.secret.clone());
        // A broker on a busy test machine may need more than the default half second; what happens then is
        // for the tests of the deadline.
        settings.insert("ACCEPT_DEADLINE".into(), "5".into());
        settings
    }

    fn worker_settings(
        &self,
        names: &Names,
        telegram: &FakeTelegram,
        services: &[FakeService; 4],
    ) -> BTreeMap<String, String> {
        let mut settings = self.common_settings(names);
        settings.insert("TELEGRAM_BOT_TOKEN".into(), names.token.clone());
        settings.insert("TELEGRAM_API_URL".into(), telegram.url());
        for (name, service) in
            ["CONVERSATION", "MATCHING", "NOTIFICATION", "USER_PROFILE"].iter().zip(services)
        {
            settings.insert(format!("{name}_SERVICE_URL"), service.url());
        }
        // The default of one message a second would be in the way of every test but those of the limit,
        // and so would Telegram's own pace.
        settings.insert("RATE_LIMIT_REQUESTS".into(), "10000".into());
        settings.insert("CHAT_RATE".into(), "10000".into());
        settings.insert("CHAT_BURST".into(), "10000".into());
        if let (Some(url), false) = (&self.redis_url, self.embedded) {
            settings.insert("REDIS_URL".into(), url.clone());
        }
        settings
    }

    fn common_settings(&self, names: &Names) -> BTreeMap<String, String> {
        let mut settings = BTreeMap::from([
            ("AMQP_PREFIX".to_owned(), names.prefix.clone()),
            ("PARTITIONS".to_owned(), "4".to_owned()),
            ("HTTP_WORKERS".to_owned(), "1".to_owned()),
        ]);
        if let (Some(url), false) = (&self.amqp_url, self.embedded) {
            settings.insert("AMQP_URL".into(), url.clone());
        }
        settings
    }
}

struct Names {
    prefix: String,
    token: String,
    secret: String,
}

impl IntoFuture for WorldBuilder {
    type Output = World;
    type IntoFuture = Pin<Box<dyn Future<Output = World> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.start())
    }
}
