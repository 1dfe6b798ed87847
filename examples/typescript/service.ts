// Tea or coffee? A service of the gateway: it is asked with JSON and answers with JSON, and knows nothing of Telegram.

import { createServer } from "node:http";
import type { IncomingMessage, ServerResponse } from "node:http";
import { isFromTheGateway } from "./signature.js";

/** What the gateway sends, as far as this service reads it. */
interface Asked {
    request_id: string;
    user_id: string | null;
    telegram_user_id: number | null;
    message?: string;
    command?: string;
    action?: string;
    param?: string;
}

type Button = { text: string; callback_data: string };
type Message =
    | { type: "text" | "edit"; content: string; buttons?: Button[][] }
    | { type: "none" };
type Answer =
    | (Message & { user_id?: string })
    | { messages: Message[]; answer?: { text: string; show_alert?: boolean } };

const SECRET = process.env.VOTES_SECRET ?? "";
const BUTTONS: Button[][] = [
    [{ text: "Tea", callback_data: "VOTE:tea" }, { text: "Coffee", callback_data: "VOTE:coffee" }],
];

const votes = new Map([["tea", 0], ["coffee", 0]]);

// The answers that were given, by their Idempotency-Key. A service that books or pays keeps them in its database, in the
// transaction that does the work; here the last few thousand in memory will do.
const answers = new Map<string, Answer>();
const MOST_ANSWERS = 10_000;

function onVote(asked: Asked): Answer {
    // Our own name for the user, which comes with every request from now on.
    return { type: "text", content: "Tea or coffee?", buttons: BUTTONS, user_id: `member-${asked.telegram_user_id}` };
}

function onButton(choice: string): Answer {
    votes.set(choice, (votes.get(choice) ?? 0) + 1);
    const content = `Tea: ${votes.get("tea")}, coffee: ${votes.get("coffee")}`;
    return { messages: [{ type: "edit", content, buttons: BUTTONS }], answer: { text: `One more for ${choice}.` } };
}

function answerTo(asked: Asked): Answer {
    if (asked.command === "/vote") return onVote(asked);
    if (asked.action === "VOTE" && asked.param !== undefined && votes.has(asked.param)) return onButton(asked.param);
    if (asked.message !== undefined) return { type: "text", content: `${asked.user_id} says: ${asked.message}` };
    return { type: "none" };
}

/** The same answer to the same question, however often it is asked. */
function answerOnce(key: string, body: Buffer): Answer {
    const known = answers.get(key);
    if (known !== undefined) return known;
    // A failure throws before it is remembered, so a repeat tries again. Nothing here waits for anything, so no other
    // request comes in between; with an await in it the key has to be claimed before the work is done.
    const answer = answerTo(JSON.parse(body.toString()) as Asked);
    answers.set(key, answer);
    const oldest = answers.keys().next().value;
    if (answers.size > MOST_ANSWERS && oldest !== undefined) answers.delete(oldest);
    return answer;
}

function say(response: ServerResponse, status: number, what: unknown): void {
    response.writeHead(status, { "Content-Type": "application/json" }).end(JSON.stringify(what));
}

async function ask(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks);
    if (!isFromTheGateway(request.headers, body, SECRET)) {
        return say(response, 401, { error: "not signed by the gateway" });
    }
    say(response, 200, answerOnce(String(request.headers["idempotency-key"]), body));
}

if (SECRET === "") throw new Error("VOTES_SECRET is not set");
const port = Number(process.env.PORT ?? "8080");
createServer((request, response) => {
    ask(request, response).catch(() => say(response, 500, { error: "something went wrong" }));
}).listen(port, "127.0.0.1");
