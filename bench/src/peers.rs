//! What people would use instead, as processes of their own; `bench/run` has installed them.

use std::path::Path;

use harness::{Process, ProcessBuilder};

use crate::load::Target;
use crate::machine::listening;
use crate::ours::own_program;
use crate::rows::World;
use crate::sink::TOKEN;
use crate::updates::SECRET;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    Actix,
    /// Secret, session and limit, and no service.
    FastApiAlone,
    FastApi,
    Aiogram,
    Grammy,
    Teloxide,
}

impl Peer {
    pub fn name(self) -> &'static str {
        match self {
            Self::Actix => "actix-web, empty",
            Self::FastApiAlone => "FastAPI, no service",
            Self::FastApi => "FastAPI inline",
            Self::Aiogram => "aiogram inline",
            Self::Grammy => "grammY inline",
            Self::Teloxide => "teloxide, not durable",
        }
    }

    /// None where it is not installed.
    fn builder(self, folder: &str) -> Option<ProcessBuilder> {
        let python = |script: &str| {
            let place = format!("{folder}/venv/bin/python");
            Path::new(&place).exists().then(|| Process::of(&place).arg(&format!("{folder}/python/{script}")))
        };
        match self {
            Self::Actix => Some(own_program("actix")),
            Self::FastApiAlone => python("fastapi_bot.py"),
            Self::FastApi => python("fastapi_bot.py").map(|it| it.env("INLINE", 1)),
            Self::Aiogram => python("aiogram_bot.py"),
            Self::Grammy => Path::new(folder).join("grammy/node_modules").exists().then(|| {
                let node = Path::new("/usr/bin/env").to_str().unwrap_or_default();
                Process::of(node).arg("node").arg(&format!("{folder}/grammy/bot.mjs"))
            }),
            Self::Teloxide => {
                let place = format!("{folder}/teloxide/release/bench-teloxide");
                Path::new(&place).exists().then(|| Process::of(&place))
            }
        }
    }

    /// Runs until it is dropped; none where it is not installed.
    pub async fn start(self, world: &World) -> Option<(Process, Target)> {
        let builder = self.builder(&world.options.peers)?;
        let settings = [
            ("SECRET", SECRET.to_owned()),
            ("BOT_TOKEN", TOKEN.to_owned()),
            ("API_URL", world.sink.telegram()),
            ("SERVICE_URL", world.sink.service()),
            ("REDIS_URL", world.redis.url().to_owned()),
        ];
        let builder = settings.into_iter().fold(builder, |builder, (name, value)| builder.env(name, value));
        let process = listening(self.name(), builder).await;
        let target = Target::new(self.name(), &process.address());
        Some((process, target))
    }
}
