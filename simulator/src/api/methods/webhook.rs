//! setWebhook, deleteWebhook, getWebhookInfo (facts T9-T11).

use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Answer, ApiError, Params};
use crate::state::World;
use crate::state::webhook::{DEFAULT_MAX_CONNECTIONS, Target};

pub(super) fn set(world: &World, params: &Params) -> Answer {
    let url = params.text("url").unwrap_or_default();
    if url.is_empty() {
        return Ok(delete(world, params));
    }
    let target =
        Target { secret: secret(params)?, max_connections: max_connections(params)?, url: checked(url)? };
    let allowed = allowed_updates(params);
    let mut webhook = world.webhook();
    let now = Instant::now();
    // Once a second, no more (facts T10).
    let too_soon = webhook.last_set.is_some_and(|last| now.duration_since(last) < Duration::from_secs(1));
    if world.settings.limit_set_webhook && too_soon {
        return Err(ApiError::too_many(1));
    }
    webhook.last_set = Some(now);
    if webhook.target.as_ref().is_none_or(|old| old.url != target.url) {
        webhook.last_error = None;
    }
    webhook.target = Some(target);
    if let Some(allowed) = allowed {
        webhook.allowed_updates = allowed;
    }
    drop(webhook);
    drop_pending_if_asked(world, params);
    world.queue_changed();
    Ok(Value::Bool(true))
}

pub(super) fn delete(world: &World, params: &Params) -> Value {
    world.webhook().target = None;
    world.queue().unload();
    drop_pending_if_asked(world, params);
    Value::Bool(true)
}

pub(super) fn info(world: &World) -> Value {
    let pending = world.queue().pending();
    world.webhook().info(pending)
}

fn drop_pending_if_asked(world: &World, params: &Params) {
    if params.flag("drop_pending_updates") {
        world.queue().clear();
    }
}

/// Telegram insists on https; a simulator is mostly asked to deliver to this machine, so http is fine.
fn checked(url: String) -> Result<String, ApiError> {
    let parsed = reqwest::Url::parse(&url).ok();
    let fine = parsed.is_some_and(|url| ["http", "https"].contains(&url.scheme()) && url.host().is_some());
    if !fine {
        return Err(ApiError::bad_request("bad webhook: invalid webhook URL specified"));
    }
    Ok(url)
}

fn secret(params: &Params) -> Result<Option<String>, ApiError> {
    let Some(secret) = params.text("secret_token").filter(|secret| !secret.is_empty()) else {
        return Ok(None);
    };
    if secret.len() > 256 {
        return Err(ApiError::bad_request("secret token is too long"));
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    match secret.bytes().all(allowed) {
        true => Ok(Some(secret)),
        false => Err(ApiError::bad_request("secret token contains unallowed characters")),
    }
}

fn max_connections(params: &Params) -> Result<usize, ApiError> {
    let Some(given) = params.text("max_connections").filter(|text| !text.is_empty()) else {
        return Ok(DEFAULT_MAX_CONNECTIONS);
    };
    let count = given.parse().ok().filter(|count| (1..=100).contains(count));
    count.ok_or_else(|| ApiError::bad_request("max_connections must be between 1 and 100"))
}

/// None: not given, or unreadable; the earlier choice stays, as at Telegram.
fn allowed_updates(params: &Params) -> Option<Vec<String>> {
    let given = params.json("allowed_updates").ok()??;
    let names = given.as_array()?.iter().map(|name| name.as_str().map(str::to_ascii_lowercase));
    names.collect()
}
