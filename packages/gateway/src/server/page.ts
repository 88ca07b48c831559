import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import type { FastifyInstance } from 'fastify';

const pack = promisify(gzip);

/** The folder of the built console. The path is the same from the sources and from `dist`. */
const folder = fileURLToPath(new URL('../../dist/page/', import.meta.url));

const types: Readonly<Record<string, string>> = {
  '.css': 'text/css; charset=utf-8',
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.svg': 'image/svg+xml',
};

const headers = {
  // The page may load only what this server serves, and no other page may frame it.
  'content-security-policy':
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; " +
    "object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
};

/** Serves the console's few files from memory: no request's path ever reaches the file system. */
export function addPage(server: FastifyInstance): void {
  if (!existsSync(folder)) {
    server.get('/', (_request, reply) => reply.code(404).send('The console is not built: npm run build'));
    return;
  }
  for (const file of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
    const type = types[extname(file)];
    if (type === undefined) continue;
    const body = readFileSync(join(folder, file));
    // A third of the bytes, for somebody who looks from a phone. Once, for the first of them: most gateways have no such one.
    let packed: Promise<Buffer> | undefined;
    // The names of assets contain a hash, so these files never change.
    const caching = file.startsWith('assets') ? 'public, max-age=31536000, immutable' : 'no-cache';
    server.get(file === 'index.html' ? '/' : `/${file.replaceAll('\\', '/')}`, async (request, reply) => {
      const isPacked = takesGzip(request.headers['accept-encoding']);
      if (isPacked) packed ??= pack(body, { level: 9 });
      return reply
        .headers({ ...headers, 'cache-control': caching, vary: 'accept-encoding' })
        .headers(isPacked ? { 'content-encoding': 'gzip' } : {})
        .type(type)
        .send(isPacked ? await packed : body);
    });
  }
}

function takesGzip(codings: string | readonly string[] = ''): boolean {
  const asked = String(codings)
    .split(',')
    .map((coding) => coding.replaceAll(/\s/g, '').toLowerCase());
  return asked.some((coding) => /^gzip(?:;q=(?!0(?:\.0*)?$).*)?$/.test(coding));
}
