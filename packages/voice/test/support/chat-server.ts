import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { z } from 'zod';

const call = z.strictObject({
  id: z.string().min(1),
  type: z.literal('function'),
  function: z.strictObject({ name: z.string().min(1), arguments: z.string() }),
});
/** What a request may have. */
const requestShape = z.strictObject({
  model: z.string().min(1),
  messages: z
    .array(
      z.discriminatedUnion('role', [
        z.strictObject({ role: z.literal('system'), content: z.string() }),
        z.strictObject({ role: z.literal('user'), content: z.string() }),
        z.strictObject({
          role: z.literal('assistant'),
          content: z.string().nullable(),
          tool_calls: z.array(call).min(1).optional(),
        }),
        z.strictObject({ role: z.literal('tool'), tool_call_id: z.string(), content: z.string() }),
      ]),
    )
    .min(1),
  stream: z.literal(true),
  stream_options: z.strictObject({ include_usage: z.literal(true) }),
  max_completion_tokens: z.int().min(1).optional(),
  tools: z
    .array(
      z.strictObject({
        type: z.literal('function'),
        function: z.strictObject({
          name: z.string().regex(/^[\w-]{1,64}$/u),
          description: z.string(),
          parameters: z.record(z.string(), z.unknown()),
        }),
      }),
    )
    .min(1)
    .optional(),
});

export type ChatRequest = z.infer<typeof requestShape>;

/** A server of Chat Completions that refuses what OpenAI's refuses, and answers as the test says. */
export class ChatServer {
  readonly requests: ChatRequest[] = [];
  /** Connections that the client has ended before the answer was. */
  aborted = 0;
  readonly #server: Server;
  readonly #answer: (response: ServerResponse, request: ChatRequest) => void;

  constructor(answer: (response: ServerResponse, request: ChatRequest) => void) {
    this.#answer = answer;
    this.#server = createServer((request, response) => void this.#take(request, response));
  }

  async listen(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/v1`;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #take(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const refuse = (status: number, message: string): void => {
      response.writeHead(status, { 'content-type': 'application/json' });
      response.end(JSON.stringify({ error: { message, type: 'invalid_request_error' } }));
    };
    response.on('close', () => (this.aborted += response.writableFinished ? 0 : 1));
    let body = '';
    for await (const bytes of request) body += String(bytes);
    if (request.method !== 'POST' || request.url !== '/v1/chat/completions') refuse(404, 'Unknown path.');
    else if (request.headers.authorization !== 'Bearer sk-test')
      refuse(401, `Incorrect API key provided: ${String(request.headers.authorization)}.`);
    else {
      const parsed = requestShape.safeParse(JSON.parse(body));
      if (!parsed.success) refuse(400, parsed.error.message);
      else if (!hasResults(parsed.data)) refuse(400, 'tool_calls must be followed by tool messages');
      else {
        this.requests.push(parsed.data);
        this.#answer(response, parsed.data);
      }
    }
  }
}

/** Whether each call of a tool is followed by its result, and each result follows its call. */
function hasResults({ messages }: ChatRequest): boolean {
  const open = new Set<string>();
  for (const message of messages) {
    if (message.role === 'tool') {
      if (!open.delete(message.tool_call_id)) return false;
      continue;
    }
    if (message.role === 'user' && open.size > 0) return false;
    if (message.role === 'assistant') for (const { id } of message.tool_calls ?? []) open.add(id);
  }
  return open.size === 0;
}

/** Begins an answer. */
export function begin(response: ServerResponse): void {
  response.writeHead(200, { 'content-type': 'text/event-stream' });
}

/** An event with a delta, or with usage. */
export function chunk(delta: object, finish: string | null = null): string {
  const choices = [{ index: 0, delta, finish_reason: finish }];
  return `data: ${JSON.stringify({ id: 'c-1', object: 'chat.completion.chunk', choices, usage: null })}\n\n`;
}

export const usageChunk = `data: ${JSON.stringify({
  id: 'c-1',
  object: 'chat.completion.chunk',
  choices: [],
  usage: { prompt_tokens: 12, completion_tokens: 34, total_tokens: 46 },
})}\n\n`;
export const done = 'data: [DONE]\n\n';
