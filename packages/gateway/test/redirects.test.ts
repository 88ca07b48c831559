import { createServer } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { describe, expect, onTestFinished, test } from 'vitest';
import { ask, formatAnswers, upstreamsAt } from './support/answers.ts';
import { startGateway } from './support/processes.ts';
import {
  type RawPair,
  type RawProvider,
  rawPairForAll,
  startRawProvider,
  wholeAnswer,
} from './support/raw-provider.ts';
import { metric, payloads, postChat } from './support/requests.ts';

const [chat] = formatAnswers;

const shared = rawPairForAll(['--retries', '0']);

/** A provider that redirects where `location` says, and answers at `/there`. */
async function start(
  redirect: { status: number; location: string },
  args: readonly string[] = [],
): Promise<RawPair> {
  const respond: RawProvider['answer'] = ({ path }, socket) => {
    const { location, status } = redirect;
    if (!path.startsWith('/there')) {
      socket.write(wholeAnswer('', { location }, `${status} Elsewhere`));
      return;
    }
    const answer = formatAnswers.find(({ format }) => path.includes(format)) ?? chat;
    socket.write(wholeAnswer(answer.events.text + answer.events.reason + answer.events.marker));
  };
  if (args.length === 0) {
    const { gateway, provider } = shared();
    provider.answer = respond;
    return { gateway, provider };
  }
  const provider = await startRawProvider(respond);
  const gateway = await startGateway(['--upstream', upstreamsAt(provider.url), '--retries', '0', ...args]);
  return { gateway, provider };
}

