//! The one door: `build` binds, `run` serves until told to stop. The binary, the tests and the demo
//! come in by it. What is served is decided in `api`, `control` and `page`.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use actix_web::{App, HttpServer, web};
use tokio_util::sync::CancellationToken;

use crate::control::Control;
use crate::delivery::Sender;
use crate::settings::Settings;
use crate::state::World;
use crate::{api, control, page};

/// Telegram's own: a file may have 50 MB, and there are other fields beside it.
const BODY_LIMIT: usize = 55 << 20;
/// Answers under way get this long when the simulator stops.
const STOP_GRACE_SECONDS: u64 = 1;

/// The system's own words are the error's source.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot listen on {address}")]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error("cannot make an HTTP client")]
    Client(#[from] reqwest::Error),
    #[error("the HTTP server failed")]
    Serve(#[from] std::io::Error),
}

/// A simulator that is bound and not yet served.
pub struct Application {
    listener: TcpListener,
    address: SocketAddr,
    world: Arc<World>,
    sender: Sender,
}

impl Application {
    /// Binds the address. Connections wait in the listener's backlog until `run`.
    pub fn build(settings: Settings) -> Result<Self, Error> {
        let address = settings.listen;
        let listen = |source| Error::Listen { address, source };
        let listener = TcpListener::bind(address).map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let world = Arc::new(World::new(settings));
        let sender = Sender::new(world.clone())?;
        Ok(Self { listener, address, world, sender })
    }

    /// Where it listens; the port is the real one, even if 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The control side as plain methods, for whoever runs the simulator in its own process.
    pub fn control(&self) -> Control {
        Control::new(self.world.clone())
    }

    /// Serves, and delivers updates, until `stop` is cancelled. Needs a tokio runtime; any will do.
    pub async fn run(self, stop: CancellationToken) -> Result<(), Error> {
        let (world, stopped) = (self.world.clone(), stop.clone());
        let threads = self.world.settings.threads.max(1);
        let server = HttpServer::new(move || {
            App::new()
                .app_data(web::Data::from(world.clone()))
                .app_data(web::Data::new(stopped.clone()))
                .app_data(web::PayloadConfig::new(BODY_LIMIT))
                .configure(api::routes)
                .configure(control::http::routes)
                .configure(|config| page::routes(config, world.settings.page))
        })
        .workers(threads)
        .keep_alive(Duration::from_secs(75))
        // A bot that hangs up has ended its call: what it waited for is not done.
        .h1_allow_half_closed(false)
        .shutdown_timeout(STOP_GRACE_SECONDS)
        // The caller owns the signals: in the demo this server is one part of a larger process.
        .disable_signals()
        .listen(self.listener)?
        .run();
        let handle = server.handle();
        let deliveries = tokio::spawn(self.sender.run(stop.clone()));
        let stopper = tokio::spawn(async move {
            stop.cancelled().await;
            handle.stop(true).await;
        });
        let served = server.await;
        stopper.abort();
        deliveries.abort();
        Ok(served?)
    }
}
