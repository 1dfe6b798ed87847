//! The desk at which others are answered while a tool has RabbitMQ's letters in hand; what they are told is the board's.

use std::time::Duration;

use shared::queue::rabbitmq::{Desk, Settings};
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::board::Board;

/// After the desk was lost.
const AGAIN: Duration = Duration::from_millis(200);

/// The broker's goodbye to a desk that is closed.
const GOODBYE: Duration = Duration::from_secs(1);

/// A desk that is open, until it is closed or dropped.
pub struct Serving {
    stop: DropGuard,
    task: JoinHandle<()>,
}

impl Serving {
    /// Answers whoever asks. Where the desk is lost the letters are none the worse; it is opened again.
    pub fn begin(settings: Settings, board: Board, desk: Desk) -> Self {
        let stop = CancellationToken::new();
        let task = tokio::spawn(serve(settings, board, desk, stop.clone()));
        Self { stop: stop.drop_guard(), task }
    }

    /// When the letters are given back: who asks until then is told that it won't be long.
    pub async fn end(self) {
        drop(self.stop);
        let _ = tokio::time::timeout(GOODBYE, self.task).await;
    }
}

async fn serve(settings: Settings, board: Board, mut desk: Desk, stop: CancellationToken) {
    loop {
        while let Some(question) = stop.run_until_cancelled(desk.next()).await.flatten() {
            let words = board.answer(&question.words);
            if desk.answer(question, &words).await.is_err() {
                break;
            }
        }
        desk.close().await;
        let opening = async {
            loop {
                tokio::time::sleep(AGAIN).await;
                if let Ok(desk) = Desk::open(&settings).await {
                    break desk;
                }
            }
        };
        match stop.run_until_cancelled(opening).await {
            Some(opened) => desk = opened,
            None => return,
        }
    }
}
