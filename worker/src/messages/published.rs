//! What a service may post, as types: the published schema is made of them. The worker itself reads by hand (`body`); the
//! tests hold the two together.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::body::{Body, Priority};
use crate::reply::published::Message;
use crate::reply::schema::{examples, holds, published, takes};

const MESSAGE: &str = include_str!("../../../shared/schema/service-message.json");

/// The body of `POST /v1/messages`: to whom, and what. Unknown fields are ignored.
#[derive(Deserialize, Serialize, JsonSchema)]
#[schemars(title = "What a service sends of its own accord")]
#[schemars(extend("oneOf" = [{"required": ["chat_id"]}, {"required": ["user_id"]}]))]
pub struct ServiceMessage {
    /// The chat's number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chat_id: Option<i64>,
    /// The user's internal id.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub user_id: Option<String>,
    /// The forum topic in the chat.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_thread_id: Option<i64>,
    /// Which goes first where not all can: `reply` with a request_id, else `notification`, unless it is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priority>,
    /// The request_id of what is answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"))]
    pub request_id: Option<String>,
    #[serde(flatten)]
    pub content: Content,
}

/// What is to be sent.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Content {
    Messages { messages: Messages },
    One(Box<Message>),
}

/// As in an answer.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Messages {
    Many(Vec<Message>),
    Several { messages: Vec<Message> },
    One(Box<Message>),
}

#[test]
fn the_published_schema_is_that_of_the_types() {
    published::<ServiceMessage>("service-message.json", MESSAGE);
}

#[test]
fn every_example_is_one_for_the_schema_for_the_types_and_for_the_code() {
    let all = examples("messages");
    assert!(all.len() >= 4);
    for (name, text) in all {
        assert!(takes(&text, MESSAGE), "the schema refuses {name}");
        assert!(Body::read(text.as_bytes()).is_ok_and(|body| !body.answer.messages.is_empty()), "{name}");
        let again = serde_json::to_value(serde_json::from_str::<ServiceMessage>(&text).unwrap()).unwrap();
        let before = serde_json::from_str(&text).unwrap();
        assert!(holds(&again, &before), "{name} has a field that the types do not know");
    }
}

#[test]
fn the_messages_in_the_document_are_right() {
    let document = include_str!("../../../docs/services.md");
    let blocks = document.split("```json\n").skip(1).filter_map(|rest| rest.split("```").next());
    let messages: Vec<_> = blocks.filter(|block| block.contains("\"priority\"")).collect();
    assert!(!messages.is_empty());
    for message in messages {
        assert!(takes(message, MESSAGE) && Body::read(message.as_bytes()).is_ok(), "{message}");
    }
}

/// What the code takes and what the schema takes, side by side.
#[test]
fn the_schema_agrees_with_the_code() {
    for (body, right) in [
        (r#"{"chat_id":5,"type":"text","content":"a","x":1}"#, true),
        (r#"{"chat_id":-5,"message_thread_id":7,"messages":[{"type":"none"}],"priority":"broadcast"}"#, true),
        (r#"{"user_id":"anna","messages":{"type":"text","content":"a"}}"#, true),
        (
            r#"{"user_id":"anna","messages":{"messages":[{"type":"text","content":"a"}]},"priority":null}"#,
            true,
        ),
        (r#"{"chat_id":5,"request_id":"7b9fa372-ec48-506c-8022-a499a9839f5c","type":"none"}"#, true),
        (r#"{"chat_id":5,"request_id":"1","type":"none"}"#, false),
        (r#"{"chat_id":5,"user_id":"anna","type":"none"}"#, false),
        (r#"{"type":"none"}"#, false),
        (r#"{"chat_id":"5","type":"none"}"#, false),
        (r#"{"user_id":"","type":"none"}"#, false),
        (r#"{"chat_id":5}"#, false),
        (r#"{"chat_id":5,"type":"hologram"}"#, false),
        (r#"{"chat_id":5,"messages":[{"type":"text"}]}"#, false),
        (r#"{"chat_id":5,"type":"none","priority":"urgent"}"#, false),
    ] {
        assert_eq!(takes(body, MESSAGE), right, "schema: {body}");
        assert_eq!(Body::read(body.as_bytes()).is_ok(), right, "code: {body}");
    }
}
