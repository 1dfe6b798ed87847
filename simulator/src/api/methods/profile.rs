//! What a bot says about itself: its commands and texts, each by language, the commands by scope too.

use serde_json::{Value, json};

use super::{Answer, ApiError, Params};
use crate::state::World;

/// Which part of it, and what to do.
pub(super) enum Part {
    Commands(Do),
    Text { field: &'static str, most: usize, to: Do },
}

pub(super) enum Do {
    Get,
    Set,
    Delete,
}

pub(super) fn part(method: &str) -> Option<Part> {
    let text = |field, most, to| Some(Part::Text { field, most, to });
    match method {
        "getMyCommands" => Some(Part::Commands(Do::Get)),
        "setMyCommands" => Some(Part::Commands(Do::Set)),
        "deleteMyCommands" => Some(Part::Commands(Do::Delete)),
        "getMyName" => text("name", 64, Do::Get),
        "setMyName" => text("name", 64, Do::Set),
        "getMyDescription" => text("description", 512, Do::Get),
        "setMyDescription" => text("description", 512, Do::Set),
        "getMyShortDescription" => text("short_description", 120, Do::Get),
        "setMyShortDescription" => text("short_description", 120, Do::Set),
        _ => None,
    }
}

pub(super) fn run(world: &World, params: &Params, part: Part) -> Answer {
    let language = params.text("language_code").unwrap_or_default();
    match part {
        Part::Commands(to) => commands(world, params, &language, to),
        Part::Text { field, most, to } => text(world, params, &language, (field, most), to),
    }
}

fn commands(world: &World, params: &Params, language: &str, to: Do) -> Answer {
    let scope = params
        .json("scope")
        .map_err(|()| ApiError::bad_request("can't parse BotCommandScope JSON object"))?;
    let scope = scope.unwrap_or_else(|| json!({"type": "default"})).to_string();
    let place = ("commands", language.to_owned(), scope);
    match to {
        Do::Get => Ok(world.profile().get(&place).cloned().unwrap_or_else(|| json!([]))),
        Do::Delete => {
            world.profile().remove(&place);
            Ok(Value::Bool(true))
        }
        Do::Set => {
            let refused = |text: &str| ApiError::bad_request(text);
            let given = params.json("commands").map_err(|()| refused("can't parse commands JSON object"))?;
            let given = given.unwrap_or_else(|| json!([]));
            let list = given.as_array().ok_or_else(|| refused("expected an Array of BotCommand"))?;
            if list.len() > 100 {
                return Err(refused("too many commands specified"));
            }
            list.iter().try_for_each(check_command)?;
            world.profile().insert(place, given);
            Ok(Value::Bool(true))
        }
    }
}

fn check_command(command: &Value) -> Result<(), ApiError> {
    let field = |name: &str| command[name].as_str().unwrap_or_default();
    let (name, description) = (field("command").trim_start_matches('/'), field("description"));
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    match () {
        () if name.is_empty() || name.len() > 32 || !name.bytes().all(allowed) => {
            Err(ApiError::bad_request("BOT_COMMAND_INVALID"))
        }
        () if description.is_empty() || description.chars().count() > 256 => {
            Err(ApiError::bad_request("BOT_COMMAND_DESCRIPTION_INVALID"))
        }
        () => Ok(()),
    }
}

fn text(
    world: &World,
    params: &Params,
    language: &str,
    (field, most): (&'static str, usize),
    to: Do,
) -> Answer {
    let place = |language: &str| (field, language.to_owned(), String::new());
    if let Do::Get = to {
        let profile = world.profile();
        // In a language that has none of its own, it is the one for all.
        let own = profile.get(&place(language)).or_else(|| profile.get(&place("")));
        let usual = if field == "name" { world.settings.bot_username.as_str() } else { "" };
        return Ok(json!({field: own.cloned().unwrap_or_else(|| json!(usual))}));
    }
    let given = params.text(field).unwrap_or_default();
    if given.chars().count() > most {
        return Err(ApiError::bad_request(format!("bot {} is too long", field.replace('_', " "))));
    }
    match given.is_empty() {
        true => drop(world.profile().remove(&place(language))),
        false => drop(world.profile().insert(place(language), json!(given))),
    }
    Ok(Value::Bool(true))
}
