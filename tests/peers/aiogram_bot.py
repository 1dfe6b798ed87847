"""An echo bot in aiogram, as its own documentation writes one. By webhook if WEBHOOK_URL is set, else by polling.

Updates are handled one after the other, which aiogram leaves to choose: by default each is a task of its own.
"""

import asyncio
import logging
from os import environ

from aiogram import Bot, Dispatcher, F, html
from aiogram.client.default import DefaultBotProperties
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer
from aiogram.enums import ParseMode
from aiogram.filters import CommandStart
from aiogram.types import CallbackQuery, InlineKeyboardButton, InlineKeyboardMarkup, Message
from aiogram.webhook.aiohttp_server import SimpleRequestHandler, setup_application
from aiohttp import web

SECRET = "aiogram_secret"
CHOICE = InlineKeyboardMarkup(
    inline_keyboard=[
        [
            InlineKeyboardButton(text="One", callback_data="one"),
            InlineKeyboardButton(text="Two", callback_data="two"),
        ]
    ]
)

dp = Dispatcher()


@dp.message(CommandStart())
async def start(message: Message) -> None:
    await message.answer(html.bold(f"Hello, {html.quote(message.from_user.first_name)}!"), reply_markup=CHOICE)


@dp.message()
async def echo(message: Message) -> None:
    await message.send_copy(chat_id=message.chat.id)


@dp.edited_message(F.text)
async def edited(message: Message) -> None:
    await message.reply(message.text)


@dp.callback_query(F.data)
async def pressed(callback: CallbackQuery) -> None:
    await callback.answer("Thank you")
    await callback.message.edit_text(f"You chose: {callback.data}")


async def on_startup(bot: Bot) -> None:
    await bot.set_webhook(environ["WEBHOOK_URL"], secret_token=SECRET)


def main() -> None:
    session = AiohttpSession(api=TelegramAPIServer.from_base(environ["API_URL"]))
    bot = Bot(environ["BOT_TOKEN"], session=session, default=DefaultBotProperties(parse_mode=ParseMode.HTML))
    if "WEBHOOK_URL" not in environ:
        asyncio.run(dp.start_polling(bot, handle_as_tasks=False))
        return
    dp.startup.register(on_startup)
    app = web.Application()
    handler = SimpleRequestHandler(dispatcher=dp, bot=bot, secret_token=SECRET, handle_in_background=False)
    handler.register(app, path="/webhook")
    setup_application(app, dp, bot=bot)
    web.run_app(app, host="127.0.0.1", port=int(environ["PORT"]))


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    main()
