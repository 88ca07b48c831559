import { describe, expect, test } from 'vitest';
import { replyText } from '../src/simulate/tokens.ts';
import { eventually, startBoth, startGateway } from './support/processes.ts';
import { metric, openai, postChat, rawChat, simulatorStats } from './support/requests.ts';
import {
  codeOf,
  contentIn,
  ended,
  idsOf,
  offset,
  openStream,
  readEvents,
  wholeStream,
  withoutIds,
} from './support/stream-url.ts';

const reply = 'sim:tokens=30,tps=0,ttft=0';

describe('4.1 a stream’s URL', () => {
  test('is told by responses that stream events, and by no others', async () => {
    const gateway = await startGateway();
    const { response } = await openStream(gateway.url, reply);
    await response.text();
    const others = [
      await postChat(gateway.url, reply, { stream: false }),
      await postChat(gateway.url, 'sim:status=500'),
      await fetch(`${gateway.url}/v1/models`),
    ];
    for (const other of others) expect(other.headers.get('content-location')).toBeNull();
  });

  test('is told also where a comment came before the provider answered', async () => {
    const gateway = await startGateway(['--keep-alive-ms', '25']);
    const client = await rawChat(gateway.url, 'sim:headers=400,tokens=3,tps=0,ttft=0');
    await eventually(() => client.received().includes(': ping'), 'a comment');
    expect(client.received()).toMatch(/^content-location: \/streams\/[\w-]{32}\r$/im);
    const [, path] = /^content-location: (\S+)\r$/im.exec(client.received()) ?? [];
    // It waits for the answer.
    expect(contentIn(await (await fetch(gateway.url + path)).text())).toBe(replyText(3, 0));
  });

  test('has a token that is in no log', async () => {
    const gateway = await startGateway(['--log-level', 'trace', '--retain-ms', '200']);
    const { response, url } = await openStream(gateway.url, 'sim:stall=3,tps=0,ttft=0');
    const abort = new AbortController();
    const leaving = fetch(`${url}?offset=now&live=long-poll`, { signal: abort.signal }).catch(() => 'left');
    const events = await readEvents(url);
    await fetch(`${url}?offset=wrong`);
    await fetch(`${url}?offset=-1&live=sse`).then((live) => live.body?.cancel());
    await fetch(url, { method: 'PUT' });
    abort.abort();
    expect(await leaving).toBe('left');
    await fetch(url, { method: 'DELETE' });
    await Promise.all([response.text(), events.text()]);
    await eventually(async () => (await fetch(url)).status === 404, 'it to be forgotten');
    gateway.process.kill('SIGTERM');
    await gateway.exited;
    const logs = gateway.stdout() + gateway.stderr();
    expect(logs).toContain('stream ended');
    expect(logs).not.toContain(url.split('/').at(-1));
  });
});

describe('4.2 a stream’s URL works only with its key', () => {
  test('of the gateway', async () => {
    const gateway = await startGateway([], { env: { SPILLWAY_API_KEYS: 'alpha,beta' } });
    const alpha = { authorization: 'Bearer alpha' };
    const { response, url } = await openStream(gateway.url, reply, { headers: alpha });
    const text = await response.text();
    expect(contentIn(await (await fetch(url, { headers: alpha })).text())).toBe(contentIn(text));
    const unknown = `${gateway.url}/streams/${'x'.repeat(32)}`;
    for (const method of ['GET', 'HEAD', 'DELETE']) {
      for (const headers of [{}, { authorization: 'Bearer beta' }, { authorization: 'Bearer gamma' }]) {
        const answers = await Promise.all(
          [url, unknown].map(async (asked) => {
            const answer = await fetch(asked, { method, headers });
            const body = (await answer.text()).replaceAll(/\/streams\/[\w-]+/g, '…');
            return { status: answer.status, body, headers: [...answer.headers.keys()] };
          }),
        );
        expect(answers[0]).toEqual(answers[1]);
        if (method === 'GET' && answers[0]?.status === 404)
          expect(answers[0].body).toContain('It is kept for retainMs after its end');
        expect(answers[0]?.status).toBe(headers.authorization === 'Bearer beta' ? 404 : 401);
      }
    }
    expect(contentIn(await (await fetch(url, { headers: { 'x-api-key': 'alpha' } })).text())).toBe(
      contentIn(text),
    );
  });

  test('of the client for the provider', async () => {
    const { gateway } = await startBoth();
    const mine = { authorization: 'Bearer mine' };
    const { response, url } = await openStream(gateway.url, reply, { headers: mine });
    const text = await response.text();
    expect(contentIn(await (await fetch(url, { headers: mine })).text())).toBe(contentIn(text));
    for (const headers of [{}, { authorization: 'Bearer other' }, { 'x-api-key': 'mine' }]) {
      expect((await fetch(url, { headers })).status).toBe(404);
    }
  });
});

