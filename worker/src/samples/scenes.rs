//! What the sample services say. A pure function per service, from the request's body to the answer; a body
//! that cannot be read plays like an empty one.

use serde_json::{Value, json};
use shared::json::Json;

/// How a service answers.
#[derive(Debug, PartialEq)]
pub(super) enum Scene {
    Answer(Value),
    Slowly(Value),
    /// An internal server error.
    Failure,
}

struct Person {
    id: &'static str,
    name: &'static str,
    about: &'static str,
}

const PEOPLE: [Person; 5] = [
    Person { id: "mira", name: "Mira", about: "29, Lisbon. Climbs rocks, bakes bread, forgets umbrellas." },
    Person {
        id: "jonas",
        name: "Jonas",
        about: "34, Tromsø. Repairs accordions and photographs the northern lights.",
    },
    Person {
        id: "amara",
        name: "Amara",
        about: "31, Accra. Chess in the park, jollof for twelve, always early.",
    },
    Person { id: "teo", name: "Teo", about: "27, Oaxaca. Paints murals; has opinions about hot chocolate." },
    Person {
        id: "yuki",
        name: "Yuki",
        about: "36, Sapporo. Marathon runner, very slow reader, owns three telescopes.",
    },
];

const WELCOME: &str = "\
👋 Welcome! I am the demo of tgw.

Here is somebody you could meet; /help says what else I can do.";

const HELP: &str = "\
What you can try here:

• Write anything: the conversation service repeats it.
• Write “match”: it shows you somebody to meet.
• Press the buttons: the matching service changes the message.
• /start, /help, /profile: the user profile service answers.

And to see the gateway at work:

• “slow”: the service thinks for three seconds. Write on meanwhile: the answers come in order.
• “fail”: the service breaks. You get an apology, and the update waits among the dead letters.
• “long”: an answer longer than Telegram allows, in pieces.";

/// The conversation: an echo, and the way to a match.
pub(super) fn conversation(body: &[u8]) -> Scene {
    let message = field(body, "message").unwrap_or_default();
    let words = message.to_lowercase();
    let wants_match = words
        .split(|char: char| !char.is_alphanumeric())
        .any(|word| matches!(word, "match" | "meet" | "date" | "connect"));
    match words.trim() {
        "" => Scene::Answer(text("I can read texts. /help says what else there is.")),
        "fail" => Scene::Failure,
        "slow" => Scene::Slowly(text("…that took me three seconds. Thank you for waiting!")),
        "long" => Scene::Answer(text(&long_story())),
        _ if wants_match => {
            Scene::Answer(json!([text("Let me see who is around…"), card("text", &PEOPLE[0])]))
        }
        _ => Scene::Answer(text(&format!("You said: {message}"))),
    }
}

/// The matching: a button is pressed, and its message changes.
pub(super) fn matching(body: &[u8]) -> Scene {
    let target = field(body, "target_user_id").unwrap_or_default();
    let at = PEOPLE.iter().position(|person| person.id == target);
    let person = &PEOPLE[at.unwrap_or_default()];
    let (message, toast, show_alert) = match field(body, "action").unwrap_or_default().as_str() {
        "CONNECT" => (connect(person), format!("You waved at {}", person.name), false),
        "ACCEPT" => (accept(person), format!("You and {} are connected! 🎉", person.name), true),
        "REJECT" => (reject(person), "Maybe another time".to_owned(), false),
        _ => {
            let next = at.map_or(0, |at| (at + 1) % PEOPLE.len());
            (card("edit", &PEOPLE[next]), "Next, please".to_owned(), false)
        }
    };
    Scene::Answer(json!({"messages": [message], "answer": {"text": toast, "show_alert": show_alert}}))
}

/// The user profile: it greets, explains, and tells who one is. Its answer sets the session's user_id.
pub(super) fn user_profile(body: &[u8]) -> Scene {
    let user = member(body);
    let messages = match field(body, "command").unwrap_or_default().as_str() {
        "/start" => json!([text(WELCOME), card("text", &PEOPLE[0])]),
        "/profile" => {
            json!([text(&format!("You are {user} to the services behind me. They never need your name."))])
        }
        _ => json!([text(HELP)]),
    };
    Scene::Answer(json!({"messages": messages, "user_id": user}))
}

/// The notification: it would remember who blocked the bot; the sample has nothing to say.
pub(super) fn notification(_body: &[u8]) -> Scene {
    Scene::Answer(json!({"type": "none"}))
}

fn connect(person: &Person) -> Value {
    let Person { name, about, .. } = person;
    json!({
        "type": "edit",
        "content": format!("💌 {name} waved back!\n\n{about}\n\nDo you want to be connected?"),
        "buttons": [[button("✅ Accept", "ACCEPT", person), button("❌ Decline", "REJECT", person)]],
    })
}

fn accept(person: &Person) -> Value {
    let content = format!(
        "🎉 You and {} are connected.\n\nSay hello: I repeat what you write, {} is shy.",
        person.name, person.name
    );
    json!({"type": "edit", "content": content})
}

