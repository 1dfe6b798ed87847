//! What `tgw doctor` sees of the webhook from outside, its certificate, and of the disk.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::{Arc, Once};

use harness::{Simulator, World};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::Value;
use tempfile::NamedTempFile;
use time::{Duration, OffsetDateTime};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// Answers as an ingress does to a GET, with a certificate for this machine that ends in so many days. Its port, and the
/// file by which somebody trusts it.
async fn outside(days: i64) -> (u16, NamedTempFile) {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
    let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.not_before = OffsetDateTime::now_utc() - Duration::days(30);
    params.not_after = OffsetDateTime::now_utc() + Duration::days(days) + Duration::hours(1);
    let key = rcgen::KeyPair::generate().unwrap();
    let made = params.self_signed(&key).unwrap();
    let file = NamedTempFile::new().unwrap();
    std::fs::write(file.path(), made.pem()).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = rustls::ServerConfig::builder().with_no_client_auth();
    let config = config.with_single_cert(vec![made.der().clone()], key).unwrap();
    let tls = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = tls.accept(stream).await else { continue };
            let mut asked = [0; 1024];
            let Ok(1..) = stream.read(&mut asked).await else { continue };
            let answer = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            stream.write_all(answer).await.ok();
            stream.shutdown().await.ok();
        }
    });
    (port, file)
}

/// State, words and advice of what the doctor finds of `check`.
async fn found(world: &World, check: &str, settings: &[(&str, String)]) -> (String, String, String) {
    let command = settings
        .iter()
        .fold(world.command(&["doctor", "--json"]), |command, (name, value)| command.env(name, value));
    let mut process = command.env("TELEGRAM_WEBHOOK_SECRET", &world.secret).start();
    process.wait_exit().await;
    let told: Value = serde_json::from_str(&process.stdout()).unwrap();
    let finding = told["findings"].as_array().unwrap().iter().find(|it| it["check"] == check);
    let finding = finding.unwrap_or_else(|| panic!("{told}"));
    let text = |name: &str| finding[name].as_str().unwrap_or_default().to_owned();
    (text("state"), text("what"), text("advice"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_not_trusted_or_about_to_end_is_told() {
    let simulator = Simulator::start().await;
    let world = World::embedded().set("TELEGRAM_API_URL", simulator.url()).await;
    for (days, trusted, state, words, does) in [
        (90, false, "wrong", "certificate", "a certificate of this host that a browser takes"),
        (5, true, "warning", "ends in 5 days", "renew it"),
        (90, true, "ok", "its certificate is good for 90 days", ""),
        (-1, true, "wrong", "certificate", ""),
    ] {
        let (port, file) = outside(days).await;
        let url = format!("https://localhost:{port}/webhook/telegram");
        let other = Simulator::start().await;
        other.set_webhook(&world.token, &url, &world.secret).await;
        let mut settings = vec![("TELEGRAM_API_URL", other.url().to_owned())];
        if trusted {
            settings.push(("SSL_CERT_FILE", file.path().display().to_string()));
        }
        let (seen, what, advice) = found(&world, "outside", &settings).await;
        assert_eq!(seen, state, "{days} {what}");
        assert!(what.contains(words) && advice.contains(does), "{days}: {what}: {advice}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_too_small_for_the_spool_is_told() {
    let world = World::distributed().await;
    let (state, what, advice) =
        found(&world, "disk", &[("SPOOL_MAX_BYTES", "1000000000000000".to_owned())]).await;
    assert_eq!(state, "warning", "{what}");
    assert!(
        what.contains(" left for ") && advice.contains("lower that or give it a larger disk"),
        "{what} {advice}"
    );
}