describe('a second reader', () => {
  test('gets every byte that the first one got, while it runs and afterwards', async () => {
    const gateway = await startGateway();
    const { response, url } = await openStream(gateway.url, 'sim:tokens=30,tps=150,ttft=0');
    const [first, second] = await Promise.all([response.text(), readEvents(url).then((r) => r.text())]);
    expect(contentIn(first)).toBe(replyText(30, 0));
    const later = await fetch(url);
    const all = await later.text();
    expect(withoutIds(second)).toBe(all);
    expect(contentIn(all)).toBe(contentIn(first));
    expect(Object.fromEntries(later.headers)).toMatchObject({
      'content-type': 'text/plain; charset=utf-8',
      'content-length': String(Buffer.byteLength(all)),
      'stream-up-to-date': 'true',
      'stream-closed': 'true',
      'stream-state': 'completed',
      'cache-control': 'private, no-store',
      'x-content-type-options': 'nosniff',
    });
    const whole = later.headers.get('stream-next-offset');
    expect(await (await fetch(`${url}?offset=${whole}`)).text()).toBe('');
  });

  test('4.3 goes on from any offset that it was given', async () => {
    const gateway = await startGateway();
    const { next, text, url } = await wholeStream(gateway.url, 'sim:tokens=30,tps=0,ttft=0,batch=4');
    const chunks = Number(next);
    for (let from = 0; from <= chunks; from += 1) {
      const rest = await (await fetch(`${url}?offset=${offset(from)}`)).text();
      expect(text.endsWith(rest)).toBe(true);
      if (from > 0) expect(rest.length).toBeLessThan(text.length);
    }
    // Inside a chunk, too.
    const events = await (await readEvents(url)).text();
    const id = idsOf(events).find((candidate) => candidate.includes('.')) ?? '';
    const behind = withoutIds(events.slice(events.indexOf(`id: ${id}\n`) + id.length + 6));
    expect(await (await fetch(`${url}?offset=${id}`)).text()).toBe(behind);
  });

  test('is told what is wrong with its request', async () => {
    const gateway = await startGateway();
    const { next, url } = await wholeStream(gateway.url, reply);
    const beyond = offset(Number(next) + 1);
    for (const [query, message] of [
      ['offset=5', 'offset: expected -1, now, or an offset in 16 digits as this stream gave it, got "5".'],
      ['offset=', 'got ""'],
      [`offset=${offset(1)},2`, 'expected -1, now'],
      [`offset=${offset(1)}.0`, 'expected -1, now'],
      [`offset=${beyond}`, `offset: expected at most ${next}, where the stream is, got ${beyond}.`],
      ['offset=-1&offset=now', 'offset: expected it once, got it 2 times.'],
      ['live=sse', 'offset: expected one with live=sse, got none'],
      ['live=long-poll', 'offset: expected one with live=long-poll, got none'],
      ['offset=-1&live=yes', 'live: expected long-poll or sse, got "yes".'],
    ] as const) {
      const answer = await fetch(`${url}?${query}`);
      const { error } = (await answer.json()) as { error: { code: string; message: string } };
      expect([answer.status, error.code], query).toEqual([400, 'invalid_request']);
      expect(error.message).toContain(message);
    }
  });

  test('finds nothing after retainMs, and nothing of what is no stream', async () => {
    const gateway = await startGateway(['--retain-ms', '100']);
    const { url } = await wholeStream(gateway.url, reply);
    await eventually(async () => (await fetch(url)).status === 404, 'it to be forgotten');
    expect(await codeOf(await fetch(url))).toBe('not_found');
    // The SDK sees no difference.
    expect(await openai(gateway.url).models.list()).toMatchObject({ object: 'list' });
  });
});

test('pages of allowed origins can read a stream, in each way', async () => {
  const gateway = await startGateway();
  const { url } = await wholeStream(gateway.url, reply);
  const headers = { origin: 'http://localhost:3000' };
  for (const asked of [
    fetch(url, { headers }),
    readEvents(url, headers),
    fetch(`${url}?offset=-1&live=sse`, { headers }),
  ]) {
    const answer = await asked;
    expect(answer.headers.get('access-control-allow-origin')).toBe(headers.origin);
    expect(answer.headers.get('access-control-expose-headers')).toBe('*');
    await answer.text();
  }
  expect((await readEvents(url, { origin: 'https://evil.example' })).status).toBe(403);
});

test('a gateway that stops lets its streams be read to their end', async () => {
  const gateway = await startGateway();
  const { response, url } = await openStream(gateway.url, 'sim:tokens=60,tps=60,ttft=0');
  gateway.process.kill('SIGTERM');
  await eventually(async () => (await postChat(gateway.url, reply)).status === 503, 'it to stop');
  const [first, second] = await Promise.all([response.text(), readEvents(url).then((r) => r.text())]);
  expect(contentIn(second)).toBe(contentIn(first));
  expect(await gateway.exited).toBe(0);
});

