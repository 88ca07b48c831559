import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** What a provider answers; called for each request. */
export type Answer = (response: ServerResponse) => Promise<void> | void;

/** A provider that answers each request as its header `x-case` says, and counts. */
export interface AnsweringProvider {
  readonly url: string;
  /** From now on requests of that case are answered so. */
  readonly answer: (name: string, answer: Answer) => void;
  /** How many requests of that case have come. */
  readonly requestsOf: (name: string) => number;
  readonly close: () => void;
}

/** Every request has to be a POST with a JSON body, whole, as a provider would insist on; any other is answered 400, and counts as `wrong`. */
export async function openAnsweringProvider(): Promise<AnsweringProvider> {
  const answers = new Map<string, Answer>();
  const requests = new Map<string, number>();
  const server = createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8').on('data', (text: string) => (body += text));
    request.on('end', () => {
      const name = request.headers['x-case']?.toString() ?? 'wrong';
      const answer = answers.get(name);
      const isRight = request.method === 'POST' && answer !== undefined && isJson(body);
      const counted = isRight ? name : 'wrong';
      requests.set(counted, (requests.get(counted) ?? 0) + 1);
      if (!isRight) response.writeHead(400).end();
      else Promise.resolve(answer(response)).catch(() => response.destroy());
    });
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    answer: (name, answer) => void answers.set(name, answer),
    requestsOf: (name) => requests.get(name) ?? 0,
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}

function isJson(text: string): boolean {
  try {
    return typeof JSON.parse(text) === 'object';
  } catch {
    return false;
  }
}
