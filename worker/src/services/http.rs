//! The connections to services: pooled, one pool for each way of speaking HTTP.

use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder};

use crate::connections::{IDLE, KEPT};

/// Over HTTP/2 all calls of a service share a connection, so one whose peer has vanished would fail them all until
/// the kernel gives it up: it is asked while calls wait on it.
pub const PING_EVERY: Duration = Duration::from_secs(5);
pub const PING_TIMEOUT: Duration = Duration::from_secs(5);

/// A client for each way of speaking HTTP.
pub struct Http {
    /// HTTP/2 where TLS negotiates it (ALPN), else HTTP/1.1.
    either: Client,
    first: Client,
    /// From the first byte on, also without TLS.
    second: Client,
}

impl Http {
    pub fn new() -> Result<Self, reqwest::Error> {
        Ok(Self {
            either: builder().build()?,
            first: builder().http1_only().build()?,
            second: builder().http2_prior_knowledge().build()?,
        })
    }

    /// The client for a service whose table says so of HTTP/2, or nothing.
    pub fn client(&self, http2: Option<bool>) -> &Client {
        match http2 {
            None => &self.either,
            Some(false) => &self.first,
            Some(true) => &self.second,
        }
    }
}

fn builder() -> ClientBuilder {
    Client::builder()
        // Where it leads may be nobody to show a token to.
        .redirect(Policy::none())
        // Internal services are not behind the proxy that leads outside.
        .no_proxy()
        // After a burst; without a bound the connections of a thousand calls would stay open for as long as the
        // services keep them.
        .pool_max_idle_per_host(IDLE)
        .pool_idle_timeout(KEPT)
        .http2_keep_alive_interval(PING_EVERY)
        .http2_keep_alive_timeout(PING_TIMEOUT)
        .http2_adaptive_window(true)
}
