import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { onTestFinished } from 'vitest';

export interface OwnProvider {
  readonly url: string;
  /** Sends a chunk of a chat completion; `undefined` is the end. */
  readonly say: (content: string | undefined) => void;
  /** Sends a text as it is. */
  readonly write: (text: string) => void;
}

export function eventOf(content: string): string {
  return `data: ${JSON.stringify({ choices: [{ index: 0, delta: { content } }] })}\n\n`;
}

/** A provider that says what the test says, to whoever asks first. */
export async function startOwnProvider(): Promise<OwnProvider> {
  const asked = Promise.withResolvers<ServerResponse>();
  const server = createServer((request, response) => {
    request.resume();
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    asked.resolve(response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const write = (text: string): void => void asked.promise.then((response) => response.write(text));
  const say = (content: string | undefined): void => {
    if (content === undefined) void asked.promise.then((response) => response.end('data: [DONE]\n\n'));
    else write(eventOf(content));
  };
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, say, write };
}
