// A webhook in grammY, after its own guide: the 200 comes after the answer was sent; session and limit in Redis, the
// service asked by Node's own fetch.

import { createServer } from "node:http";
import { Bot, webhookCallback } from "grammy";
import { Redis } from "ioredis";

const { API_URL, BOT_TOKEN, LISTEN_ADDR, REDIS_URL, SECRET, SERVICE_URL } = process.env;
const store = new Redis(REDIS_URL);
const bot = new Bot(BOT_TOKEN, { client: { apiRoot: API_URL } });

async function allowed(user) {
  const count = await store.incr(`limit:${user}`);
  if (count === 1) await store.expire(`limit:${user}`, 1);
  return count <= 10_000;
}

bot.on("message:text", async (ctx) => {
  const user = ctx.from.id;
  const session = (await store.get(`session:${user}`)) ?? `user_${user}`;
  await store.set(`session:${user}`, session, "EX", 86_400);
  if (!(await allowed(user))) return;
  const body = JSON.stringify({ user_id: session, telegram_user_id: user, message: ctx.message.text });
  const headers = { "Content-Type": "application/json" };
  const answer = await (await fetch(SERVICE_URL, { method: "POST", headers, body })).json();
  await ctx.reply(answer.content);
});

await bot.init();
const [host, port] = LISTEN_ADDR.split(":");
const server = createServer(webhookCallback(bot, "http", { secretToken: SECRET, timeoutMilliseconds: 60_000 }));
server.listen(Number(port), host);
