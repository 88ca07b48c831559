import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { brotliDecompressSync, gunzipSync, inflateRawSync, inflateSync, zstdDecompressSync } from 'node:zlib';
import { onTestFinished } from 'vitest';

/** A request as the provider read it. */
export interface ReadRequest {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingHttpHeaders;
  /** As it came. */
  readonly bytes: Buffer;
  /** Of a form its texts, and of its files their bytes in Base64. */
  readonly fields: Readonly<Record<string, unknown>>;
}

export interface StrictProvider {
  /** Without a path. */
  readonly url: string;
  readonly requests: readonly ReadRequest[];
}

/** Why a provider refuses a request. */
export class Refusal extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/**
 * Starts a provider that reads requests with parsers of its own (Node's), whatever their coding, and refuses as real ones do:
 * what it cannot read, and models that it does not have.
 */
export async function startStrictProvider(
  answer: (request: ReadRequest, response: ServerResponse) => void,
): Promise<StrictProvider> {
  const provider = await openStrictProvider(answer);
  onTestFinished(provider.close);
  return provider;
}

/** {@link startStrictProvider} for several tests: whoever starts it closes it. */
export async function openStrictProvider(
  answer: (request: ReadRequest, response: ServerResponse) => void,
): Promise<StrictProvider & { readonly close: () => void }> {
  const requests: ReadRequest[] = [];
  const server = createServer((incoming, response) => {
    const handle = async (): Promise<void> => {
      const request = await readRequest(incoming);
      requests.push(request);
      answer(request, response);
    };
    handle().catch((error: unknown) => refuse(response, error));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const close = (): void => {
    server.close();
    server.closeAllConnections();
  };
  return { url, requests, close };
}

/** A provider with these models and the API of OpenAI. It transcribes recordings that begin with its own name. */
export async function startModels(name: string, models: readonly string[]): Promise<StrictProvider> {
  return await startStrictProvider((request, response) => {
    try {
      const { fields, path } = request;
      const model = fields['model'] ?? models[0];
      if (typeof model !== 'string' || !models.includes(model)) {
        throw new Refusal(404, `The model \`${JSON.stringify(model)}\` does not exist.`);
      }
      for (const file of [fields['file'], fields['image']]) {
        if (file === undefined) continue;
        if (typeof file === 'string' && Buffer.from(file, 'base64').toString('latin1').startsWith(name))
          continue;
        throw new Refusal(400, `${name} got somebody else's file`);
      }
      response.writeHead(200, { 'content-type': 'application/json' });
      response.end(JSON.stringify({ name, path, model: fields['model'] ?? null, text: `by ${name}` }));
    } catch (error) {
      refuse(response, error);
    }
  });
}

export function refuse(response: ServerResponse, error: unknown): void {
  const status = error instanceof Refusal ? error.status : 400;
  const message = error instanceof Error ? error.message : 'no';
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(
    JSON.stringify({ error: { message, type: 'invalid_request_error', param: null, code: null } }),
  );
}

async function readRequest(incoming: IncomingMessage): Promise<ReadRequest> {
  const parts: Buffer[] = [];
  for await (const part of incoming as AsyncIterable<Buffer>) parts.push(part);
  const { headers, method = '', url = '' } = incoming;
  const bytes = Buffer.concat(parts);
  const { pathname, searchParams } = new URL(url, 'http://provider');
  const fields = await readFields(decode(bytes, headers['content-encoding']), headers['content-type'] ?? '');
  return { method, path: pathname, query: searchParams, headers, bytes, fields };
}

async function readFields(bytes: Buffer, contentType: string): Promise<Record<string, unknown>> {
  if (bytes.length === 0) return {};
  if (!contentType.startsWith('multipart/form-data')) {
    if (!/json/.test(contentType)) return {};
    // Without a byte order mark, as most read it.
    return JSON.parse(new TextDecoder().decode(bytes)) as Record<string, unknown>;
  }
  const form = await new Response(new Uint8Array(bytes), {
    headers: { 'content-type': contentType },
  }).formData();
  const fields: Record<string, unknown> = {};
  for (const [key, value] of form.entries()) {
    fields[key] =
      typeof value === 'string' ? value : Buffer.from(await value.arrayBuffer()).toString('base64');
  }
  return fields;
}

function decode(bytes: Buffer, coding = 'identity'): Buffer {
  switch (coding) {
    case 'identity':
      return bytes;
    case 'gzip':
      return gunzipSync(bytes);
    case 'br':
      return brotliDecompressSync(bytes);
    case 'zstd':
      return zstdDecompressSync(bytes);
    case 'deflate':
      return ((bytes[0] ?? 0) & 15) === 8 ? inflateSync(bytes) : inflateRawSync(bytes);
    default:
      throw new Refusal(415, `unsupported content encoding ${coding}`);
  }
}