describe('4.4 history', () => {
  test('that was merged is whole from its start, and gone inside', async () => {
    const gateway = await startGateway();
    const { next, url } = await wholeStream(gateway.url, 'sim:tokens=800,tps=1000,ttft=0');
    const all = await fetch(url);
    expect(contentIn(await all.text())).toBe(replyText(800, 0));
    expect(all.headers.get('stream-next-offset')).toBe(next);
    const inside = await fetch(`${url}?offset=${offset(2)}`);
    expect([inside.status, await codeOf(inside)]).toEqual([410, 'history_gone']);
    // Counted in a chunk that is another now.
    expect((await fetch(`${url}?offset=${offset(0)}.1`)).status).toBe(410);
  });

  test('that was released is gone, also for whoever asks for the start', async () => {
    const gateway = await startGateway(['--window-bytes', '16384']);
    const { next, url } = await wholeStream(gateway.url, 'sim:tokens=100,size=3000,tps=0,ttft=0');
    for (const query of ['', '?offset=-1', `?offset=${offset(0)}`, '?offset=-1&live=sse']) {
      const answer = await fetch(url + query);
      expect([answer.status, await codeOf(answer)], query).toEqual([410, 'history_gone']);
    }
    expect((await readEvents(url)).status).toBe(410);
    expect((await fetch(`${url}?offset=${next}`)).headers.get('stream-closed')).toBe('true');
  });

  test('comes in parts when it is long', async () => {
    const gateway = await startGateway(['--window-bytes', '4194304']);
    const { url } = await wholeStream(gateway.url, 'sim:tokens=600,size=1000,tps=0,ttft=0');
    let read = '';
    let next = '-1';
    for (let isClosed = false; !isClosed;) {
      const part = await fetch(`${url}?offset=${next}`);
      const body = await part.text();
      expect(body.length).toBeLessThanOrEqual(262_144);
      read += body;
      next = part.headers.get('stream-next-offset') ?? '';
      isClosed = part.headers.has('stream-closed');
      expect(part.headers.has('stream-up-to-date')).toBe(isClosed);
    }
    expect(contentIn(read)).toBe(replyText(600, 1000));
  });
});

describe('4.8 DELETE', () => {
  test('cancels a stream, for everyone', async () => {
    const { gateway, simulator } = await startBoth();
    const { response, url } = await openStream(gateway.url, 'sim:stall=3,tps=0,ttft=0');
    const reader = response.body?.getReader();
    await reader?.read();
    const events = readEvents(url);
    const poll = fetch(`${url}?offset=now&live=long-poll`);
    const sse = await fetch(`${url}?offset=now&live=sse`);
    expect((await events).status).toBe(200);
    expect((await fetch(url, { method: 'DELETE' })).status).toBe(204);
    expect(await (await events).text()).toContain('"code":"cancelled"');
    expect(await sse.text()).toContain('"streamClosed":true,"streamState":"cancelled"');
    const closed = { 'stream-state': 'cancelled', 'stream-closed': 'true' };
    expect(Object.fromEntries((await poll).headers)).toMatchObject(closed);
    let last = '';
    for (let part = await reader?.read(); part?.done === false; part = await reader?.read()) {
      last = Buffer.from(part.value).toString();
    }
    expect(last).toContain('"code":"cancelled"');
    await eventually(
      async () => (await simulatorStats(simulator.url))[0]?.state === 'left',
      'the model to be stopped',
    );
    expect(await ended(gateway.adminUrl, 'cancelled')).toBe(1);
    const head = await fetch(url, { method: 'HEAD' });
    expect([head.status, Object.fromEntries(head.headers)]).toMatchObject([200, closed]);
    const history = await fetch(url);
    expect([history.status, history.headers.get('stream-state')]).toEqual([410, 'cancelled']);
    // One sentence why, and no offset that could be read.
    expect(await history.json()).toMatchObject({
      error: {
        code: 'history_gone',
        message: 'The stream was cancelled. Of a stream that was stopped nothing is kept.',
      },
    });
    expect(Object.fromEntries((await fetch(`${url}?offset=now`)).headers)).toMatchObject(closed);
    expect((await fetch(url, { method: 'DELETE' })).status).toBe(204);
  });

  test('leaves a stream that has ended as it is', async () => {
    const gateway = await startGateway();
    const { text, url } = await wholeStream(gateway.url, reply);
    expect((await fetch(url, { method: 'DELETE' })).status).toBe(204);
    expect(await (await fetch(url)).text()).toBe(text);
    expect(await metric(gateway.adminUrl, 'spillway_readers_ended_total{reason="delivered"}')).toBe(1);
  });
});

test('what is kept of ended streams is bounded: the oldest goes first', async () => {
  const gateway = await startGateway(['--max-retained-bytes', '60000']);
  const urls: string[] = [];
  for (let count = 0; count < 8; count += 1) {
    urls.push((await wholeStream(gateway.url, 'sim:tokens=5,tps=0,ttft=0')).url);
  }
  const statuses = async (): Promise<number[]> =>
    await Promise.all(urls.map(async (url) => (await fetch(url)).status));
  await eventually(async () => (await statuses())[0] === 404, 'the oldest to be gone');
  expect((await statuses()).at(-1)).toBe(200);
});
