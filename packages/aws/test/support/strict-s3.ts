import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/**
 * As much of S3 as the sink needs, on a real socket, and as strict: an object that is written with `If-None-Match: *` where
 * there is one is refused with 412, and a listing has pages. What other programs emulate writes over it.
 */
export class StrictS3 {
  readonly #server: Server;
  readonly objects = new Map<string, Buffer>();
  readonly pageSize: number;
  /** `refused`: it answers the condition with 501, as Swift does. `ignored`: it writes over what is there, as fauxqs does. */
  conditions: 'ignored' | 'known' | 'refused' = 'known';
  /** A longer body is answered as by a proxy, in words of its own. */
  maxBodyBytes = Infinity;
  /** Keys in the order in which they were written. */
  readonly writes: string[] = [];

  private constructor(pageSize: number) {
    this.pageSize = pageSize;
    this.#server = createServer((asked, answer) => {
      this.#answer(asked, answer).catch(() => answer.destroy());
    });
  }

  static async start(pageSize = 1000): Promise<StrictS3> {
    const store = new StrictS3(pageSize);
    store.#server.listen(0, '127.0.0.1');
    await once(store.#server, 'listening');
    return store;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }

  async #answer(asked: IncomingMessage, answer: ServerResponse): Promise<void> {
    const pieces: Buffer[] = [];
    for await (const piece of asked) pieces.push(piece as Buffer);
    const { pathname, searchParams } = new URL(asked.url ?? '/', 'http://s3');
    const key = decodeURIComponent(pathname.split('/').slice(2).join('/'));
    if (asked.method === 'PUT') this.#put(key, asked, Buffer.concat(pieces), answer);
    else if (searchParams.get('list-type') === '2') this.#list(searchParams, answer);
    else this.#get(key, asked.headers.range, answer);
  }

  #put(key: string, { headers }: IncomingMessage, body: Buffer, answer: ServerResponse): void {
    if (body.length > this.maxBodyBytes) {
      answer
        .writeHead(413, { 'content-type': 'text/html' })
        .end('<html><h1>413 Request Entity Too Large</h1>');
      return;
    }
    const isConditional = headers['if-none-match'] !== undefined;
    if (isConditional && this.conditions === 'refused') refuse(answer, 501, 'NotImplemented');
    else if (isConditional && this.conditions === 'known' && this.objects.has(key))
      refuse(answer, 412, 'PreconditionFailed');
    else {
      this.objects.set(key, body);
      this.writes.push(key);
      answer.writeHead(200, { etag: '"e"' }).end();
    }
  }

  #get(key: string, range: string | undefined, answer: ServerResponse): void {
    const body = this.objects.get(key);
    if (body === undefined) {
      refuse(answer, 404, 'NoSuchKey');
      return;
    }
    const [, end] = /^bytes=0-(\d+)$/.exec(range ?? '') ?? [];
    const part = end === undefined ? body : body.subarray(0, Number(end) + 1);
    answer.writeHead(end === undefined ? 200 : 206, { 'content-length': part.length }).end(part);
  }

  #list(query: URLSearchParams, answer: ServerResponse): void {
    const after = query.get('continuation-token') ?? query.get('start-after') ?? '';
    const prefix = query.get('prefix') ?? '';
    const keys = [...this.objects.keys()].filter((key) => key.startsWith(prefix) && key > after).toSorted();
    const page = keys.slice(0, this.pageSize);
    const next = page.length < keys.length ? page.at(-1) : undefined;
    const more = next === undefined ? '' : `<NextContinuationToken>${next}</NextContinuationToken>`;
    answer
      .writeHead(200, { 'content-type': 'application/xml' })
      .end(
        `<ListBucketResult><IsTruncated>${next !== undefined}</IsTruncated>${more}${page.map((key) => `<Contents><Key>${key}</Key></Contents>`).join('')}</ListBucketResult>`,
      );
  }
}

function refuse(answer: ServerResponse, status: number, code: string): void {
  answer
    .writeHead(status, { 'content-type': 'application/xml' })
    .end(`<?xml version="1.0"?><Error><Code>${code}</Code><Message>as S3 says it</Message></Error>`);
}
