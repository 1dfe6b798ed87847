//! How services know the gateway, and how they are spoken to: headers, bearer tokens, signed requests (contract 4
//! and docs/services.md), HTTP/1.1 and HTTP/2.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Once};

use harness::{Answer, FakeService, Request, Update, World, WorldBuilder, now, over_both_worlds};
use ring::hmac;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::json;
use tempfile::NamedTempFile;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

over_both_worlds!(
    a_service_gets_its_headers_its_token_and_a_signature_over_time_and_body,
    the_built_in_services_get_theirs_from_the_settings,
    without_any_of_it_a_service_gets_none,
    user_and_password_of_an_address_become_a_header,
);

const TOKEN: &str = "zebratoken.of-the~service";
const KEY: &str = "zebrakey of a header";
const SECRET: &str = "zebrasecret-that-signs";

/// As docs/services.md says how to check it; when it was signed.
fn verify(request: &Request, secret: &str) -> i64 {
    let time = request.header("X-Tgw-Timestamp").expect("a time");
    let signature = request.header("X-Tgw-Signature").expect("a signature");
    let hex = signature.strip_prefix("v1=").expect("version 1");
    let bytes: Vec<u8> = (0..hex.len() / 2)
        .map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).expect("hex digits"))
        .collect();
    let signed = [time.as_bytes(), b".", &request.raw].concat();
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    hmac::verify(&key, &signed, &bytes).expect("the right signature");
    time.parse().expect("seconds")
}

fn table(rows: &str) -> NamedTempFile {
    let file = NamedTempFile::new().unwrap();
    std::fs::write(file.path(), rows).unwrap();
    file
}

async fn a_service_gets_its_headers_its_token_and_a_signature_over_time_and_body(world: WorldBuilder) {
    let weather = FakeService::start().await;
    let file = table(
        r#"
        [services.weather]
        url = "${WEATHER_URL}"
        headers = { X-Api-Key = "${WEATHER_KEY}" }
        bearer = "${WEATHER_TOKEN}"
        sign = "${WEATHER_SECRET}"

        [[routes]]
        command = "/weather"
        service = "weather"
        "#,
    );
    let world = world
        .set("ROUTES_FILE", file.path().display())
        .set("WEATHER_URL", weather.url())
        .set("WEATHER_KEY", KEY)
        .set("WEATHER_TOKEN", TOKEN)
        .set("WEATHER_SECRET", SECRET)
        .set("LOG_LEVEL", "trace")
        .await;
    // A failure and its retry: each is signed with its own time.
    weather.answer_first([Answer::Status(500, json!({}))]);
    let user = world.user();
    world.accept(&Update::command(user, "/weather Zürich")).await;
    for request in weather.wait_for(2).await {
        assert_eq!(request.header("X-Api-Key"), Some(KEY));
        assert_eq!(request.header("Authorization"), Some(&*format!("Bearer {TOKEN}")));
        assert!((now() - verify(&request, SECRET)).abs() <= 30);
    }
    // A redirect leads nowhere, least of all with a token.
    world.telegram.wait_texts(user, 1).await;
    for log in [world.worker().stdout(), world.worker().stderr()] {
        assert!(!log.contains("zebra"), "a secret is in the log");
    }
}

async fn the_built_in_services_get_theirs_from_the_settings(world: WorldBuilder) {
    let world = world
        .set("CONVERSATION_SERVICE_TOKEN", TOKEN)
        .set("CONVERSATION_SERVICE_SECRET", SECRET)
        .set("MATCHING_SERVICE_TOKEN", "another")
        .await;
    let user = world.user();
    world.accept(&Update::text(user, "hello")).await;
    let request = world.conversation.wait_for(1).await.remove(0);
    assert_eq!(request.header("Authorization"), Some(&*format!("Bearer {TOKEN}")));
    verify(&request, SECRET);
    world.accept(&Update::callback(user, "SKIP")).await;
    let request = world.matching.wait_for(1).await.remove(0);
    assert_eq!(request.header("Authorization"), Some("Bearer another"));
    assert_eq!(request.header("X-Tgw-Signature"), None);
}

async fn without_any_of_it_a_service_gets_none(world: WorldBuilder) {
    let world = world.await;
    world.accept(&Update::text(world.user(), "hello")).await;
    let request = world.conversation.wait_for(1).await.remove(0);
    for name in ["Authorization", "X-Tgw-Timestamp", "X-Tgw-Signature"] {
        assert_eq!(request.header(name), None, "{name}");
    }
}

