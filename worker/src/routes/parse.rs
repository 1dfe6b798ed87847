//! From a TOML file to checked rows and services. Everything that can be wrong is looked for here, once, at
//! the start, so that no update ever meets a broken row.

use std::collections::BTreeMap;

use toml::de::DeTable;

use super::conditions;
use super::error::TableError;
use super::reader::{Entry, Reader, Section};
use super::reply::Reply;
use super::route::{Route, To};
use super::service::ServiceConfig;
use super::{BUILTIN_SERVICES, Shape};

const ROUTE_KEYS: &[&str] = &[
    "name",
    "command",
    "callback",
    "text",
    "kind",
    "content",
    "chat",
    "language",
    "languages",
    "service",
    "reply",
    "body",
    "update",
    "album",
];

type Services = BTreeMap<String, ServiceConfig>;

pub(super) fn parse(
    text: &str,
    file: &str,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<(Vec<Route>, Services), Vec<TableError>> {
    let mut reader = Reader { text, file, env, errors: Vec::new() };
    let (document, broken) = DeTable::parse_recoverable(text);
    for error in &broken {
        let at = error.span().map_or(0, |span| span.start);
        reader.refuse_unseen("", at, format!("is not TOML: {}", error.message()));
    }
    if !broken.is_empty() {
        // The parser tells of them in an order of its own.
        return Err(reader.in_order());
    }
    let document = Section { table: document.get_ref(), at: 0 };
    reader.only(document, &["services", "routes"]);
    let services = read_services(&mut reader, document);
    let routes = read_routes(&mut reader, document, &services);
    if reader.errors.is_empty() {
        return Ok((routes, services));
    }
    Err(reader.in_order())
}

fn read_services(reader: &mut Reader<'_>, document: Section<'_>) -> Services {
    let Some(sections) = reader.secret_section(document, "services") else {
        return Services::new();
    };
    let mut services = Services::new();
    for (name, value) in sections.table.iter() {
        let at = name.span().start;
        let name = name.get_ref().as_ref();
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if name.is_empty() || !name.bytes().all(is_word) {
            reader.refuse_unseen(name, at, "a service's name is made of letters, digits, _ and -");
        } else if let Some(section) = Section::new(value) {
            services.insert(name.to_owned(), ServiceConfig::read(reader, name, section));
        } else {
            // What stands here may be an address, or all of a service with its secrets.
            reader.refuse_unseen(name, value.span().start, format!("must be a table: [services.{name}]"));
        }
    }
    services
}

fn read_routes(reader: &mut Reader<'_>, document: Section<'_>, services: &Services) -> Vec<Route> {
    let Some(found) = document.get("routes") else {
        return Vec::new();
    };
    let Some(rows) = found.get_ref().as_array() else {
        reader.refuse("routes", &found.span(), "rows are written [[routes]]");
        return Vec::new();
    };
    let mut routes = Vec::with_capacity(rows.len());
    for row in rows.iter() {
        match Section::new(row) {
            Some(section) => routes.extend(read_route(reader, section, services)),
            None => reader.refuse("routes", &row.span(), "rows are written [[routes]]"),
        }
    }
    routes
}

/// A row: one route, or one for each of its languages, since each has a place of its own in the order. None
/// where anything in it is wrong.
fn read_route(reader: &mut Reader<'_>, row: Section<'_>, services: &Services) -> Vec<Route> {
    let errors_before = reader.errors.len();
    reader.only(row, ROUTE_KEYS);
    let when = conditions::read(reader, row);
    let languages = conditions::languages(reader, row);
    let to = read_target(reader, row, services);
    if matches!(to, Some(To::Service { album: true, .. })) && !when.can_be_of_an_album() {
        let expected =
            "goes with new messages that hold a photo, video, document or audio: nothing else has albums";
        refuse_album(reader, row, expected);
    }
    let name = reader.string(row, "name");
    if let Some(Entry { span, .. }) = name.as_ref().filter(|name| name.value.trim().is_empty()) {
        reader.refuse("name", span, "must not be empty");
    }
    let (Some(to), true) = (to, reader.errors.len() == errors_before) else {
        return Vec::new();
    };
    let label = name.map_or_else(|| when.label(&languages), |name| name.value);
    let route = Route { label, when, language: None, to };
    if languages.is_empty() {
        return vec![route];
    }
    languages.into_iter().map(|language| Route { language: Some(language), ..route.clone() }).collect()
}

fn read_target(reader: &mut Reader<'_>, row: Section<'_>, services: &Services) -> Option<To> {
    let service = reader.string(row, "service");
    let reply = Reply::read(reader, row);
    let with_update = reader.boolean(row, "update").unwrap_or_default();
    let album = reader.boolean(row, "album").unwrap_or_default();
    let body = reader.string(row, "body").and_then(|entry| shape(reader, entry));
    match (service, reply) {
        (Some(service), None) => {
            let known =
                BUILTIN_SERVICES.contains(&service.value.as_str()) || services.contains_key(&service.value);
            if !known {
                let expected = format!("is no service: there are {}", known_names(services));
                reader.refuse("service", &service.span, expected);
            }
            let shape = body.unwrap_or_else(|| Shape::of(&service.value));
            if album && !matches!(shape, Shape::Own | Shape::Conversation) {
                let expected = "goes with the bodies own and conversation: the others have no room for it";
                refuse_album(reader, row, expected);
            }
            Some(To::Service { service: service.value, shape, with_update, album })
        }
        (None, Some(reply)) => {
            for key in ["body", "update", "album"] {
                if let Some(found) = row.get(key) {
                    reader.refuse(key, &found.span(), "a reply asks no service: take it away");
                }
            }
            Some(To::Reply(reply))
        }
        (Some(service), Some(_)) => {
            reader.refuse("service", &service.span, "a row has a service or a reply, not both");
            None
        }
        (None, None) => {
            // A key that is there but wrong has been told of already.
            if row.get("service").is_none() && row.get("reply").is_none() {
                reader.refuse_unseen("service", row.at, "is missing: a row needs a service or a reply");
            }
            None
        }
    }
}

fn refuse_album(reader: &mut Reader<'_>, row: Section<'_>, expected: &str) {
    if let Some(found) = row.get("album") {
        reader.refuse("album", &found.span(), expected);
    }
}

fn known_names(services: &Services) -> String {
    let own = services.keys().map(String::as_str).filter(|name| !BUILTIN_SERVICES.contains(name));
    BUILTIN_SERVICES.into_iter().chain(own).collect::<Vec<_>>().join(", ")
}

fn shape(reader: &mut Reader<'_>, entry: Entry<String>) -> Option<Shape> {
    let shape = Shape::named(&entry.value);
    if shape.is_none() {
        let expected = "must be conversation, matching, user_profile, notification or own";
        reader.refuse("body", &entry.span, expected);
    }
    shape
}
