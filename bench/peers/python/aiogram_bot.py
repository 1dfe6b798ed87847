"""A webhook in aiogram, after its own documentation: the 200 comes after the answer was sent, as with each handler
that is awaited; session and limit in Redis, the service asked by aiohttp.
"""

from os import environ

import aiohttp
import redis.asyncio as redis
from aiogram import Bot, Dispatcher, F
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer
from aiogram.types import Message
from aiogram.webhook.aiohttp_server import SimpleRequestHandler, setup_application
from aiohttp import web

SERVICE = environ["SERVICE_URL"]
dp = Dispatcher()
pool = redis.BlockingConnectionPool.from_url(environ["REDIS_URL"], max_connections=64, decode_responses=True)
store = redis.Redis.from_pool(pool)


async def allowed(user: int) -> bool:
    count = await store.incr(f"limit:{user}")
    if count == 1:
        await store.expire(f"limit:{user}", 1)
    return count <= 10_000


@dp.message(F.text)
async def text(message: Message, http: aiohttp.ClientSession) -> None:
    user = message.from_user.id
    session = await store.get(f"session:{user}") or f"user_{user}"
    await store.set(f"session:{user}", session, ex=86_400)
    if not await allowed(user):
        return
    asked = {"user_id": session, "telegram_user_id": user, "message": message.text}
    async with http.post(SERVICE, json=asked) as answered:
        answer = await answered.json()
    await message.answer(answer["content"])


async def on_startup() -> None:
    dp["http"] = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=256))


async def on_shutdown() -> None:
    await dp["http"].close()


def main() -> None:
    session = AiohttpSession(api=TelegramAPIServer.from_base(environ["API_URL"]), limit=256)
    bot = Bot(environ["BOT_TOKEN"], session=session)
    dp.startup.register(on_startup)
    dp.shutdown.register(on_shutdown)
    app = web.Application()
    handler = SimpleRequestHandler(
        dispatcher=dp, bot=bot, secret_token=environ["SECRET"], handle_in_background=False
    )
    handler.register(app, path="/webhook/telegram")
    setup_application(app, dp, bot=bot)
    host, port = environ["LISTEN_ADDR"].split(":")
    web.run_app(app, host=host, port=int(port), access_log=None, print=None)


if __name__ == "__main__":
    main()
