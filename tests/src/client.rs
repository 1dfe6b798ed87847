//! The HTTP client of the tests themselves.

use std::sync::OnceLock;
use std::time::Duration;

/// A client for the tests' own requests. One per test, made here: each test has a runtime of its own, and
/// a pooled connection dies with the runtime that opened it. It trusts no certificate, since all that it asks is on this
/// machine without TLS. To read the system's takes a debug build 24 ms (measured; 10 µs without), and a test makes hundreds
/// of clients.
#[must_use]
pub fn http_client() -> reqwest::Client {
    // reqwest is built without a TLS of its own choice, and asks for one even where none is used.
    trust_ring();
    let builder = reqwest::Client::builder().timeout(Duration::from_secs(20)).no_proxy().tls_certs_only([]);
    builder.pool_max_idle_per_host(0).build().expect("a client without special wishes")
}

/// The cryptography of this process's own TLS.
pub(crate) fn trust_ring() {
    static TLS: OnceLock<()> = OnceLock::new();
    TLS.get_or_init(|| drop(rustls::crypto::ring::default_provider().install_default()));
}
