import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { type ClientHttp2Session, type ClientHttp2Stream, connect } from 'node:http2';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test, type TestContext } from 'vitest';
import { freePort } from '../../core/test/support/free-port.ts';
import { makeCertificates } from './support/certificates.ts';
import { eventually, startBoth } from './support/processes.ts';
import { chatBody, simulatorStats } from './support/requests.ts';
import { spawnProgram } from './support/spawn.ts';

/** Skips a test where nginx is not installed, but never without a word; with `NGINX_REQUIRED` it fails instead. */
function needsNginx(context: TestContext): void {
  if (spawnSync('nginx', ['-v']).error === undefined) return;
  const reason = "needs nginx (Debian's package nginx) in the PATH";
  if (process.env['NGINX_REQUIRED'] !== undefined) throw new Error(reason);
  context.skip(reason);
}

/** nginx with the configuration of the docs, but for its port, its gateway and its certificate. */
async function startNginx(gatewayUrl: string): Promise<{ readonly url: string; readonly ca: string }> {
  const folder = mkdtempSync(join(tmpdir(), 'spillway-nginx-'));
  const certificates = makeCertificates();
  const { server, authority } = certificates;
  const port = await freePort();
  const docs = readFileSync(new URL('../../../docs/operating.md', import.meta.url), 'utf8');
  const [, site = ''] = /```nginx\n(map [^]*?)```/.exec(docs) ?? [];
  const replaced = [
    ['listen 443 ', `listen 127.0.0.1:${port} `],
    ['/etc/nginx/fullchain.pem', server.certFile],
    ['/etc/nginx/privkey.pem', server.keyFile],
    ['http://127.0.0.1:8080', gatewayUrl],
  ].reduce((text, [from = '', to = '']) => {
    expect(text).toContain(from);
    return text.replace(from, to);
  }, site);
  const temporary = ['client_body', 'fastcgi', 'proxy', 'scgi', 'uwsgi'].map(
    (name) => `${name}_temp_path ${folder}/${name};`,
  );
  const file = join(folder, 'nginx.conf');
  writeFileSync(
    file,
    `pid ${folder}/pid; error_log stderr crit; daemon off; master_process off; events { }\n` +
      `http { access_log off; ${temporary.join(' ')}\n${replaced}}`,
  );
  const nginx = spawnProgram(['nginx', '-p', folder, '-c', file, '-e', 'stderr']);
  onTestFinished(async () => {
    nginx.process.kill('SIGKILL');
    await nginx.exited;
    certificates.remove();
    rmSync(folder, { recursive: true });
  });
  return { url: `https://127.0.0.1:${port}`, ca: authority.cert };
}

async function openHttp2(url: string, ca: string): Promise<ClientHttp2Session> {
  return await eventually(async () => {
    const session = connect(url, { ca });
    session.on('error', () => undefined);
    const isOpen = await new Promise<boolean>((resolve) => {
      session.once('connect', () => resolve(true)).once('close', () => resolve(false));
    });
    return isOpen && session;
  }, 'nginx to listen');
}

function ask(session: ClientHttp2Session, model: string): { stream: ClientHttp2Stream; text: () => string } {
  const stream = session.request({
    ':method': 'POST',
    ':path': '/v1/chat/completions',
    'content-type': 'application/json',
    authorization: 'Bearer sk-test',
  });
  let text = '';
  stream.setEncoding('utf8').on('data', (part: string) => (text += part));
  stream.on('error', () => undefined);
  stream.end(chatBody(model));
  return { stream, text: () => text };
}

test('behind nginx with HTTP/2: many streams over one connection, at once, and who leaves stops the model', async (context) => {
  needsNginx(context);
  const { gateway, simulator } = await startBoth([], { env: { SPILLWAY_API_KEYS: 'sk-test' } });
  const { url, ca } = await startNginx(gateway.url);
  const session = await openHttp2(url, ca);
  onTestFinished(() => session.destroy());

  // Each has its first event while it is far from its end.
  const streams = Array.from({ length: 20 }, () => ask(session, 'sim:tps=20,ttft=0,tokens=100000'));
  await eventually(() => streams.every(({ text }) => text().includes('data: ')), 'a first event of each');
  const running = await simulatorStats(simulator.url);
  expect(running.filter(({ state }) => state === 'running')).toHaveLength(20);

  for (const { stream } of streams) stream.close();
  await eventually(
    async () => (await simulatorStats(simulator.url)).every(({ state }) => state === 'left'),
    'the models to be stopped',
  );
  const whole = ask(session, 'sim:tps=0,ttft=0,tokens=50');
  await eventually(() => whole.text().includes('[DONE]'), 'a whole answer over the same connection');
});
