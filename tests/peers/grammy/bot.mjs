// An echo bot in grammY, as its own guide writes one. By webhook if WEBHOOK_URL is set, else by long polling.

import { createServer } from "node:http";
import { Bot, InlineKeyboard, webhookCallback } from "grammy";

const { BOT_TOKEN, API_URL, WEBHOOK_URL, PORT } = process.env;

const bot = new Bot(BOT_TOKEN, { client: { apiRoot: API_URL } });

bot.command("start", (ctx) =>
  ctx.reply(`<b>Hello, ${ctx.from.first_name}!</b>`, {
    parse_mode: "HTML",
    reply_markup: new InlineKeyboard().text("One", "one").text("Two", "two"),
  }),
);
bot.on("message:text", (ctx) => ctx.reply(ctx.message.text));
bot.on("message:photo", (ctx) =>
  ctx.replyWithPhoto(ctx.message.photo.at(-1).file_id, { caption: ctx.message.caption }),
);
bot.on("edited_message:text", (ctx) =>
  ctx.reply(ctx.msg.text, { reply_parameters: { message_id: ctx.msg.message_id } }),
);
bot.on("callback_query:data", async (ctx) => {
  await ctx.answerCallbackQuery({ text: "Thank you" });
  await ctx.editMessageText(`You chose: ${ctx.callbackQuery.data}`);
});

if (WEBHOOK_URL) {
  const secretToken = "grammy_secret";
  const server = createServer(webhookCallback(bot, "http", { secretToken }));
  server.listen(Number(PORT), "127.0.0.1", () => bot.api.setWebhook(WEBHOOK_URL, { secret_token: secretToken }));
  process.once("SIGINT", () => {
    server.close();
    // A connection that has not been used yet counts as busy to Node.
    server.closeAllConnections();
  });
} else {
  process.once("SIGINT", () => bot.stop());
  await bot.start();
}