/// As HTTP has it (RFC 7617); a token of the table goes before.
async fn user_and_password_of_an_address_become_a_header(world: WorldBuilder) {
    let (weather, news, telegram) =
        (FakeService::start().await, FakeService::start().await, FakeService::start().await);
    telegram.answer(Answer::Status(200, json!({"ok": true, "result": {"username": "some_bot"}})));
    let file = table(
        r#"
        [services.weather]
        url = "${WEATHER_URL}"

        [services.news]
        url = "${NEWS_URL}"
        bearer = "${NEWS_TOKEN}"

        [[routes]]
        command = "/weather"
        service = "weather"

        [[routes]]
        command = "/news"
        service = "news"
        "#,
    );
    let with_user = |url: String| url.replace("://", "://ada:zebra%20one@");
    let world = world
        .set("ROUTES_FILE", file.path().display())
        .set("WEATHER_URL", with_user(weather.url()))
        .set("NEWS_URL", with_user(news.url()))
        .set("NEWS_TOKEN", TOKEN)
        .set("TELEGRAM_API_URL", with_user(telegram.url()))
        .await;
    world.accept(&Update::command(world.user(), "/weather")).await;
    world.accept(&Update::command(world.user(), "/news")).await;
    // Of "ada:zebra one".
    let basic = Some("Basic YWRhOnplYnJhIG9uZQ==");
    assert_eq!(weather.wait_for(1).await[0].header("Authorization"), basic);
    assert_eq!(news.wait_for(1).await[0].header("Authorization"), Some(&*format!("Bearer {TOKEN}")));
    for request in telegram.wait_for(3).await {
        assert_eq!(request.header("Authorization"), basic);
    }
}

/// A service that speaks HTTP/2 and nothing else, and answers a text.
struct Second {
    port: u16,
    connections: Arc<AtomicUsize>,
    requests: Arc<AtomicUsize>,
}

impl Second {
    async fn start(tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let second = Self {
            port: listener.local_addr().unwrap().port(),
            connections: Arc::default(),
            requests: Arc::default(),
        };
        let (connections, requests) = (second.connections.clone(), second.requests.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(stream, tls.clone(), requests.clone()));
            }
        });
        second
    }
}

async fn serve(stream: TcpStream, tls: Option<TlsAcceptor>, requests: Arc<AtomicUsize>) {
    match tls {
        None => speak(stream, requests).await,
        Some(tls) => {
            let stream = tls.accept(stream).await.expect("a TLS handshake");
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
            speak(stream, requests).await;
        }
    }
}

async fn speak<T>(stream: T, requests: Arc<AtomicUsize>)
where
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let mut connection = h2::server::handshake(stream).await.expect("HTTP/2");
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        assert_eq!(request.version(), http::Version::HTTP_2);
        assert!(request.headers().contains_key("idempotency-key"));
        requests.fetch_add(1, Ordering::SeqCst);
        let mut body = respond.send_response(http::Response::new(()), false).unwrap();
        body.send_data(r#"{"type":"text","content":"two"}"#.into(), true).unwrap();
    }
}

async fn every_call_over_one_connection(world: &World, second: &Second) {
    let users: Vec<i64> = (0..20).map(|_| world.user()).collect();
    for user in &users {
        world.accept(&Update::text(*user, "hello")).await;
    }
    for user in &users {
        assert_eq!(world.telegram.wait_texts(*user, 1).await, ["two"]);
    }
    assert_eq!(second.requests.load(Ordering::SeqCst), users.len());
    let connections = second.connections.load(Ordering::SeqCst);
    // Calls that begin before the first connection stands may open one of their own, and drop it.
    assert!(connections < users.len(), "{connections} connections for {} calls", users.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_says_so_is_asked_over_http_2_without_tls() {
    let second = Second::start(None).await;
    let file =
        table("[services.conversation]\nhttp2 = true\n[[routes]]\ntext = true\nservice = \"conversation\"\n");
    let world = World::embedded()
        .set("ROUTES_FILE", file.path().display())
        .set("CONVERSATION_SERVICE_URL", format!("http://127.0.0.1:{}/ask", second.port))
        .await;
    every_call_over_one_connection(&world, &second).await;
}

/// A certificate for this machine, and the file by which the gateway trusts it.
fn certificate() -> (TlsAcceptor, NamedTempFile) {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let file = NamedTempFile::new().unwrap();
    std::fs::write(file.path(), made.cert.pem()).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let mut config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    (TlsAcceptor::from(Arc::new(config)), file)
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tls_http_2_is_negotiated_without_being_asked_for() {
    let (tls, trusted) = certificate();
    let second = Second::start(Some(tls)).await;
    let world = World::embedded()
        .set("CONVERSATION_SERVICE_URL", format!("https://localhost:{}/ask", second.port))
        .set("SSL_CERT_FILE", trusted.path().display())
        .await;
    every_call_over_one_connection(&world, &second).await;
}
