"""An echo bot in python-telegram-bot, after its own `echobot.py`. By webhook if WEBHOOK_URL is set, else by polling."""

import logging
from os import environ

from telegram import InlineKeyboardButton, InlineKeyboardMarkup, Update
from telegram.ext import Application, CallbackQueryHandler, CommandHandler, ContextTypes, MessageHandler, filters

CHOICE = InlineKeyboardMarkup(
    [[InlineKeyboardButton("One", callback_data="one"), InlineKeyboardButton("Two", callback_data="two")]]
)


async def start(update: Update, context: ContextTypes.DEFAULT_TYPE) -> None:
    name = update.effective_user.first_name
    await update.message.reply_html(f"<b>Hello, {name}!</b>", reply_markup=CHOICE)


async def echo(update: Update, context: ContextTypes.DEFAULT_TYPE) -> None:
    await update.message.reply_text(update.message.text)


async def photo(update: Update, context: ContextTypes.DEFAULT_TYPE) -> None:
    await update.message.reply_photo(update.message.photo[-1].file_id, caption=update.message.caption)


async def edited(update: Update, context: ContextTypes.DEFAULT_TYPE) -> None:
    await update.edited_message.reply_text(update.edited_message.text, do_quote=True)


async def pressed(update: Update, context: ContextTypes.DEFAULT_TYPE) -> None:
    query = update.callback_query
    await query.answer("Thank you")
    await query.edit_message_text(text=f"You chose: {query.data}")


def main() -> None:
    builder = Application.builder().token(environ["BOT_TOKEN"])
    application = builder.base_url(environ["API_URL"] + "/bot").build()
    application.add_handler(CommandHandler("start", start, filters.UpdateType.MESSAGE))
    application.add_handler(MessageHandler(filters.UpdateType.EDITED_MESSAGE & filters.TEXT, edited))
    application.add_handler(MessageHandler(filters.TEXT & ~filters.COMMAND, echo))
    application.add_handler(MessageHandler(filters.PHOTO, photo))
    application.add_handler(CallbackQueryHandler(pressed))
    if "WEBHOOK_URL" in environ:
        application.run_webhook(
            listen="127.0.0.1",
            port=int(environ["PORT"]),
            url_path="webhook",
            webhook_url=environ["WEBHOOK_URL"],
            secret_token="ptb_secret",
            allowed_updates=Update.ALL_TYPES,
        )
    else:
        application.run_polling(allowed_updates=Update.ALL_TYPES)


if __name__ == "__main__":
    logging.basicConfig(format="%(asctime)s - %(name)s - %(levelname)s - %(message)s", level=logging.INFO)
    # As in the example: httpx logs each request, with the token in its URL.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    main()
