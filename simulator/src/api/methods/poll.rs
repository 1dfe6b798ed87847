//! The poll of sendPoll.

use serde_json::{Value, json};

use super::{ApiError, Params};

const MAX_OPTIONS: usize = 12;
const MAX_QUESTION: usize = 300;

pub(super) fn poll(params: &Params) -> Result<Value, ApiError> {
    let refused = |text: &str| ApiError::bad_request(text);
    let question = params.text("question").filter(|question| !question.trim().is_empty());
    let question = question.ok_or_else(|| refused("poll question must be non-empty"))?;
    if question.chars().count() > MAX_QUESTION {
        return Err(refused("poll question length must not exceed 300"));
    }
    let given =
        params.json("options").map_err(|()| refused("can't parse options JSON object"))?.unwrap_or_default();
    let given = given.as_array().ok_or_else(|| refused("expected an Array of String as options"))?;
    if given.is_empty() {
        return Err(refused("poll must have at least 1 option"));
    }
    if given.len() > MAX_OPTIONS {
        return Err(refused("poll can't have more than 12 options"));
    }
    let option = |(index, option): (usize, &Value)| {
        let text = option.get("text").unwrap_or(option);
        json!({"persistent_id": index.to_string(), "text": text, "voter_count": 0})
    };
    let options: Vec<Value> = given.iter().enumerate().map(option).collect();
    let kind = params.text("type").filter(|kind| !kind.is_empty()).unwrap_or_else(|| "regular".to_owned());
    let is_quiz = kind == "quiz";
    if !is_quiz && kind != "regular" {
        return Err(refused("unsupported poll type specified"));
    }
    let flag = |name: &str, usual: bool| if params.text(name).is_some() { params.flag(name) } else { usual };
    let mut poll = json!({
        "id": rand::random::<u32>().to_string(),
        "question": question,
        "options": options,
        "total_voter_count": 0,
        "is_closed": flag("is_closed", false),
        "is_anonymous": flag("is_anonymous", true),
        "allows_multiple_answers": flag("allows_multiple_answers", false),
        "allows_revoting": flag("allows_revoting", !is_quiz),
        "members_only": flag("members_only", false),
        "type": kind,
    });
    if is_quiz {
        let single = params.integer("correct_option_id").map(|id| json!([id]));
        let correct = params.json("correct_option_ids").ok().flatten().or(single);
        poll["correct_option_ids"] = correct.unwrap_or_else(|| json!([]));
    }
    Ok(poll)
}