/** Somewhere else, where nobody may go. */
async function startElsewhere(): Promise<{ url: string; seen: string[] }> {
  const seen: string[] = [];
  const server = createServer((request, response) => {
    seen.push(request.url ?? '');
    response.end('{}');
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  onTestFinished(() => void server.close());
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, seen };
}

describe('a redirect inside of the provider’s origin is followed', () => {
  test.each([307, 308])('with the method and the body by status %i, in every format', async (status) => {
    const redirect = { status, location: '' };
    const { gateway, provider } = await start(redirect);
    const completed = 'spillway_streams_ended_total{state="completed"}';
    const completedBefore = await metric(gateway.adminUrl, completed);
    for (const answer of formatAnswers) {
      redirect.location = `/there/${answer.format}?a=1`;
      const response = await ask(gateway.url, answer, { authorization: 'Bearer secret' });
      expect(response.status).toBe(200);
      expect(await response.text()).toContain('one');
      const [before, after] = provider.asked.splice(0);
      expect(after).toMatchObject({ method: 'POST', path: redirect.location, body: answer.body });
      expect(after?.headers).toEqual(before?.headers);
    }
    expect((await metric(gateway.adminUrl, completed)) - completedBefore).toBe(5);
    expect(await metric(gateway.adminUrl, 'spillway_retries_total')).toBe(0);
  });

  test.each([301, 302, 303])(
    'as a GET without the body by status %i, as direct clients do',
    async (status) => {
      const { gateway, provider } = await start({ status, location: '/there' });
      expect(await (await postChat(gateway.url, 'm')).text()).toContain('one');
      const [, after] = provider.asked;
      expect(after).toMatchObject({ method: 'GET', path: '/there', body: '' });
      expect(Object.keys(after?.headers ?? {}).filter((name) => name.startsWith('content-'))).toEqual([]);
    },
  );

  test.each([
    ['an absolute URL', (url: string) => `${url}/there/x`, '/there/x'],
    ['one without a scheme', (url: string) => `${url.replace('http:', '')}/there/x`, '/there/x'],
    ['one with a fragment', () => '/there/x#y', '/there/x'],
    ['a path beside the one that was asked', () => '../../there/x', '/there/x'],
    ['characters that no URL has', () => Buffer.from('/there/ü').toString('latin1'), '/there/%C3%BC'],
  ])('by %s', async (_what, locationAt, path) => {
    const redirect = { status: 307, location: '' };
    const { gateway, provider } = await start(redirect);
    redirect.location = locationAt(provider.url);
    expect(await (await postChat(gateway.url, 'm')).text()).toContain('one');
    expect(provider.asked[1]).toMatchObject({ method: 'POST', path });
  });

  test('on paths that have no format, too', async () => {
    const { gateway, provider } = await start({ status: 302, location: '/there' });
    expect(await (await fetch(`${gateway.url}/v1/files/1/content`)).text()).toContain('one');
    const put = { method: 'PUT', body: 'x', headers: { 'content-type': 'text/plain' } };
    expect(await (await fetch(`${gateway.url}/v1/files/1`, put)).text()).toContain('one');
    // Only what is posted becomes a GET.
    expect(provider.asked.map(({ body, method }) => method + body)).toEqual(['GET', 'GET', 'PUTx', 'PUTx']);
  });

  test('five times at most', async () => {
    const { gateway, provider } = await start({ status: 307, location: '/here' });
    const response = await postChat(gateway.url, 'm');
    expect(response.status).toBe(307);
    expect(await response.json()).toMatchObject({ error: { code: 'upstream_redirect' } });
    expect(provider.asked).toHaveLength(6);
  });
});

describe('any other is told, and nobody goes there', () => {
  const elsewhere = [
    ['another port', (url: string) => `${url}/v1/chat/completions?token=hidden`],
    ['another host', (url: string) => url.replace('127.0.0.1', 'localhost')],
    ['another scheme', (_url: string, own: string) => own.replace('http:', 'https:')],
    ['a user of another host', (url: string, own: string) => `${own}@${url.replace('http://', '')}/`],
    ['no scheme', (url: string) => url.replace('http:', '')],
    ['backslashes', (url: string) => url.replace('http://', '\\\\')],
    ['no HTTP', () => 'file:///etc/passwd'],
    ['two URLs', (_url: string, own: string) => `${own}/there, ${own}/there`],
    ['two slashes', (_url: string, own: string) => `${own}//there`],
  ] as const;

  test.each(elsewhere)('%s', async (_what, locationAt) => {
    const redirect = { status: 307, location: '' };
    const { gateway, provider } = await start(redirect);
    const other = await startElsewhere();
    const saidBefore = gateway.stderr().length;
    redirect.location = locationAt(other.url, provider.url);
    for (const status of [301, 302, 303, 307, 308]) {
      redirect.status = status;
      for (const stream of [true, false]) {
        // A client that follows by itself, as most do.
        const response = await postChat(gateway.url, 'm', { stream });
        expect(response.redirected).toBe(false);
        expect(response.status).toBe(status);
        expect(response.headers.get('location')).toBe(null);
        expect(response.headers.get('x-should-retry')).toBe('false');
        const { error } = (await response.json()) as { error: { code: string; message: string } };
        expect(error.code).toBe('upstream_redirect');
        expect(error.message).toContain(redirect.location);
        expect(error.message).toContain(`status ${status}`);
      }
    }
    const response = await fetch(`${gateway.url}/v1/files/1`);
    expect([response.redirected, response.status]).toEqual([false, 308]);
    expect(other.seen).toEqual([]);
    const list = await fetch(`${gateway.url}/v1/models`);
    expect([list.redirected, list.status, list.headers.get('location')]).toEqual([false, 308, null]);
    expect(await list.json()).toMatchObject({ error: { code: 'upstream_redirect' } });
    expect(provider.asked).toHaveLength(12);
    // What stands behind a question mark is not for logs.
    const said = gateway.stderr().slice(saidBefore);
    expect(said).toContain('upstream_redirect');
    expect(said).not.toContain('hidden');
  });

  test('in the shape of every format, and as an event where a comment was sent before', async () => {
    const other = await startElsewhere();
    const redirect = { status: 307, location: `${other.url}/x` };
    // However late this machine is, no comment comes first.
    const prompt = await start(redirect);
    for (const answer of formatAnswers) {
      const response = await ask(prompt.gateway.url, answer);
      expect(response.status).toBe(307);
      expect(JSON.stringify(await response.json())).toContain(redirect.location);
    }
    const { gateway, provider } = await start(redirect, ['--keep-alive-ms', '50']);
    provider.answer = (_asked, socket) => {
      setTimeout(() => socket.write(wholeAnswer('', { location: redirect.location }, '307 Elsewhere')), 300);
    };
    for (const answer of formatAnswers) {
      const response = await ask(gateway.url, answer);
      expect(response.status).toBe(200);
      expect(payloads(await response.text()).at(-1)).toContain(redirect.location);
    }
    expect(other.seen).toEqual([]);
  });
});
