import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** What a double of an API refuses, as the real one does. */
export interface AnswerRules<T> {
  /** The only path that there is, with its query. */
  readonly path: string;
  /** What the headers lack; `undefined`: nothing. */
  readonly refuseHeaders: (headers: IncomingMessage['headers']) => string | undefined;
  /** The status of an answer to headers that lack something. */
  readonly headersStatus: number;
  /** The request, or what is wrong with it. */
  readonly read: (body: unknown) => { readonly request: T } | { readonly wrong: string };
  /** The body of an error. */
  readonly errorBody: (status: number, message: string, isForHeaders: boolean) => object;
}

/** A server of an API that makes answers, which refuses what the real one refuses, and answers as the test says. */
export class AnswerServer<T> {
  readonly requests: T[] = [];
  /** Connections that the client has ended before the answer was. */
  aborted = 0;
  readonly #server: Server;

  constructor(rules: AnswerRules<T>, answer: (response: ServerResponse, request: T) => void) {
    this.#server = createServer((request, response) => void this.#take(request, response, rules, answer));
  }

  async listen(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #take(
    request: IncomingMessage,
    response: ServerResponse,
    { errorBody, headersStatus, path, read, refuseHeaders }: AnswerRules<T>,
    answer: (response: ServerResponse, request: T) => void,
  ): Promise<void> {
    const refuse = (status: number, message: string, isForHeaders = false): void => {
      response.writeHead(status, { 'content-type': 'application/json' });
      response.end(JSON.stringify(errorBody(status, message, isForHeaders)));
    };
    response.on('close', () => (this.aborted += response.writableFinished ? 0 : 1));
    let body = '';
    for await (const bytes of request) body += String(bytes);
    const lacking = refuseHeaders(request.headers);
    if (request.method !== 'POST' || request.url !== path) refuse(404, `No ${String(request.url)}.`);
    else if (lacking !== undefined) refuse(headersStatus, lacking, true);
    else {
      const found = read(JSON.parse(body));
      if ('wrong' in found) refuse(400, found.wrong);
      else {
        this.requests.push(found.request);
        answer(response, found.request);
      }
    }
  }
}

/** Begins an answer. */
export function beginEvents(response: ServerResponse): void {
  response.writeHead(200, { 'content-type': 'text/event-stream' });
}
