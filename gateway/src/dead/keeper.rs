//! What can be done with the letters of an embedded queue, by the process that has its file open.

use shared::queue::embedded::{Buried, Letters, Publisher};
use shared::queue::{Envelope, Letter};
use shared::store::{Store, StoreError, UpdateKey};

/// The claim's owner for what a replay writes before any worker has it.
pub const WRITER: &str = "tgw dead";

#[derive(Clone)]
pub struct Keeper {
    pub letters: Letters,
    pub publisher: Publisher,
    pub store: Store,
}

/// In words for the operator.
type Told<T> = Result<T, String>;

impl Keeper {
    /// The next `limit` letters behind that place. What is damaged on the disk is a malformed letter.
    pub async fn page(&self, after: Option<u64>, limit: usize) -> Told<Vec<(u64, Letter)>> {
        let page = self.letters.page(after, limit).await.map_err(|error| error.to_string())?;
        let no_letter = |bytes| Letter::malformed("damaged on the disk".to_owned(), None, None, bytes);
        let whole = |Buried { place, letter }| (place, letter.unwrap_or_else(no_letter));
        Ok(page.into_iter().map(whole).collect())
    }

    pub async fn letter(&self, place: u64) -> Told<Option<Letter>> {
        let page = self.page(place.checked_sub(1), 1).await?;
        Ok(page.into_iter().find(|(found, _)| *found == place).map(|(_, letter)| letter))
    }

    /// Whether a replay can be told from one before.
    pub async fn can_replay(&self) -> Told<()> {
        let away = "the store is away: nobody could tell what was replayed before, so nothing is";
        self.store.ping().await.map_err(|_| away.to_owned())
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
        self.letters.replay(places, by).await.map_err(|error| error.to_string())
    }

    pub async fn remove(&self, places: Vec<u64>) -> Told<u64> {
        self.letters.remove(places).await.map_err(|error| error.to_string())
    }

    pub async fn bury(&self, letter: &Letter) -> Told<()> {
        self.publisher.bury(letter).await.map_err(|error| error.to_string())
    }
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
