//! What lies where: a byte for the kind of thing, then the numbers that tell one from another.

use uuid::Uuid;

use super::UpdateKey;

pub(super) type Key = Vec<u8>;

// On people's disks: a number is never given to another kind.
const ENDED: u8 = 1;
const OPEN: u8 = 2;
const PLAN: u8 = 3;
const DYING: u8 = 4;
const SESSION: u8 = 5;
const BUCKET: u8 = 6;
const ALBUM: u8 = 7;
const NOTICE: u8 = 8;
const STICKY: u8 = 9;
const ADDRESS: u8 = 10;
const MESSAGE: u8 = 11;

/// How an update ended.
pub(super) fn ended(key: &UpdateKey) -> Key {
    of_update(ENDED, key)
}

/// What is known of an update that has not ended.
pub(super) fn open(key: &UpdateKey) -> Key {
    of_update(OPEN, key)
}

pub(super) fn plan(key: &UpdateKey) -> Key {
    of_update(PLAN, key)
}

pub(super) fn dying(key: &UpdateKey) -> Key {
    of_update(DYING, key)
}

pub(super) fn session(bot: u64, user: i64) -> Key {
    of_user(SESSION, bot, user)
}

pub(super) fn bucket(key: &UpdateKey) -> Key {
    of_user(BUCKET, key.bot, key.owner)
}

/// The verdict on a media group.
pub(super) fn album(key: &UpdateKey, album: &str) -> Key {
    [&of_user(ALBUM, key.bot, key.owner), album.as_bytes()].concat()
}

pub(super) fn notice(key: &UpdateKey) -> Key {
    of_user(NOTICE, key.bot, key.owner)
}

/// Where a user's free texts in that chat go.
pub(super) fn sticky(key: &UpdateKey, chat: i64) -> Key {
    [&of_user(STICKY, key.bot, key.owner)[..], &chat.to_be_bytes()].concat()
}

/// Whose an internal id is, by what it is named there.
pub(super) fn address(bot: u64, user_id: Uuid) -> Key {
    [&[ADDRESS][..], &bot.to_be_bytes(), user_id.as_bytes()].concat()
}

/// Which message a service's key was given to.
pub(super) fn message(bot: u64, key: Uuid) -> Key {
    [&[MESSAGE][..], &bot.to_be_bytes(), key.as_bytes()].concat()
}

fn of_update(kind: u8, key: &UpdateKey) -> Key {
    let UpdateKey { bot, update_id, replay, .. } = key;
    [&[kind][..], &bot.to_be_bytes(), &update_id.to_be_bytes(), &replay.to_be_bytes()].concat()
}

fn of_user(kind: u8, bot: u64, user: i64) -> Key {
    [&[kind][..], &bot.to_be_bytes(), &user.to_be_bytes()].concat()
}
