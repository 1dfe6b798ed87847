// What examples/typescript uses of Node.js, for the tests: Debian's tsc comes without @types/node. Who builds the sample
// gets the real ones by `npm install`.

interface Buffer extends Uint8Array {
    toString(encoding?: string): string;
}
declare const Buffer: {
    from(text: string): Buffer;
    concat(chunks: readonly Buffer[]): Buffer;
};
declare const process: { env: Record<string, string | undefined> };

declare module "node:crypto" {
    interface Hmac {
        update(data: string | Buffer): Hmac;
        digest(encoding: "hex"): string;
    }
    export function createHmac(algorithm: string, key: string): Hmac;
    export function timingSafeEqual(a: Buffer, b: Buffer): boolean;
}

declare module "node:http" {
    export type IncomingHttpHeaders = Record<string, string | string[] | undefined>;
    export interface IncomingMessage extends AsyncIterable<unknown> {
        headers: IncomingHttpHeaders;
    }
    export interface ServerResponse {
        writeHead(status: number, headers: Record<string, string>): ServerResponse;
        end(body: string): void;
    }
    interface Server {
        listen(port: number, host: string): void;
    }
    export function createServer(answer: (request: IncomingMessage, response: ServerResponse) => void): Server;
}
