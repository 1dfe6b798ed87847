// Whether a request was signed by the gateway with our common secret, within the last five minutes.

import { createHmac, timingSafeEqual } from "node:crypto";
import type { IncomingHttpHeaders } from "node:http";

const MOST_SECONDS_OFF = 300;

/** `body` is what came, byte for byte, before anything reads it. */
export function isFromTheGateway(
    headers: IncomingHttpHeaders,
    body: Buffer,
    secret: string,
    now: number = Date.now(),
): boolean {
    const stamp = one(headers["x-tgw-timestamp"]);
    if (!/^\d+$/.test(stamp) || Math.abs(now / 1000 - Number(stamp)) > MOST_SECONDS_OFF) return false;
    const signed = createHmac("sha256", secret).update(`${stamp}.`).update(body).digest("hex");
    const [expected, given] = [Buffer.from(`v1=${signed}`), Buffer.from(one(headers["x-tgw-signature"]))];
    return given.length === expected.length && timingSafeEqual(given, expected);
}

function one(header: string | string[] | undefined): string {
    return typeof header === "string" ? header : "";
}
