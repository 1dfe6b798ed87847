//! setWebhook, deleteWebhook, getWebhookInfo (facts T9-T11), in the order in which Telegram's own server does it:
//! the old webhook is gone before the new one is looked at, so a call that is refused leaves none.

use std::time::Duration;

use super::{ApiError, Params, Reply};
use crate::state::World;
use crate::state::webhook::{DEFAULT_MAX_CONNECTIONS, MAX_CONNECTIONS};

pub(super) fn set(world: &World, params: &Params) -> Result<Reply, ApiError> {
    let url = params.text("url").unwrap_or_default();
    if url.is_empty() {
        return Ok(delete(world, params));
    }
    not_too_often(world)?;
    // Two at a time: the first one is told (facts T10).
    world.webhook().end_setting();
    let secret = params.text("secret_token").filter(|secret| !secret.is_empty());
    let max_connections = params.clamped("max_connections", DEFAULT_MAX_CONNECTIONS, 1, MAX_CONNECTIONS);
    let drop_pending = params.flag("drop_pending_updates");
    let certificate = params.upload("certificate").is_some();
    let same = world.webhook().target.as_ref().is_some_and(|now| {
        now.url == url
            && now.secret == secret
            && now.max_connections == max_connections
            && !drop_pending
            && !certificate
    });
    if !same {
        delete(world, params);
        world.polling().end("terminated by setWebhook request");
        check_url(&url)?;
        check_secret(secret.as_deref())?;
        world.webhook().set(url, secret, max_connections, certificate);
    }
    if let Ok(Some(allowed)) = params.json("allowed_updates") {
        world.webhook().allow(&allowed);
    }
    world.queue_changed();
    Ok(Reply::done(if same { "Webhook is already set" } else { "Webhook was set" }))
}

pub(super) fn delete(world: &World, params: &Params) -> Reply {
    let deleted = world.webhook().delete();
    if params.flag("drop_pending_updates") {
        world.queue().clear();
    }
    world.queue_changed();
    Reply::done(if deleted { "Webhook was deleted" } else { "Webhook is already deleted" })
}

pub(super) fn info(world: &World) -> Reply {
    let pending = world.queue().pending();
    world.webhook().info(pending).into()
}

/// Once a second, no more (facts T10), if the simulator was told to hold the bot to it.
fn not_too_often(world: &World) -> Result<(), ApiError> {
    let (now, mut webhook) = (world.clock.now(), world.webhook());
    if world.settings.limit_set_webhook && webhook.next_set.is_some_and(|next| now < next) {
        return Err(ApiError::too_many(1));
    }
    webhook.next_set = Some(now + Duration::from_secs(1));
    Ok(())
}

/// Telegram insists on https, on four ports; a simulator is mostly asked to deliver to this machine, so http is fine,
/// as it is at Telegram's own server run with `--local`.
fn check_url(url: &str) -> Result<(), ApiError> {
    let parsed = reqwest::Url::parse(url).ok();
    let fine = parsed.is_some_and(|url| ["http", "https"].contains(&url.scheme()) && url.host().is_some());
    fine.then_some(()).ok_or_else(|| ApiError::bad_request("invalid webhook URL specified"))
}

/// Facts T9.
fn check_secret(secret: Option<&str>) -> Result<(), ApiError> {
    let secret = secret.unwrap_or_default();
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    match () {
        () if secret.len() > 256 => Err(ApiError::bad_request("secret token is too long")),
        () if !secret.bytes().all(allowed) => {
            Err(ApiError::bad_request("secret token contains unallowed characters"))
        }
        () => Ok(()),
    }
}
