//! The names of what is kept, and where in a cluster each lies.

use super::super::UpdateKey;

/// The parts of a cluster that are away or not each for itself: runs of 1024 of its 16384 slots, of which a server has
/// a few runs by custom.
pub(super) const PARTS: usize = 16;
const SLOTS: u16 = 16_384;

/// The names of an update's keys, all under the hash tag `{bot:owner}`.
pub(super) struct Keys<'a>(pub &'a UpdateKey);

/// Most names are shorter.
const LENGTH: usize = 64;

/// By parts: some six names are made for an update, and `format!` takes six times as long for one.
impl Keys<'_> {
    fn name(&self, rest: &str) -> String {
        let mut name = String::with_capacity(LENGTH);
        name.push_str("tgw:{");
        push(&mut name, self.0.bot);
        name.push(':');
        push(&mut name, self.0.owner);
        name.push_str("}:");
        name.push_str(rest);
        name
    }

    pub fn update(&self) -> String {
        let mut name = self.name("update:");
        push(&mut name, self.0.update_id);
        name.push(':');
        push(&mut name, self.0.replay);
        name
    }

    pub fn session(&self) -> String {
        self.name("session")
    }

    pub fn bucket(&self) -> String {
        self.name("charges")
    }

    pub fn album(&self, album: &str) -> String {
        let mut name = self.name("album:");
        name.push_str(album);
        name
    }

    pub fn sticky(&self, chat: i64) -> String {
        let mut name = self.name("sticky:");
        push(&mut name, chat);
        name
    }

    pub fn notice(&self) -> String {
        self.name("notice")
    }
}

fn push(name: &mut String, number: impl itoa::Integer) {
    name.push_str(itoa::Buffer::new().format(number));
}

pub(super) fn parked(bot: u64) -> String {
    format!("tgw:{{{bot}}}:parked")
}

/// Of a bot, where `parked` is.
pub(super) fn replies(bot: u64) -> String {
    format!("tgw:{{{bot}}}:replies")
}

/// For each part a key that lies in it, to ask how it is.
pub(super) fn pings(parts: usize) -> Vec<String> {
    if parts < 2 {
        return vec!["tgw:ping".to_owned()];
    }
    let name = |n: u32| format!("tgw:ping:{n}");
    (0..parts).map(|part| (0..).map(name).find(|name| part_of(name) == part).unwrap_or_default()).collect()
}

/// Which of the [`PARTS`] a key lies in.
pub(super) fn part_of(key: &str) -> usize {
    usize::from(slot(key)) / (usize::from(SLOTS) / PARTS)
}

/// The slot of a key, by its hash tag if it has one: CRC16 (XMODEM) modulo 16384, as Redis Cluster's specification has
/// it.
fn slot(key: &str) -> u16 {
    let tag = key.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(tag, _)| tag);
    let hashed = tag.filter(|tag| !tag.is_empty()).unwrap_or(key);
    let crc = hashed.bytes().fold(0u16, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
        })
    });
    crc % SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keys_slot_is_the_one_that_redis_has_for_it() {
        // As CLUSTER KEYSLOT answers.
        assert_eq!(
            ["123456789", "foo", "bar", "{foo}.a", "a{foo}{bar}"].map(slot),
            [12739, 12182, 5061, 12182, 12182]
        );
        assert_ne!(slot("{}foo"), slot("foo"));
    }

    #[test]
    fn each_part_has_a_key_of_its_own_to_be_asked_by() {
        let parts: Vec<usize> = pings(PARTS).iter().map(|name| part_of(name)).collect();
        assert_eq!(parts, (0..PARTS).collect::<Vec<_>>());
        assert_eq!(pings(1), ["tgw:ping"]);
    }

    /// What is kept under a name is found again by a later version.
    #[test]
    fn the_names_stay_what_they_are() {
        let key = UpdateKey { bot: 7, update_id: 12, replay: 3, owner: -100 };
        let keys = Keys(&key);
        assert_eq!(keys.update(), "tgw:{7:-100}:update:12:3");
        assert_eq!(keys.session(), "tgw:{7:-100}:session");
        assert_eq!(keys.bucket(), "tgw:{7:-100}:charges");
        assert_eq!(keys.album("a"), "tgw:{7:-100}:album:a");
        assert_eq!(keys.sticky(-5), "tgw:{7:-100}:sticky:-5");
        assert_eq!(keys.notice(), "tgw:{7:-100}:notice");
        let farthest = UpdateKey { bot: u64::MAX, update_id: u64::MAX, replay: u32::MAX, owner: i64::MIN };
        let name = "tgw:{18446744073709551615:-9223372036854775808}:update:18446744073709551615:4294967295";
        assert_eq!(Keys(&farthest).update(), name);
    }

    #[test]
    fn all_keys_of_an_update_lie_in_one_slot() {
        let key = UpdateKey { bot: 7, update_id: 1, replay: 0, owner: -100 };
        let keys = Keys(&key);
        let names = [
            keys.update(),
            keys.session(),
            keys.bucket(),
            keys.album("a}{b"),
            keys.sticky(-1),
            keys.notice(),
        ];
        assert!(names.iter().all(|name| slot(name) == slot("7:-100")), "{names:?}");
    }
}
