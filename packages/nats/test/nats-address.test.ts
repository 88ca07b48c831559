import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { nkeys } from '@nats-io/transport-node';
import { openNatsSink, openNatsSource } from '@spillway/nats';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { NatsServer, needsNats } from './support/nats-server.ts';

let folder = '';

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'spillway-nats-keys-'));
});

afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

const opened = (url: string): Promise<unknown> =>
  openNatsSink({ url, openTimeoutMs: 30_000 }).then((sink) => sink.close());

test.each([
  ['nats:/127.0.0.1', 'expected nats://HOST:PORT/STREAM'],
  ['http://127.0.0.1/llm', 'expected nats://HOST:PORT/STREAM'],
  ['nats://u:secret@127.0.0.1:99999/llm', 'expected nats://HOST:PORT/STREAM'],
  ['nats://u:secret@127.0.0.1,/llm', 'expected nats://HOST:PORT/STREAM'],
  ['nats://u:secret@127.0.0.1/l.m', 'expected the name of a stream'],
  ['nats://u:secret@127.0.0.1/llm?subjet=x', 'got subjet: did you mean subject?'],
  ['nats://u:secret@127.0.0.1/llm?subject=x.*', 'subject: expected words'],
  ['nats://u:secret@127.0.0.1/llm?create=yes', 'create: expected a whole number from 0 to 1'],
  ['nats://u:secret@127.0.0.1/llm?replicas=3', 'expected create=1 beside them'],
  ['nats://u:secret@127.0.0.1/llm?create=1&create=1', 'expected create=VALUE once'],
  ['nats://u:secret@127.0.0.1/llm?maxUnderWay=0', 'maxUnderWay: expected a whole number from 1 to 1000'],
  ['nats://u:sec%ret@127.0.0.1/llm', 'expected % to begin a character'],
  ['nats://u:secret@127.0.0.1/llm?tls=yes', 'tls: expected 1'],
  [
    'nats://u:secret@127.0.0.1/llm?creds=/none/such',
    'creds: expected a file that can be read, got /none/such (ENOENT)',
  ],
])('%s is refused and says why, without the password', async (url, message) => {
  const error = await openNatsSink({ url }).catch((came: unknown) => came);
  expect(error).toMatchObject({
    code: 'invalid_option',
    message: expect.stringContaining(message) as string,
  });
  expect(String(error)).not.toMatch(/sec%?ret/);
});

test('options are checked before anything is opened', async () => {
  const url = 'nats://127.0.0.1:1/llm';
  await expect(openNatsSink({ url, maxEntryBytes: 1000 })).rejects.toThrow(
    'maxEntryBytes: expected 1024 or more',
  );
  await expect(openNatsSink({ url, openTimeoutMs: 0 })).rejects.toThrow('openTimeoutMs: expected');
  await expect(openNatsSource({ url, name: 'a b' })).rejects.toThrow('name: expected 1 to 64 characters');
  await expect(openNatsSource({ url, name: 'a', stream: '' })).rejects.toThrow('stream: expected 1 to 128');
  await expect(openNatsSource({ url: `${url}?create=1`, name: 'a' })).rejects.toThrow('got create.');
});

test('promise 15: a NATS that is away rejects the opening at once', async () => {
  const startedMs = performance.now();
  const url = 'nats://u:secret@127.0.0.1:1/llm';
  const away = [openNatsSink({ url }), openNatsSource({ url, name: 'a' })];
  const errors = await Promise.all(away.map((opening) => opening.catch((came: unknown) => came)));
  expect(errors).toMatchObject([{ code: 'sink_failed' }, { code: 'source_failed' }]);
  expect(errors.map(String).join()).not.toContain('secret');
  expect(performance.now() - startedMs).toBeLessThan(4000);
});

test('a token, and an nkey, are what the server asks for', async (context) => {
  needsNats(context);
  const token = await NatsServer.start('authorization { token: "t0ken" }', { token: 't0ken' });
  onTestFinished(() => token.remove());
  await opened(`nats://t0ken@127.0.0.1:${token.port}/llm?create=1`);
  await expect(opened(`nats://other@127.0.0.1:${token.port}/llm`)).rejects.toMatchObject({
    code: 'sink_failed',
  });

  const pair = nkeys.createUser();
  const file = join(folder, 'user.nk');
  writeFileSync(file, `${Buffer.from(pair.getSeed()).toString()}\n`);
  const config = `authorization { users: [ { nkey: ${pair.getPublicKey()} }, { user: t, password: t } ] }`;
  const server = await NatsServer.start(config, { user: 't', pass: 't' });
  onTestFinished(() => server.remove());
  await opened(`nats://127.0.0.1:${server.port}/llm?create=1&nkey=${file}`);
  await expect(opened(`nats://127.0.0.1:${server.port}/llm`)).rejects.toThrow(/authorization/i);
});

test('TLS is what the server asks for, and its certificate is checked', async (context) => {
  needsNats(context);
  if (spawnSync('openssl', ['version']).status !== 0) context.skip('needs openssl');
  const [key, certificate] = [join(folder, 'key.pem'), join(folder, 'cert.pem')];
  const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1'];
  const form = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
  execFileSync('openssl', ['req', '-x509', ...form, '-keyout', key, '-out', certificate, ...subject], {
    stdio: 'ignore',
  });
  const server = await NatsServer.start(`tls { cert_file: "${certificate}", key_file: "${key}" }`, {
    tls: { caFile: certificate },
  });
  onTestFinished(() => server.remove());
  const at = `127.0.0.1:${server.port}/llm`;
  await opened(`tls://${at}?create=1&tlsca=${certificate}`);
  await opened(`nats://${at}?tlsca=${certificate}`);
  await expect(opened(`tls://${at}`)).rejects.toThrow(/certificate/);
  const plain = await NatsServer.start();
  onTestFinished(() => plain.remove());
  await expect(opened(`nats://127.0.0.1:${plain.port}/llm?create=1&tls=1`)).rejects.toThrow(/tls/);
});
