//! What the tool that has RabbitMQ's letters in hand tells others who want to look: what is still there at that moment.
//! They ask page by page, so nobody is sent more than he has room for, and nothing is remembered of him here.
//!
//! The words are versioned: tools of different versions meet on one broker.

use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use shared::queue::Letter;
use uuid::Uuid;

use super::carried::Carried;
use super::entry::Entry;
use super::spill::Reader;

/// A reader takes this and every earlier one.
pub const VERSION: u32 = 1;

/// Heads in one answer: half a megabyte.
const HEADS: usize = 1000;

/// Bytes of letters in one answer, beside its last letter.
const BYTES: usize = 1024 * 1024;

/// What a tool has the letters in hand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// It gives all back at once.
    Look,
    Change,
    /// One that is not known yet.
    #[serde(other)]
    Another,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Asked {
    pub v: u32,
    pub want: Want,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Want {
    /// The heads from this number on; of that round, if it is not the first page.
    Heads { round: Option<Uuid>, from: usize },
    /// As many of these, from the first on, as fit in an answer.
    Letters { round: Uuid, numbers: Vec<usize> },
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Told {
    pub v: u32,
    pub by: Purpose,
    pub told: Content,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Content {
    /// It takes them or gives them back just now.
    Soon,
    /// It has taken them anew since: begin again.
    Anew,
    /// The question is of a later version.
    What,
    Heads {
        round: Uuid,
        heads: Vec<Head>,
        /// Where the next page begins; none where this is the last one.
        next: Option<usize>,
    },
    /// None: it is gone, or its bytes were not kept.
    Letters(Vec<(usize, Option<Carried>)>),
}

/// A letter without its bytes.
#[derive(Debug, Serialize, Deserialize)]
pub struct Head {
    pub number: usize,
    pub id: String,
    pub letter: Letter,
    pub update_bytes: usize,
    pub has_rest: bool,
    pub copies: usize,
}

/// Where the one tool shows what it has. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Board(Arc<Mutex<Shown>>);

struct Shown {
    by: Purpose,
    /// None while the letters are on their way.
    open: Option<Arc<Open>>,
}

struct Open {
    /// Another one each time that the letters are taken.
    round: Uuid,
    entries: Vec<Arc<Entry>>,
    bytes: Reader,
}

impl Board {
    pub fn new(by: Purpose) -> Self {
        Self(Arc::new(Mutex::new(Shown { by, open: None })))
    }

    pub fn show(&self, entries: Vec<Arc<Entry>>, bytes: Reader) {
        self.lock().open = Some(Arc::new(Open { round: Uuid::new_v4(), entries, bytes }));
    }

    pub fn hide(&self) {
        self.lock().open = None;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Shown> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn answer(&self, words: &[u8]) -> Vec<u8> {
        let (by, open) = {
            let shown = self.lock();
            (shown.by, shown.open.clone())
        };
        let asked = serde_json::from_slice::<Asked>(words).ok().filter(|asked| asked.v <= VERSION);
        let told = match (asked, open) {
            (None, _) => Content::What,
            (Some(_), None) => Content::Soon,
            (Some(asked), Some(open)) => open.tell(asked.want),
        };
        serde_json::to_vec(&Told { v: VERSION, by, told }).unwrap_or_default()
    }
}

impl Open {
    fn tell(&self, want: Want) -> Content {
        match want {
            Want::Heads { round: Some(round), .. } | Want::Letters { round, .. } if round != self.round => {
                Content::Anew
            }
            Want::Heads { from, .. } => self.heads(from),
            Want::Letters { numbers, .. } => self.letters(&numbers),
        }
    }

    fn heads(&self, from: usize) -> Content {
        let numbered = self.entries.iter().enumerate().skip(from).filter(|(_, entry)| !entry.is_gone());
        let heads: Vec<Head> = numbered.take(HEADS).map(|(number, entry)| head(number, entry)).collect();
        let next = heads.last().filter(|_| heads.len() == HEADS).map(|last| last.number + 1);
        Content::Heads { round: self.round, heads, next }
    }

    fn letters(&self, numbers: &[usize]) -> Content {
        let (mut letters, mut bytes) = (Vec::new(), 0);
        for &number in numbers {
            let entry = self.entries.get(number).filter(|entry| !entry.is_gone());
            let letter = entry.and_then(|entry| self.bytes.letter(entry));
            bytes +=
                letter.as_ref().map_or(0, |it| it.body.len() + it.rest.as_ref().map_or(0, |it| it.len()));
            letters.push((number, letter.map(Carried::of)));
            if bytes >= BYTES {
                break;
            }
        }
        Content::Letters(letters)
    }
}

fn head(number: usize, entry: &Entry) -> Head {
    Head {
        number,
        id: entry.id.clone(),
        letter: entry.letter.clone(),
        update_bytes: entry.update_bytes,
        has_rest: entry.has_rest,
        copies: entry.places.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dead::entry::Place;
    use crate::dead::spill::Spill;

    /// Written by version 1: a tool of one version asks one of another.
    const ASKED: &str = r#"{"v":1,"want":{"heads":{"round":null,"from":0}}}"#;

    fn board(count: usize) -> (Board, Vec<Arc<Entry>>) {
        let entries: Vec<Arc<Entry>> = (0..count)
            .map(|at| {
                let letter = Letter::malformed(String::new(), None, None, "x".into());
                Arc::new(Entry::new(at.to_string(), letter, Place::Embedded(0)))
            })
            .collect();
        let board = Board::new(Purpose::Change);
        board.show(entries.clone(), Spill::new().unwrap().reader().unwrap());
        (board, entries)
    }

    fn told(board: &Board, words: &str) -> Content {
        serde_json::from_slice::<Told>(&board.answer(words.as_bytes())).unwrap().told
    }

    #[test]
    fn what_is_still_there_is_told_page_by_page() {
        let (board, entries) = board(2 * HEADS + 10);
        entries[3].goes();
        let Content::Heads { round, heads, next } = told(&board, ASKED) else { panic!() };
        assert_eq!((heads.len(), next), (HEADS, Some(HEADS + 1)));
        entries[2 * HEADS].goes();
        let ask = |from, round| {
            serde_json::to_string(&Asked { v: 1, want: Want::Heads { round: Some(round), from } }).unwrap()
        };
        let Content::Heads { next: Some(from), .. } = told(&board, &ask(HEADS + 1, round)) else { panic!() };
        let Content::Heads { heads, next: None, .. } = told(&board, &ask(from, round)) else { panic!() };
        assert_eq!(heads.len(), 8);
        assert!(matches!(told(&board, &ask(0, Uuid::new_v4())), Content::Anew));
    }

    #[test]
    fn what_is_not_known_is_told_and_nothing_is_while_the_letters_are_under_way() {
        let (board, _) = board(1);
        for unknown in ["", "{}", &ASKED.replace(r#""v":1"#, r#""v":2"#)] {
            assert!(matches!(told(&board, unknown), Content::What), "{unknown}");
        }
        board.hide();
        assert!(matches!(told(&board, ASKED), Content::Soon));
        let later = r#"{"v":1,"by":"polish","told":"soon"}"#;
        assert_eq!(serde_json::from_str::<Told>(later).unwrap().by, Purpose::Another);
    }
}
