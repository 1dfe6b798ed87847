//! What can be done with the letters of an embedded queue, and with the store beside it, by the process that has the file
//! open.

use shared::queue::embedded::{Buried, Letters, Publisher};
use shared::queue::{Envelope, Letter};
use shared::store::{Store, StoreError, UpdateKey};

/// The claim's owner for what a replay writes before any worker has it.
pub const WRITER: &str = "tgw dead";

#[derive(Clone)]
pub struct Keeper {
    /// None where the queue is elsewhere and only the store is in the file.
    pub queue: Option<Queue>,
    pub store: Store,
}

#[derive(Clone)]
pub struct Queue {
    pub letters: Letters,
    pub publisher: Publisher,
}

/// In words for the operator.
type Told<T> = Result<T, String>;

impl Keeper {
    fn queue(&self) -> Told<&Queue> {
        self.queue
            .as_ref()
            .ok_or_else(|| "the letters are not in this gateway's file: set AMQP_URL".to_owned())
    }

    /// The next `limit` letters behind that place. What is damaged on the disk is a malformed letter.
    pub async fn page(&self, after: Option<u64>, limit: usize) -> Told<Vec<(u64, Letter)>> {
        let page = self.queue()?.letters.page(after, limit).await.map_err(|error| error.to_string())?;
        Ok(page.into_iter().map(Buried::whole).collect())
    }

    pub async fn letter(&self, place: u64) -> Told<Option<Letter>> {
        let page = self.page(place.checked_sub(1), 1).await?;
        Ok(page.into_iter().find(|(found, _)| *found == place).map(|(_, letter)| letter))
    }

    /// Whether a replay can be told from one before.
    pub async fn can_replay(&self) -> Told<()> {
        ask_store(&self.store).await
    }

    /// What is still to send of a letter that lies elsewhere, for its next replay.
    pub async fn keep_rest(&self, letter: &Letter) -> Told<()> {
        let Some(again) = letter.again(WRITER) else { return Ok(()) };
        keep_rest(&self.store, letter, &again).await.map_err(|error| error.to_string())
    }

    /// Each is published and removed at once, in one transaction, so that no letter is ever in both places.
    pub async fn replay(&self, places: Vec<u64>, by: String) -> Told<u64> {
        for place in &places {
            let letter = self.letter(*place).await?;
            let again = letter.as_ref().and_then(|letter| letter.again(&by));
            if let (Some(letter), Some(again)) = (&letter, &again) {
                keep_rest(&self.store, letter, again).await.map_err(|error| error.to_string())?;
            }
        }
        self.queue()?.letters.replay(places, by).await.map_err(|error| error.to_string())
    }

    pub async fn remove(&self, places: Vec<u64>) -> Told<u64> {
        self.queue()?.letters.remove(places).await.map_err(|error| error.to_string())
    }

    pub async fn bury(&self, letter: &Letter) -> Told<()> {
        self.queue()?.publisher.bury(letter).await.map_err(|error| error.to_string())
    }
}

/// An error where nobody could tell what was replayed before.
pub async fn ask_store(store: &Store) -> Told<()> {
    let name = if matches!(store, Store::Redis(_)) { "Redis" } else { "the store" };
    let away = || format!("{name} is away: nobody could tell what was replayed before, so nothing is");
    if store.answers_soon().await { Ok(()) } else { Err(away()) }
}

/// What is still to send is the replay's answer: where it lies before the update comes, no service is asked.
pub async fn keep_rest(store: &Store, letter: &Letter, again: &Envelope) -> Result<(), StoreError> {
    let Some(rest) = &letter.rest else { return Ok(()) };
    let key = UpdateKey {
        bot: again.bot.unwrap_or_default(),
        update_id: again.update_id,
        replay: again.replay,
        owner: letter.user_id.or(letter.chat_id).unwrap_or(0),
    };
    match store.plan(&key, WRITER, rest, None).await {
        // A worker has it already: this replay was broken off before, behind the publish.
        Ok(()) | Err(StoreError::Fenced) => Ok(()),
        Err(away) => Err(away),
    }
}
