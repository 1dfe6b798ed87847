//! What messages of services need to know: whose an internal id is, and which message a key was given to. Each is a
//! key by itself, so a cluster spreads them.

use std::sync::LazyLock;

use redis::AsyncCommands as _;

use super::Store;
use super::call::Known;
use super::keys::Keys;
use crate::store::{Address, StoreError, UpdateKey, named};

/// Who was given a name has it; who had it before keeps it only where nobody else has it.
static KEEP: LazyLock<Known> = LazyLock::new(|| {
    Known::new(
        "local known = redis.call('GET', KEYS[1])
         if known and known ~= ARGV[1] and ARGV[3] ~= '1' then return 0 end
         redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
         return 1",
    )
});
/// What is there stays, and is told.
static ONCE: LazyLock<Known> = LazyLock::new(|| {
    Known::new(
        "local known = redis.call('GET', KEYS[1])
         if not known then redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2]) end
         return known",
    )
});

impl Store {
    pub(in crate::store) async fn keep_address(&self, address: &Address<'_>) -> Result<(), StoreError> {
        let key = [name(address.bot, address.user_id)];
        let mut call = KEEP.over(&key);
        call.arg(address.user).arg(address.seconds).arg(address.given);
        self.call::<i64>(&call).await.map(|_| ())
    }

    pub(in crate::store) async fn address(&self, bot: u64, user_id: &str) -> Result<Option<i64>, StoreError> {
        let name = name(bot, user_id);
        self.guard(&name, async |mut connection| connection.get(&name).await).await
    }

    pub(in crate::store) async fn session(&self, bot: u64, user: i64) -> Result<Option<String>, StoreError> {
        let name = Keys(&UpdateKey { bot, update_id: 0, replay: 0, owner: user }).session();
        self.guard(&name, async |mut connection| connection.get(&name).await).await
    }

    pub(in crate::store) async fn message_once(
        &self,
        bot: u64,
        key: &str,
        message: &str,
        seconds: u64,
    ) -> Result<Option<String>, StoreError> {
        let key = [format!("tgw:message:{bot}:{}", named(key))];
        let mut call = ONCE.over(&key);
        call.arg(message).arg(seconds);
        self.call(&call).await
    }
}

fn name(bot: u64, user_id: &str) -> String {
    format!("tgw:address:{bot}:{}", named(user_id))
}
