//! An echo bot in teloxide, after its own `buttons.rs` and `ngrok_ping_pong.rs`. By webhook if WEBHOOK_URL is set,
//! else by long polling. `Bot::from_env` reads TELOXIDE_TOKEN and TELOXIDE_API_URL.

use teloxide::{
    prelude::*,
    sugar::request::RequestReplyExt,
    types::{InlineKeyboardButton, InlineKeyboardMarkup, InputFile, ParseMode},
    update_listeners::webhooks,
    utils::command::BotCommands,
};

type HandlerResult = Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// These commands are supported:
#[derive(BotCommands, Clone)]
#[command(rename_rule = "lowercase")]
enum Command {
    /// Greet
    Start,
}

#[tokio::main]
async fn main() {
    pretty_env_logger::init();
    let bot = Bot::from_env();
    let handler = dptree::entry()
        .branch(Update::filter_message().filter_command::<Command>().endpoint(start))
        .branch(Update::filter_message().endpoint(echo))
        .branch(Update::filter_edited_message().endpoint(edited))
        .branch(Update::filter_callback_query().endpoint(pressed));
    let mut dispatcher = Dispatcher::builder(bot.clone(), handler).enable_ctrlc_handler().build();
    let Ok(url) = std::env::var("WEBHOOK_URL") else {
        return dispatcher.dispatch().await;
    };
    let port: u16 = std::env::var("PORT").unwrap().parse().unwrap();
    let options = webhooks::Options::new(([127, 0, 0, 1], port).into(), url.parse().unwrap());
    let listener = webhooks::axum(bot, options).await.expect("Couldn't setup webhook");
    dispatcher
        .dispatch_with_listener(
            listener,
            LoggingErrorHandler::with_custom_text("An error from the update listener"),
        )
        .await;
}

async fn start(bot: Bot, msg: Message) -> HandlerResult {
    let name = msg.from.map(|user| user.first_name).unwrap_or_default();
    let buttons =
        [("One", "one"), ("Two", "two")].map(|(text, data)| InlineKeyboardButton::callback(text, data));
    bot.send_message(msg.chat.id, format!("<b>Hello, {name}!</b>"))
        .parse_mode(ParseMode::Html)
        .reply_markup(InlineKeyboardMarkup::new([buttons]))
        .await?;
    Ok(())
}

async fn echo(bot: Bot, msg: Message) -> HandlerResult {
    if let Some(text) = msg.text() {
        bot.send_message(msg.chat.id, text).await?;
    } else if let Some(photo) = msg.photo().and_then(|sizes| sizes.last()) {
        let request = bot.send_photo(msg.chat.id, InputFile::file_id(photo.file.id.clone()));
        request.caption(msg.caption().unwrap_or_default()).await?;
    }
    Ok(())
}

async fn edited(bot: Bot, msg: Message) -> HandlerResult {
    if let Some(text) = msg.text() {
        bot.send_message(msg.chat.id, text).reply_to(msg.id).await?;
    }
    Ok(())
}

async fn pressed(bot: Bot, query: CallbackQuery) -> HandlerResult {
    bot.answer_callback_query(query.id.clone()).text("Thank you").await?;
    if let (Some(message), Some(data)) = (query.regular_message(), &query.data) {
        bot.edit_message_text(message.chat.id, message.id, format!("You chose: {data}")).await?;
    }
    Ok(())
}
