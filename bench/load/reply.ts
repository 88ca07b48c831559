import { tokenBytes, writeToken } from './token.ts';

/** What a request asks of the simulated provider, as `name=value` pairs behind the colon of the model's name. */
export interface Asked {
  /** The model's name without them: what the statistics call the reply. */
  readonly name: string;
  /** Tokens a second, below 1000; 0: as fast as the reader takes them. Default: 0. */
  readonly tps: number;
  /** Tokens of the reply, a multiple of `batch`. Default: 100. */
  readonly tokens: number;
  /** Events in one write. Default: 1. */
  readonly batch: number;
  /** Milliseconds to the response headers, and from there to the first token. Default: 0. */
  readonly headers: number;
  readonly ttft: number;
}

export function parseModel(model: string): Asked {
  const [name = '', list = ''] = model.split(':');
  const asked = { tps: 0, tokens: 100, batch: 1, headers: 0, ttft: 0 };
  for (const pair of list.split(',').filter((text) => text !== '')) {
    const [key = '', value] = pair.split('=');
    if (!(key in asked) || !(Number(value) >= 0)) throw new Error(`expected name=value, got ${pair}`);
    asked[key as keyof typeof asked] = Number(value);
  }
  return { name, ...asked };
}

export const head = Buffer.from(
  'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n' +
    'cache-control: no-cache\r\nx-request-id: req_7f0d5a1b9c3e4f628d10\r\n\r\n',
);
export const firstEvent = chunk(event('{"role":"assistant","content":"","refusal":null}', 'null', 8));
export const end = Buffer.from(
  `${chunk(event('{}', '"stop"', 4) + event(undefined, 'null', 4) + 'data: [DONE]\n\n').toString()}0\r\n\r\n`,
);

/** A written piece: so many events, each with room for one token. */
export interface Frame {
  readonly bytes: Buffer;
  readonly tokensAt: readonly number[];
}

/** Events of one provider differ in length only by what it pads them with. */
const paddings = [3, 9, 5, 12, 7, 4, 10, 6];

/** The frames that a reply with so many events a write repeats. */
export function framesOf(batch: number): Frame[] {
  return paddings.map((_, first) => {
    const text = Array.from({ length: batch }, (_none, index) =>
      event(
        `{"content":"${'#'.repeat(tokenBytes)}"}`,
        'null',
        paddings[(first + index) % paddings.length] ?? 0,
      ),
    ).join('');
    const bytes = chunk(text);
    const tokensAt: number[] = [];
    for (let at = bytes.indexOf('###'); at !== -1; at = bytes.indexOf('###', at + tokenBytes))
      tokensAt.push(at);
    return { bytes, tokensAt };
  });
}

/** The bytes of an event with a token, as an average. */
export const eventBytes = Math.round((framesOf(paddings.length)[0]?.bytes.length ?? 0) / paddings.length);

/** Fills a frame with the tokens from `number` on. */
export function fill({ bytes, tokensAt }: Frame, number: number, timeUs: number): void {
  for (let index = 0; index < tokensAt.length; index += 1) {
    writeToken(bytes, tokensAt[index] ?? 0, number + index, timeUs);
  }
}

function event(delta: string | undefined, finishReason: string, padding: number): string {
  const choices =
    delta === undefined
      ? '[],"usage":{"prompt_tokens":12,"completion_tokens":100,"total_tokens":112}'
      : `[{"index":0,"delta":${delta},"logprobs":null,"finish_reason":${finishReason}}],"usage":null`;
  return (
    'data: {"id":"chatcmpl-D2kQ8ZsVw0JmYx6TfBu4NrPc9hLe1","object":"chat.completion.chunk","created":1767225600,' +
    '"model":"gpt-5-mini-2025-08-07","service_tier":"default","system_fingerprint":"fp_9c3e4f628d",' +
    `"choices":${choices},"obfuscation":"${'hV3xQ0pLr8Zt'.slice(0, padding)}"}\n\n`
  );
}

function chunk(text: string): Buffer {
  return Buffer.from(`${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`);
}
