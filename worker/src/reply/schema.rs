//! Holds the published JSON Schemas, the examples beside them and the code together: the schemas are made of the
//! types, and what one takes the other takes. The validator knows the keywords that our two schemas use and fails on
//! any other, which is less than a library brings.
//!
//! `TGW_WRITE_SCHEMAS=1 cargo test -p tgw-worker schema` writes the schemas anew.

use std::collections::BTreeSet;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde_json::{Map, Value};

use super::published::{Message, ServiceAnswer};
use super::{Answer, Call};
use crate::services::request::ServiceRequest;

/// The schemas, for the tests of the rooms that write requests and answers.
pub const REQUEST: &str = include_str!("../../../shared/schema/service-request.json");
pub const ANSWER: &str = include_str!("../../../shared/schema/service-answer.json");

/// Whether a schema takes a document; the second is the schema's text.
pub fn takes(document: &str, schema: &str) -> bool {
    let root: Value = serde_json::from_str(schema).unwrap();
    let document: Value = serde_json::from_str(document).unwrap();
    fits(&document, &root, &root)
}

fn fits(value: &Value, schema: &Value, root: &Value) -> bool {
    let schema = schema.as_object().unwrap();
    schema.iter().all(|(keyword, rule)| match keyword.as_str() {
        "$schema" | "$id" | "$defs" | "title" | "description" | "format" => true,
        "$ref" => fits(value, root.pointer(rule.as_str().unwrap().trim_start_matches('#')).unwrap(), root),
        "anyOf" => rule.as_array().unwrap().iter().any(|one| fits(value, one, root)),
        "oneOf" => rule.as_array().unwrap().iter().filter(|one| fits(value, one, root)).count() == 1,
        "allOf" => rule.as_array().unwrap().iter().all(|one| fits(value, one, root)),
        "enum" => rule.as_array().unwrap().contains(value),
        "const" => rule == value,
        "type" => match rule {
            Value::Array(types) => types.iter().any(|one| is_a(value, one)),
            one => is_a(value, one),
        },
        "pattern" => {
            let pattern = regex::Regex::new(rule.as_str().unwrap()).unwrap();
            value.as_str().is_none_or(|text| pattern.is_match(text))
        }
        "minLength" => {
            value.as_str().is_none_or(|text| text.chars().count() as u64 >= rule.as_u64().unwrap())
        }
        "maxLength" => {
            value.as_str().is_none_or(|text| text.chars().count() as u64 <= rule.as_u64().unwrap())
        }
        "minimum" => value.as_f64().is_none_or(|number| number >= rule.as_f64().unwrap()),
        "maximum" => value.as_f64().is_none_or(|number| number <= rule.as_f64().unwrap()),
        "items" => value.as_array().is_none_or(|items| items.iter().all(|item| fits(item, rule, root))),
        _ => value.as_object().is_none_or(|object| object_fits(object, keyword, rule, schema, root)),
    })
}

fn object_fits(
    object: &Map<String, Value>,
    keyword: &str,
    rule: &Value,
    schema: &Map<String, Value>,
    root: &Value,
) -> bool {
    match keyword {
        "required" => rule.as_array().unwrap().iter().all(|name| object.contains_key(name.as_str().unwrap())),
        "properties" => {
            let properties = rule.as_object().unwrap();
            properties.iter().all(|(name, one)| object.get(name).is_none_or(|value| fits(value, one, root)))
        }
        "additionalProperties" if rule == &Value::Bool(true) => true,
        "additionalProperties" => object.keys().all(|name| schema["properties"].get(name).is_some()),
        unknown => panic!("the validator does not know {unknown}"),
    }
}

fn is_a(value: &Value, name: &Value) -> bool {
    match name.as_str().unwrap() {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        unknown => panic!("there is no type {unknown}"),
    }
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/schema")
}

/// The schema of a type, as it is published.
fn schema_of<T: JsonSchema>(name: &str) -> String {
    let mut schema = schemars::schema_for!(T);
    schema.insert("$id".to_owned(), format!("https://tgw.invalid/schema/{name}").into());
    serde_json::to_string_pretty(&schema).unwrap() + "\n"
}

/// Holds a published schema to the type's, or writes it.
pub fn published<T: JsonSchema>(name: &str, published: &str) {
    let ours = schema_of::<T>(name);
    if std::env::var_os("TGW_WRITE_SCHEMAS").is_some() {
        std::fs::write(folder().join(name), &ours).unwrap();
    } else {
        assert!(published == ours, "{name} is not the types' schema: TGW_WRITE_SCHEMAS=1 writes it");
    }
}

#[test]
fn the_published_schemas_are_those_of_the_types() {
    published::<ServiceRequest<'_>>("service-request.json", REQUEST);
    published::<ServiceAnswer>("service-answer.json", ANSWER);
}

/// The examples of that folder: name and text.
pub fn examples(of: &str) -> Vec<(String, String)> {
    let files = std::fs::read_dir(folder().join("examples").join(of)).unwrap();
    let mut examples: Vec<_> = files
        .map(|file| file.unwrap().path())
        .map(|path| {
            (path.file_stem().unwrap().to_string_lossy().into_owned(), std::fs::read_to_string(path).unwrap())
        })
        .collect();
    examples.sort();
    examples
}

