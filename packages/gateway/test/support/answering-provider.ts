import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type Asking, seen } from './refusals.ts';
import { type Command, printed, spawnGateway } from './spawn.ts';

/** What a provider answers; called for each request. */
type Answer = (response: ServerResponse) => Promise<void> | void;

/** A gateway in front of an answering provider. */
export interface Gateway {
  readonly url: string;
  readonly adminUrl: string;
}

/** A provider that answers each request as its header `x-case` says, and counts. */
export interface AnsweringProvider {
  readonly url: string;
  /** Requests of the case that is returned are answered so. */
  readonly answer: (answer: Answer) => string;
  /** How many requests of that case have come. */
  readonly requestsOf: (name: string) => number;
  /** Starts a gateway in front of it, for all APIs, or in front of another provider. */
  readonly openGateway: (args?: readonly string[], upstream?: string) => Promise<Gateway>;
  /** What comes of asking by an SDK, and how many requests then reached the provider. */
  readonly outcome: (
    url: string,
    asking: Asking,
    stream: boolean,
    answer: Answer,
    maxRetries?: number,
  ) => Promise<{ readonly seen: Readonly<Record<string, unknown>>; readonly requests: number }>;
  /** The bytes that a client without an SDK gets. */
  readonly textOf: (url: string, asking: Asking, answer: Answer) => Promise<string>;
  /** Ends it, and its gateways. */
  readonly close: () => Promise<void>;
}

/** Every request has to be a POST with a JSON body, whole, as a provider would insist on; any other is answered 400, and counts as `wrong`. */
export async function openAnsweringProvider(): Promise<AnsweringProvider> {
  const answers = new Map<string, Answer>();
  const requests = new Map<string, number>();
  const commands: Command[] = [];
  const server = createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8').on('data', (text: string) => (body += text));
    request.on('end', () => {
      const name = request.headers['x-case']?.toString() ?? 'wrong';
      const answer = answers.get(name);
      const isRight = request.method === 'POST' && answer !== undefined && isJson(body);
      const counted = isRight ? name : 'wrong';
      requests.set(counted, (requests.get(counted) ?? 0) + 1);
      if (isRight) Promise.resolve(answer(response)).catch(() => response.destroy());
      else response.writeHead(400).end();
    });
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const answer = (given: Answer): string => {
    const name = String(answers.size + 1);
    answers.set(name, given);
    return name;
  };
  const requestsOf = (name: string): number => requests.get(name) ?? 0;
  return {
    url,
    answer,
    requestsOf,
    async openGateway(args = [], upstream = `${url}/v1 api=anthropic,url=${url} api=gemini,url=${url}`) {
      const ports = ['--port', '0', '--admin-port', '0'];
      const log = ['--log-level', 'silent'];
      const command = spawnGateway([...ports, ...log, '--upstream', upstream, ...args]);
      commands.push(command);
      return {
        url: await printed(command, /Spillway on (\S+)/),
        adminUrl: await printed(command, /metrics (\S+)\/metrics/),
      };
    },
    async outcome(at, asking, stream, given, maxRetries) {
      const name = answer(given);
      const error = await asking
        .ask({ url: at, name, maxRetries }, stream)
        .catch((thrown: unknown) => thrown);
      return { seen: seen(error), requests: requestsOf(name) };
    },
    async textOf(at, { body, path }, given) {
      const headers = { 'content-type': 'application/json', 'x-case': answer(given) };
      return await (await fetch(at + path, { method: 'POST', headers, body })).text();
    },
    async close() {
      for (const { exited, process } of commands) {
        process.kill('SIGKILL');
        await exited;
      }
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