fn reject(person: &Person) -> Value {
    json!({
        "type": "edit",
        "content": format!("You let {} pass. There are others!", person.name),
        "buttons": [[button("➡️ Who else?", "SKIP", person)]],
    })
}

/// Somebody to meet, as a new message or in place of the one whose button was pressed.
fn card(kind: &str, person: &Person) -> Value {
    json!({
        "type": kind,
        "content": format!("🙂 {}\n{}", person.name, person.about),
        "buttons": [[button("💌 Connect", "CONNECT", person), button("➡️ Skip", "SKIP", person)]],
    })
}

fn button(text: &str, action: &str, person: &Person) -> Value {
    json!({"text": text, "callback_data": format!("{action}:{}", person.id)})
}

fn text(content: &str) -> Value {
    json!({"type": "text", "content": content})
}

fn long_story() -> String {
    let chapter = |number: usize| {
        let line = "Once there was a message that was too long for one message. ";
        format!("Chapter {number}\n\n{}", line.repeat(12).trim_end())
    };
    (1..=8).map(chapter).collect::<Vec<_>>().join("\n\n")
}

/// The internal id of a user, made of Telegram's: a real service would look it up.
fn member(body: &[u8]) -> String {
    let id = json_of(body).and_then(|body| body.get("telegram_user_id")).and_then(Json::i64);
    id.map_or_else(|| "nobody".to_owned(), |id| format!("member_{id}"))
}

fn field(body: &[u8], name: &str) -> Option<String> {
    Some(json_of(body)?.get(name)?.string()?.into_owned())
}

fn json_of(body: &[u8]) -> Option<Json<'_>> {
    Json::parse(std::str::from_utf8(body).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::incoming::Incoming;
    use crate::reply::schema::{ANSWER, takes};
    use crate::reply::{Answer, answer_callback, calls};

    /// The methods of the calls that an answer becomes, and the text of the first.
    fn shown(scene: Scene) -> (Vec<String>, String) {
        let (Scene::Answer(answer) | Scene::Slowly(answer)) = scene else { panic!("a failure") };
        let pressed = Incoming::read(br#"{"update_id":1,"callback_query":{"id":"1","message":{"message_id":2,"chat":{"id":3,"type":"private"}}}}"#);
        assert!(takes(&answer.to_string(), ANSWER), "not as the schema says: {answer}");
        let answer = Answer::parse(200, None, answer.to_string().as_bytes()).unwrap();
        let mut made = calls(&answer, &pressed).unwrap();
        made.extend(answer_callback(&pressed, answer.answer.as_ref()).filter(|_| answer.answer.is_some()));
        let first = made.first().and_then(|call| call.params["text"].as_str()).unwrap_or_default().to_owned();
        (made.into_iter().map(|call| call.method).collect(), first)
    }

    fn matching_of(action: &str, target: &str) -> (Vec<String>, String) {
        shown(matching(format!(r#"{{"action":"{action}","target_user_id":{target}}}"#).as_bytes()))
    }

    #[test]
    fn the_conversation_repeats_and_finds_a_match() {
        assert_eq!(shown(conversation(br#"{"message":"hi there"}"#)).1, "You said: hi there");
        assert_eq!(
            shown(conversation(br#"{"message":"Find me a match!"}"#)).0,
            ["sendMessage", "sendMessage"]
        );
        assert_eq!(shown(conversation(br#"{"message":"long"}"#)).0, ["sendMessage", "sendMessage"]);
        assert_eq!(conversation(br#"{"message":"fail"}"#), Scene::Failure);
        assert!(matches!(conversation(br#"{"message":"slow"}"#), Scene::Slowly(_)));
        assert!(shown(conversation(b"not json")).1.contains("/help"));
    }

    #[test]
    fn each_button_changes_its_message_and_says_so() {
        for (action, target, text) in [
            ("CONNECT", "\"jonas\"", "Jonas waved back"),
            ("ACCEPT", "\"amara\"", "You and Amara are connected"),
            ("REJECT", "\"teo\"", "You let Teo pass"),
            ("SKIP", "\"mira\"", "Jonas"),
            ("SKIP", "\"yuki\"", "Mira"),
            ("SKIP", "null", "Mira"),
        ] {
            let (methods, shown) = matching_of(action, target);
            assert_eq!(methods, ["editMessageText", "answerCallbackQuery"]);
            assert!(shown.contains(text), "{action} {target}: {shown}");
        }
    }

    #[test]
    fn the_profile_greets_explains_and_names() {
        let profile = |command: &str| {
            shown(user_profile(format!(r#"{{"telegram_user_id":42,"command":"{command}"}}"#).as_bytes()))
        };
        assert_eq!(profile("/start").0, ["sendMessage", "sendMessage"]);
        assert!(profile("/help").1.contains("/profile"));
        assert!(profile("/profile").1.contains("member_42"));
        assert!(shown(notification(b"{}")).0.is_empty());
    }
}
