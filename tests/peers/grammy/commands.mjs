// What grammY takes for a command: stdin has the bot and the cases of commands.py, stdout gets a verdict for each.
import { readFileSync } from "node:fs";
import { Bot } from "grammy";

const { bot: botInfo, cases } = JSON.parse(readFileSync(0, "utf8"));
const verdicts = [];
for (const { command, update } of cases) {
    const bot = new Bot("7:sample", { botInfo });
    let verdict = null;
    bot.command(command, (ctx) => {
        verdict = ctx.match;
    });
    await bot.handleUpdate(update);
    verdicts.push(verdict);
}
console.log(JSON.stringify(verdicts));
