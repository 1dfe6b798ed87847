//! Commands, case by case, beside what grammY and aiogram take for one: `tests/peers/commands.json`, whose
//! verdicts of these two are made by running them (`tests/peers/commands.py`).

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Table;
use crate::incoming::Incoming;

const CASES: &str = include_str!("../../../tests/peers/commands.json");

/// A message, the command that a row has, and who takes it: by the arguments, empty where there are none.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    text: String,
    command: String,
    /// Of a bot_command at the text's beginning.
    length: Option<u64>,
    entities: Option<Value>,
    #[serde(default)]
    caption: bool,
    kind: Option<String>,
    chat: Option<String>,
    ours: Option<String>,
    grammy: Option<String>,
    aiogram: Option<String>,
    reason: Option<String>,
}

impl Case {
    fn update(&self) -> Incoming {
        let (kind, chat) =
            (self.kind.as_deref().unwrap_or("message"), self.chat.as_deref().unwrap_or("private"));
        let (field, entities) =
            if self.caption { ("caption", "caption_entities") } else { ("text", "entities") };
        let mut message = Map::from_iter([
            ("chat".to_owned(), json!({"id": 42, "type": chat})),
            ("from".to_owned(), json!({"id": 42})),
            (field.to_owned(), json!(self.text)),
        ]);
        if self.caption {
            message.insert("photo".to_owned(), json!([{}]));
        }
        let command = |length| json!([{"type": "bot_command", "offset": 0, "length": length}]);
        if let Some(given) = self.entities.clone().or(self.length.map(command)) {
            message.insert(entities.to_owned(), given);
        }
        Incoming::read(json!({"update_id": 7, kind: message}).to_string().as_bytes())
    }

    /// What a row with this command does with it.
    fn verdict(&self) -> Option<String> {
        let row = format!("[[routes]]\ncommand = \"/{}\"\nservice = \"user_profile\"\n", self.command);
        let (table, update) = (Table::parse(&row, "routes.toml", &|_| None).unwrap(), self.update());
        table.find(&update, Some("sample_bot"))?;
        Some(update.command.unwrap().args.unwrap_or_default())
    }
}

#[test]
fn sixty_commands_are_taken_as_recorded_and_each_difference_has_its_reason() {
    let cases: Vec<Case> = serde_json::from_str(CASES).unwrap();
    assert_eq!(cases.len(), 60);
    for case in &cases {
        assert_eq!(case.verdict(), case.ours, "{case:?}");
        let agree = case.grammy == case.ours && case.aiogram == case.ours;
        assert_eq!(case.reason.is_none(), agree, "a reason where they differ, and only there: {case:?}");
    }
    // Where the two agree with each other, so do we, but for two rules of the contract.
    let apart = cases.iter().filter(|case| case.grammy == case.aiogram && case.ours != case.grammy);
    for case in apart {
        let reason = case.reason.as_deref().unwrap();
        assert!(["case: ", "trimmed: "].iter().any(|rule| reason.starts_with(rule)), "{case:?}");
    }
}
