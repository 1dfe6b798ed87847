//! Holds the published JSON Schemas and the code together: what one takes the other takes. The validator
//! knows the keywords that our two schemas use and fails on any other, which is less than a library brings.

use serde_json::{Map, Value};

use super::{Answer, Call};

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
        "$schema" | "$id" | "$defs" | "title" | "description" => true,
        "$ref" => fits(value, root.pointer(rule.as_str().unwrap().trim_start_matches('#')).unwrap(), root),
        "anyOf" => rule.as_array().unwrap().iter().any(|one| fits(value, one, root)),
        "allOf" => rule.as_array().unwrap().iter().all(|one| fits(value, one, root)),
        "enum" => rule.as_array().unwrap().contains(value),
        "const" => rule == value,
        "type" => match rule {
            Value::Array(types) => types.iter().any(|one| is_a(value, one)),
            one => is_a(value, one),
        },
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
