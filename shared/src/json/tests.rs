use super::*;
use proptest::prelude::*;

/// What a text is made from, each value with its text.
#[derive(Clone, Debug)]
enum Made {
    Leaf,
    Array(Vec<(Made, String)>),
    Object(Vec<(String, Made, String)>),
}

/// A value, its text, and what stands beside it.
fn value() -> impl Strategy<Value = (Made, String)> {
    let number = prop_oneof![Just("-0.5e+7"), Just("17"), Just("true"), Just("null"), Just("\"\\ud800\"")];
    let leaf = prop_oneof![number.prop_map(str::to_owned), text()].prop_map(|text| (Made::Leaf, text));
    leaf.prop_recursive(5, 60, 6, |inner| {
        let array =
            (space(), proptest::collection::vec(inner.clone(), 0..6)).prop_map(|(space, elements)| {
                let texts: Vec<_> =
                    elements.iter().map(|(_, text)| format!("{space}{text}{space}")).collect();
                (Made::Array(elements), format!("[{space}{}]", texts.join(",")))
            });
        let member = (text(), inner).prop_map(|(name, (made, text))| (name, made, text));
        let object = (space(), proptest::collection::vec(member, 0..6)).prop_map(|(space, members)| {
            let member = |(name, _, text): &(String, Made, String)| {
                format!("{space}{name}{space}:{space}{text}{space}")
            };
            let texts: Vec<_> = members.iter().map(member).collect();
            (Made::Object(members), format!("{{{space}{}}}", texts.join(",")))
        });
        prop_oneof![array, object]
    })
}

/// A string with all that has a meaning outside of one.
fn text() -> impl Strategy<Value = String> {
    r#"([a-z{}\[\]:, é💡]|\\\\|\\"|\\u00e9){0,9}"#.prop_map(|inner| format!("\"{inner}\""))
}

fn space() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just(""), Just(" "), Just("\r\n\t")]
}

fn is_what_was_made(json: Json<'_>, made: &Made, text: &str) {
    assert_eq!(json.text(), text);
    match made {
        Made::Leaf => {
            assert!(json.array().is_none() && json.object().is_none() && json.get("a").is_none())
        }
        Made::Array(elements) => {
            let found = json.array().unwrap();
            assert_eq!(found.len(), elements.len());
            elements.iter().zip(found).for_each(|((made, text), json)| is_what_was_made(json, made, text));
        }
        Made::Object(members) => {
            let found: Vec<_> = json.members().collect();
            assert_eq!(found.len(), members.len());
            for ((name, made, text), (found, json)) in members.iter().zip(found) {
                assert_eq!(found, serde_json::from_str::<String>(name).unwrap());
                is_what_was_made(json, made, text);
            }
        }
    }
}

proptest! {
    #[test]
    fn what_is_found_is_what_is_there((made, text) in value(), space in space()) {
        let whole = format!("{space}{text}{space}");
        is_what_was_made(parse(&whole), &made, &text);
        let object = Object::parse(&whole).unwrap();
        prop_assert_eq!(object.is_some(), matches!(made, Made::Object(_)));
        let members = |json: Json<'_>| json.members().map(|(name, json)| (name.into_owned(), json.text().to_owned())).collect::<Vec<_>>();
        let found = object.iter().flat_map(|object| object.members().map(|(name, json)| (name.to_owned(), json.text().to_owned())));
        prop_assert_eq!(found.collect::<Vec<_>>(), members(parse(&whole)));
    }
}

fn parse(text: &str) -> Json<'_> {
    Json::parse(text).unwrap()
}

#[test]
fn a_field_of_another_type_reads_as_absent() {
    let json = parse(r#"{"a":"x","b":1.5,"c":null,"d":{"e":-7}}"#);
    assert_eq!(json.get("a").unwrap().i64(), None);
    assert_eq!(json.get("b").unwrap().i64(), None);
    assert!(json.get("c").unwrap().object().is_none());
    assert!(json.get("d").unwrap().string().is_none());
    assert_eq!(json.get("d").and_then(|d| d.get("e")).and_then(Json::i64), Some(-7));
    assert!(parse("5").get("a").is_none());
}

#[test]
fn a_lone_surrogate_is_let_through_in_keys_and_texts() {
    let json = parse(r#"{"\ud800":1,"text":"a\ud83d"}"#);
    let text = json.get("text").unwrap();
    assert_eq!(text.text(), r#""a\ud83d""#);
    assert!(text.string().unwrap().starts_with('a'));
}

#[test]
fn what_is_no_json_is_none_in_a_name_either() {
    for text in
        ["{\"a\u{1}b\":1}", r#"{"\q":1}"#, r#"{"a" 1}"#, r#"{"a":1,}"#, r#"{a:1}"#, r#"{"a":1} 2"#, ""]
    {
        let (object, json) = (Object::parse(text).unwrap_err(), Json::parse(text).unwrap_err());
        assert_eq!(object.to_string(), json.to_string(), "{text}");
    }
    assert!(Object::parse(r#"{"\ud800":1,"a":2}"#).unwrap().unwrap().has("a"));
    assert!(Object::parse(" [1]").unwrap().is_none());
}

#[test]
fn depth_costs_no_stack() {
    let deep = format!("{}{}", "[".repeat(500_000), "]".repeat(500_000));
    let text = format!(r#"{{"a":{deep},"b":2}}"#);
    assert_eq!(parse(&text).get("b").and_then(Json::i64), Some(2));
}
