"""A webhook in FastAPI, as people write one: secret, session and limit in Redis, and with INLINE=1 the service's
answer sent by sendMessage before the 200. What it is kind to itself in: the clients are made once, not per request.
"""

from contextlib import asynccontextmanager
from os import environ

import httpx
import redis.asyncio as redis
from fastapi import FastAPI, Header, Request, Response

SECRET = environ["SECRET"]
API = f"{environ['API_URL']}/bot{environ['BOT_TOKEN']}"
SERVICE = environ["SERVICE_URL"]
INLINE = environ.get("INLINE") == "1"


@asynccontextmanager
async def lifespan(app: FastAPI):
    pool = redis.BlockingConnectionPool.from_url(environ["REDIS_URL"], max_connections=64, decode_responses=True)
    app.state.redis = redis.Redis.from_pool(pool)
    async with httpx.AsyncClient(limits=httpx.Limits(max_connections=256)) as app.state.http:
        yield
    await app.state.redis.aclose()


app = FastAPI(lifespan=lifespan)


async def allowed(store: redis.Redis, user: int) -> bool:
    count = await store.incr(f"limit:{user}")
    if count == 1:
        await store.expire(f"limit:{user}", 1)
    return count <= 10_000


@app.post("/webhook/telegram")
async def webhook(request: Request, x_telegram_bot_api_secret_token: str = Header(default="")):
    if x_telegram_bot_api_secret_token != SECRET:
        return Response(status_code=403)
    update = await request.json()
    message = update["message"]
    user, store, http = message["from"]["id"], app.state.redis, app.state.http
    session = await store.get(f"session:{user}") or f"user_{user}"
    await store.set(f"session:{user}", session, ex=86_400)
    if not await allowed(store, user):
        return Response(status_code=200)
    if INLINE:
        asked = {"user_id": session, "telegram_user_id": user, "message": message["text"]}
        answer = (await http.post(SERVICE, json=asked)).json()
        sent = await http.post(f"{API}/sendMessage", json={"chat_id": message["chat"]["id"], "text": answer["content"]})
        sent.raise_for_status()
    return Response(status_code=200)
