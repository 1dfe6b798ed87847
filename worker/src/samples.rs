//! The demo's own internal services: a small web server that answers what the four built-in services would,
//! so that `tgw demo` and `sample:` URLs need nothing else. It keeps no state and knows nothing of the
//! gateway: it speaks contract 4 from the other side. What it says is in `scenes`.

mod scenes;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use actix_web::{App, HttpResponse, HttpServer, web};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use scenes::Scene;

/// How long the sample thinks when it is told to be slow: under the time-out of a conversation.
const SLOW: Duration = Duration::from_secs(3);

/// Starts the services on a free port of this machine, at `/conversation`, `/matching`, `/user_profile` and
/// `/notification`, until `stop`. Must be called within a tokio runtime.
pub fn start(stop: CancellationToken) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    let app = || {
        App::new()
            .route("/conversation", web::post().to(|body| play(scenes::conversation, body)))
            .route("/matching", web::post().to(|body| play(scenes::matching, body)))
            .route("/user_profile", web::post().to(|body| play(scenes::user_profile, body)))
            .route("/notification", web::post().to(|body| play(scenes::notification, body)))
    };
    // The process that runs the demo has its own way to stop: no signal handler here.
    let server =
        HttpServer::new(app).workers(1).disable_signals().shutdown_timeout(1).listen(listener)?.run();
    let handle = server.handle();
    tokio::spawn(async move {
        let stopping = async {
            stop.cancelled().await;
            handle.stop(true).await;
        };
        let (ended, ()) = tokio::join!(server, stopping);
        if let Err(error) = ended {
            tracing::error!(%error, "the sample services ended");
        }
    });
    Ok(address)
}

async fn play(scene: fn(&[u8]) -> Scene, body: web::Bytes) -> HttpResponse {
    match scene(&body) {
        Scene::Answer(answer) => ok(answer),
        Scene::Slowly(answer) => {
            tokio::time::sleep(SLOW).await;
            ok(answer)
        }
        Scene::Failure => HttpResponse::InternalServerError().finish(),
    }
}

fn ok(answer: Value) -> HttpResponse {
    HttpResponse::Ok().json(answer)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    async fn post(address: SocketAddr, path: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: sample\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn the_samples_serve_until_they_are_stopped() {
        let stop = CancellationToken::new();
        let address = start(stop.clone()).unwrap();
        let answer = post(address, "/conversation", r#"{"message":"hello"}"#).await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("You said: hello"), "{answer}");
        assert!(post(address, "/conversation", r#"{"message":"fail"}"#).await.starts_with("HTTP/1.1 500"));
        assert!(post(address, "/elsewhere", "").await.starts_with("HTTP/1.1 404"));
        stop.cancel();
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    }
}