#[test]
fn the_requests_and_answers_in_the_document_are_right() {
    let document = include_str!("../../../docs/services.md");
    let blocks = document.split("```json\n").skip(1).filter_map(|rest| rest.split("```").next());
    // Those are `messages`' business.
    let blocks = blocks.filter(|block| !block.contains("\"priority\""));
    let (requests, answers): (Vec<&str>, Vec<&str>) = blocks.partition(|block| block.contains("request_id"));
    assert!(requests.len() >= 2 && answers.len() >= 3);
    assert!(requests.iter().all(|request| takes(request, REQUEST)), "{requests:#?}");
    for answer in answers {
        assert!(takes(answer, ANSWER) && Answer::parse(200, None, answer.as_bytes()).is_ok(), "{answer}");
    }
}

fn types(messages: &[Message]) -> impl Iterator<Item = String> {
    messages.iter().map(|message| serde_json::to_value(message).unwrap()["type"].as_str().unwrap().to_owned())
}

#[test]
fn every_example_of_an_answer_is_one_for_the_schema_for_the_types_and_for_the_code() {
    let mut seen = BTreeSet::new();
    for (name, text) in examples("answers") {
        assert!(takes(&text, ANSWER), "the schema refuses {name}");
        let read = Answer::parse(200, None, text.as_bytes()).unwrap();
        let published: ServiceAnswer = serde_json::from_str(&text).unwrap();
        let count = match &published {
            ServiceAnswer::Messages(messages) => {
                seen.extend(types(messages));
                messages.len()
            }
            ServiceAnswer::Several(several) => {
                seen.extend(types(&several.messages));
                several.messages.len()
            }
            ServiceAnswer::One(one) => {
                seen.extend(types(std::slice::from_ref(&one.message)));
                1
            }
        };
        assert_eq!(read.messages.len(), count, "{name}");
        // What the types make of it is the same answer: nothing in an example is a field that nobody reads.
        let again = serde_json::to_vec(&published).unwrap();
        assert!(Answer::parse(200, None, &again).unwrap() == read, "{name}");
        let (before, after): (Value, Value) =
            (serde_json::from_str(&text).unwrap(), serde_json::from_slice(&again).unwrap());
        assert!(holds(&after, &before), "{name} has a field that the types do not know");
    }
    let all = ["delete", "document", "edit", "location", "method", "none", "photo", "text", "voice"];
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), all, "there is an example of each type");
}

/// Whether all of `part` is in `whole`.
pub fn holds(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => {
            part.iter().all(|(name, value)| whole.get(name).is_some_and(|it| holds(it, value)))
        }
        (Value::Array(whole), Value::Array(part)) => {
            whole.len() == part.len() && whole.iter().zip(part).all(|(whole, part)| holds(whole, part))
        }
        (whole, part) => whole == part,
    }
}

/// What the code takes and what the schema takes, side by side.
#[test]
fn the_answers_schema_agrees_with_the_code() {
    for (body, right) in [
        (r#"{"type":"text","content":"a","buttons":[[{"text":"a","callback_data":"b"}]],"x":1}"#, true),
        (r#"[{"type":"none"},{"type":"delete"}]"#, true),
        (r#"{"messages":[{"type":"edit","content":"a","message_id":5}],"user_id":"u"}"#, true),
        (r#"{"messages":[],"answer":{"text":"ok"},"sticky":{"service":"a","seconds":5}}"#, true),
        (r#"{"type":"none","sticky":null}"#, true),
        (r#"{"type":"photo","url":"u","caption":"c"}"#, true),
        (r#"{"type":"location","latitude":1,"longitude":2.5}"#, true),
        (r#"{"type":"method","method":"sendDice","params":{"emoji":"x"}}"#, true),
        (r#"{"type":"voice","file_id":"f","content":"c","reply_to":true,"silent":null}"#, true),
        (r#"[{"type":"text","content":"a","buttons":[{"text":"a","url":"u"}],"reply_to":7}]"#, true),
        (r#"{"type":"method","method":"send-Dice"}"#, false),
        (r#"{"type":"text","content":"a","buttons":[[{"text":"","url":"u"}]]}"#, false),
        (r#"{"type":"text"}"#, false),
        (r#"{"type":"hologram"}"#, false),
        (r#"{"type":"photo"}"#, false),
        (r#"{"type":"location","latitude":91,"longitude":2}"#, false),
        (r#"{"type":"text","content":"a","buttons":[[{"text":"a"}]]}"#, false),
        (r#"{"messages":{}}"#, false),
        ("null", false),
        ("{}", false),
    ] {
        assert_eq!(takes(body, ANSWER), right, "schema: {body}");
        assert_eq!(Answer::parse(200, None, body.as_bytes()).is_ok(), right, "code: {body}");
    }
}

#[test]
fn a_call_is_two_fields_for_ever() {
    let golden = r#"{"method":"sendMessage","params":{"chat_id":5,"text":"hi"}}"#;
    let call: Call = serde_json::from_str(golden).unwrap();
    assert_eq!(serde_json::to_string(&call).unwrap(), golden);
}
