//! What messages of services need to know: whose an internal id is, and which message a key was given to.

use super::{Store, key};
use crate::store::{Address, StoreError, named};

impl Store {
    pub async fn keep_address(&self, address: &Address<'_>) -> Result<(), StoreError> {
        let at = key::address(address.bot, named(address.user_id));
        let (user, given, ttl_ms) =
            (address.user.to_be_bytes(), address.given, address.seconds.saturating_mul(1000));
        self.write(move |shelf| {
            let anothers = shelf.get(&at)?.is_some_and(|known| known != user);
            if given || !anothers {
                shelf.put(&at, &user, ttl_ms)?;
            }
            Ok(Ok(()))
        })
        .await
    }

    pub async fn address(&self, bot: u64, user_id: &str) -> Result<Option<i64>, StoreError> {
        let at = key::address(bot, named(user_id));
        let known = self.write(move |shelf| Ok(Ok(shelf.get(&at)?))).await?;
        Ok(known.and_then(|known| known.try_into().ok()).map(i64::from_be_bytes))
    }

    pub async fn session(&self, bot: u64, user: i64) -> Result<Option<String>, StoreError> {
        let at = key::session(bot, user);
        let known = self.write(move |shelf| Ok(Ok(shelf.get(&at)?))).await?;
        Ok(known.and_then(|known| String::from_utf8(known).ok()))
    }

    pub async fn message_once(
        &self,
        bot: u64,
        key: &str,
        message: &str,
        seconds: u64,
    ) -> Result<Option<String>, StoreError> {
        let (at, message) = (key::message(bot, named(key)), message.to_owned());
        self.write(move |shelf| {
            let known = shelf.get(&at)?;
            if known.is_none() {
                shelf.put(&at, message.as_bytes(), seconds.saturating_mul(1000))?;
            }
            Ok(Ok(known.and_then(|known| String::from_utf8(known).ok())))
        })
        .await
    }
}
