import { cpSync } from 'node:fs';
import { RecordGap, type RecordSource, type SourceItem } from '@spillway/core/source/record-source';
import { openNatsSink, openNatsSource } from '@spillway/nats';
import { headers } from '@nats-io/transport-node';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { hasNats, NatsServer, needsNats } from './support/nats-server.ts';

let server: NatsServer;
let streams = 0;

beforeAll(async () => {
  if (hasNats) server = await NatsServer.start();
});

afterAll(async () => {
  if (hasNats) await server.remove();
});

const soon = (ms = 30_000): AbortSignal => AbortSignal.timeout(ms);

async function makeStream(config: object = {}): Promise<string> {
  streams += 1;
  const name = `t${streams}`;
  const answer = await server.api(`STREAM.CREATE.${name}`, { name, subjects: [`${name}.>`], ...config });
  expect(answer).not.toHaveProperty('error');
  return name;
}

async function publish(
  subject: string,
  body: string,
  fields: Readonly<Record<string, string>> = {},
): Promise<void> {
  const made = headers();
  for (const [name, value] of Object.entries(fields)) made.set(name, value);
  await (await server.client()).request(subject, body, { timeout: 10_000, headers: made });
}

async function openSource(name: string, query = '', options: object = {}): Promise<RecordSource> {
  const url = `${server.url}/${name}?timeoutMs=30000${query}`;
  const source = await openNatsSource({ url, name: 'index', openTimeoutMs: 30_000, ...options });
  onTestFinished(() => source.close());
  return source;
}

async function read(source: RecordSource, count: number): Promise<SourceItem[]> {
  const items: SourceItem[] = [];
  while (items.length < count) items.push(...(await source.read({ maxItems: 100 }, soon())));
  return items;
}

/** Items in short: `STREAM SEQ TEXT`, or the gap. */
function shown(items: readonly SourceItem[]): string[] {
  return items.map((item) =>
    item instanceof RecordGap
      ? `gap ${item.from}-${item.to} ${item.maxRecords} ${item.reason}`
      : `${item.stream} ${item.seq} ${Buffer.from(item.value).toString()}`,
  );
}

describe('what else is in a stream', () => {
  test('promise 15: messages of other programs are records of a stream of their own', async (context) => {
    needsNats(context);
    const name = await makeStream();
    await publish(`${name}.x.y`, 'one', { lang: 'de' });
    await publish(`${name}.z`, 'two', { 'Spillway-Stream': 'a', 'Spillway-Seq': 'none' });
    expect(shown(await read(await openSource(name), 2))).toEqual([`${name} 1 one`, `${name} 2 two`]);
    const decoded = await openSource(name, '', {
      name: 'other',
      stream: 'words',
      decode: ({
        body,
        header,
        subject,
      }: {
        body: Uint8Array;
        header: (key: string) => string[];
        subject: string;
      }) => Buffer.from(`${subject} ${header('lang').join()} ${body.length}`),
    });
    expect(shown(await read(decoded, 2))).toEqual([`words 1 ${name}.x.y de 3`, `words 2 ${name}.z  3`]);
  });

  test('promise 15: a source of one subject passes others over, and is told what its beginning lost', async (context) => {
    needsNats(context);
    const name = await makeStream();
    for (const [index, subject] of ['a', 'b', 'b', 'a', 'b', 'a'].entries())
      await publish(`${name}.${subject}`, `${index}`);
    const source = await openSource(name, `&subject=${name}.a`, { stream: 's' });
    expect(shown(await read(source, 3))).toEqual(['s 1 0', 's 4 3', 's 6 5']);
    await publish(`${name}.a`, '6');
    await server.api(`STREAM.PURGE.${name}`, { seq: 8 });
    await publish(`${name}.b`, '7');
    await publish(`${name}.a`, '8');
    expect(shown(await read(source, 2))).toEqual(['gap 7-7 1 removed', 's 9 8']);
  });

  test('promise 15: messages that were removed one by one are gaps', async (context) => {
    needsNats(context);
    const name = await makeStream();
    for (const body of ['0', '1', '2', '3', '4']) await publish(`${name}.a`, body);
    for (const seq of [2, 3]) await server.api(`STREAM.MSG.DELETE.${name}`, { seq });
    expect(shown(await read(await openSource(name, '', { stream: 's' }), 4))).toEqual([
      's 1 0',
      'gap 2-3 2 removed',
      's 4 3',
      's 5 4',
    ]);
  });

  test('promise 15: what a purge took from a reader that was away is a gap, although its consumer has moved', async (context) => {
    needsNats(context);
    const name = await makeStream();
    for (const body of ['0', '1', '2', '3']) await publish(`${name}.a`, body);
    const first = await openSource(name, '', { stream: 's' });
    await first.acknowledge((await read(first, 4)).slice(0, 1), soon());
    await first.close();
    await server.api(`STREAM.PURGE.${name}`, { seq: 4 });
    const info = (await server.api(`CONSUMER.INFO.${name}.index`)) as { ack_floor: { stream_seq: number } };
    expect(info.ack_floor.stream_seq).toBe(3);
    const source = await openSource(name, '', { stream: 's' });
    expect(shown(await read(source, 2))).toEqual(['gap 2-3 2 removed', 's 4 3']);
  });

  test('promise 15: a record whose other parts were removed is a gap', async (context) => {
    needsNats(context);
    const name = await makeStream();
    const part = (seq: number, number: number, parts: number): Promise<void> =>
      publish(`${name}.a`, `${seq}.${number}`, {
        'Spillway-Stream': 'a',
        'Spillway-Seq': `${seq}`,
        'Spillway-Part': `${number}`,
        'Spillway-Parts': `${parts}`,
      });
    await part(0, 0, 1);
    await part(1, 0, 2);
    await part(2, 0, 2);
    await part(2, 1, 2);
    // One that another sink has written twice.
    await part(2, 1, 2);
    await part(3, 0, 1);
    const items = await read(await openSource(name), 4);
    expect(shown(items)).toEqual(['a 0 0.0', 'gap 2-2 1 incomplete', 'a 2 2.02.1', 'a 3 3.0']);
  });

  test('promise 15: parts among those of others are remembered one by one', async (context) => {
    needsNats(context);
    const name = await makeStream();
    const first = { 'Spillway-Stream': 'a', 'Spillway-Seq': '0', 'Spillway-Parts': '2' };
    await publish(`${name}.a`, 'x', { ...first, 'Spillway-Part': '0' });
    for (const seq of ['0', '1'])
      await publish(`${name}.b`, `b${seq}`, { 'Spillway-Stream': 'b', 'Spillway-Seq': seq });
    const source = await openSource(name);
    const items = await read(source, 2);
    await source.acknowledge(items.slice(0, 1), soon());
    await publish(`${name}.a`, 'y', { ...first, 'Spillway-Part': '1' });
    // That one has crashed. What it was told is done does not come again, and the first part does.
    const next = await openSource(name);
    expect(shown(await read(next, 2))).toEqual(['b 1 b1', 'a 0 xy']);
  });
});

describe('the place of a name', () => {
  test('promise 15: a stream that was made anew is a gap, and is read from its beginning', async (context) => {
    needsNats(context);
    const name = await makeStream();
    for (const body of ['0', '1', '2']) await publish(`${name}.a`, body);
    // Nobody answers for a consumer that is gone.
    const url = `${server.url}/${name}?timeoutMs=2000`;
    const source = await openNatsSource({ url, name: 'index', openTimeoutMs: 30_000 });
    onTestFinished(() => source.close());
    const items = await read(source, 3);
    await source.acknowledge(items.slice(0, 2), soon());
    await server.api(`STREAM.DELETE.${name}`);
    await server.api(`STREAM.CREATE.${name}`, { name, subjects: [`${name}.>`] });
    await publish(`${name}.a`, 'new');
    await publish(`${name}.a`, 'newer');
    // By the source that lives, and while its gap is not acknowledged by a later one.
    const anew = await read(source, 3);
    expect(shown(anew)).toEqual(['gap 4-4 undefined forgotten', `${name} 1 new`, `${name} 2 newer`]);
    await source.acknowledge(items, soon());
    await source.close();
    const later = await openSource(name);
    const again = await read(later, 3);
    expect(shown(again)).toEqual(shown(anew));
    await later.acknowledge(again.slice(0, 2), soon());
    await later.close();
    expect(shown(await read(await openSource(name), 1))).toEqual([`${name} 2 newer`]);
  });

  test('promise 15: a server that comes back without anything is a gap to the source that lives', async (context) => {
    needsNats(context);
    const own = await NatsServer.start();
    onTestFinished(() => own.remove());
    const make = (): Promise<unknown> => own.api('STREAM.CREATE.llm', { name: 'llm', subjects: ['llm.>'] });
    const put = async (body: string): Promise<unknown> =>
      (await own.client()).request('llm.a', body, { timeout: 10_000 });
    await make();
    for (const body of ['0', '1']) await put(body);
    const source = await openNatsSource({ url: `${own.url}/llm`, name: 'index', openTimeoutMs: 30_000 });
    onTestFinished(() => source.close());
    const items = await read(source, 2);
    await source.acknowledge(items.slice(0, 1), soon());
    await own.kill();
    own.forget();
    await own.start();
    await expect(source.acknowledge(items, soon())).rejects.toMatchObject({ code: 'source_failed' });
    await make();
    await put('new');
    await source.acknowledge(items, soon());
    const anew = await read(source, 2);
    expect(shown(anew)).toEqual(['gap 3-3 undefined forgotten', 'llm 1 new']);
    await source.acknowledge(anew, soon());
    await source.close();
    await put('newer');
    const later = await openNatsSource({ url: `${own.url}/llm`, name: 'index', openTimeoutMs: 30_000 });
    onTestFinished(() => later.close());
    expect(shown(await read(later, 1))).toEqual(['llm 2 newer']);
  });

  test('promise 15: the bucket of places is deleted while sources live, and each goes on where it was', async (context) => {
    needsNats(context);
    const own = await NatsServer.start();
    onTestFinished(() => own.remove());
    await own.api('STREAM.CREATE.llm', { name: 'llm', subjects: ['llm.>'] });
    const put = async (body: string): Promise<unknown> =>
      (await own.client()).request('llm.a', body, { timeout: 10_000 });
    const open = async (name: string): Promise<RecordSource> => {
      const source = await openNatsSource({ url: `${own.url}/llm`, name, openTimeoutMs: 30_000 });
      onTestFinished(() => source.close());
      return source;
    };
    const sources = [await open('one'), await open('other')];
    for (const body of ['0', '1', '2']) await put(body);
    for (const source of sources) {
      const items = await read(source, 3);
      await source.acknowledge(items.slice(0, 1), soon());
      await own.api('STREAM.DELETE.KV_spillway');
      await source.acknowledge(items.slice(1, 3), soon());
      await own.api('STREAM.DELETE.KV_spillway');
    }
    await put('3');
    for (const [index, source] of sources.entries()) {
      const items = await read(source, 1);
      expect(shown(items)[0]).toBe('llm 4 3');
      await source.acknowledge(items, soon());
      await source.close();
      await put('new');
      const later = await read(await open(['one', 'other'][index] ?? ''), 1);
      expect(shown(later)).toEqual([expect.stringMatching(/^llm \d new$/)]);
    }
  });

  test('promise 15: a stream that has lost its end is a gap, and is read from its beginning', async (context) => {
    needsNats(context);
    const own = await NatsServer.start();
    onTestFinished(() => own.remove());
    const put = async (body: string): Promise<unknown> =>
      (await own.client()).request('llm.a', body, { timeout: 10_000 });
    await own.api('STREAM.CREATE.llm', { name: 'llm', subjects: ['llm.>'] });
    await put('0');
    const copy = `${own.folder}/copy`;
    await own.kill();
    cpSync(`${own.folder}/jetstream`, copy, { recursive: true });
    await own.start();
    const source = await openNatsSource({ url: `${own.url}/llm`, name: 'index', openTimeoutMs: 30_000 });
    onTestFinished(() => source.close());
    for (const body of ['1', '2']) await put(body);
    await source.acknowledge(await read(source, 3), soon());
    await own.kill();
    own.forget();
    cpSync(copy, `${own.folder}/jetstream`, { recursive: true });
    await own.start();
    await put('new');
    expect(shown(await read(source, 3))).toEqual(['gap 3-3 undefined cut', 'llm 1 0', 'llm 2 new']);
  });

  test('promise 15: that a stream has lost its end is told again, until that is acknowledged', async (context) => {
    needsNats(context);
    const name = await makeStream();
    for (const body of ['0', '1']) await publish(`${name}.a`, body);
    const first = await openSource(name);
    await first.acknowledge(await read(first, 2), soon());
    await first.close();
    const { created } = (await server.api(`STREAM.INFO.${name}`)) as { readonly created: string };
    await publish(`$KV.spillway.${name}.index`, JSON.stringify({ created, seq: 5, done: [] }));
    const anew = ['gap 3-5 undefined cut', `${name} 1 0`, `${name} 2 1`];
    for (const isDone of [false, true]) {
      const source = await openSource(name);
      const items = await read(source, 3);
      expect(shown(items)).toEqual(anew);
      await source.acknowledge(items.slice(0, isDone ? 2 : 0), soon());
      await source.close();
    }
    expect(shown(await read(await openSource(name), 1))).toEqual(anew.slice(2));
  });

  test('promise 15: of two sources of a name each gives what the other one took, and the lag counts it', async (context) => {
    needsNats(context);
    const name = await makeStream();
    for (let n = 0; n < 6; n += 1) await publish(`${name}.a`, `${n}`);
    const other = await openSource(name, '', { stream: 's' });
    expect(await other.read({ maxItems: 1 }, soon())).toHaveLength(1);
    const source = await openSource(name, '', { stream: 's' });
    const first = await source.read({ maxItems: 1 }, soon());
    await source.acknowledge(first, soon());
    // It asks the consumer of the other one, and its count fits.
    expect(shown(await other.read({ maxItems: 10 }, soon()))).toHaveLength(5);
    expect((await source.lag(soon())).records).toBe(5);
    await other.close();
    expect(shown(await read(source, 5))).toEqual([2, 3, 4, 5, 6].map((seq) => `s ${seq} ${seq - 1}`));
    expect((await source.lag(soon())).records).toBe(5);
  });

  test('promise 15: of two sources of a name none takes for a gap what the other one got', async (context) => {
    needsNats(context);
    const name = await makeStream();
    const sources = [
      await openSource(name, '', { stream: 's' }),
      await openSource(name, '', { stream: 's' }),
    ];
    const came: SourceItem[][] = [[], []];
    for (let round = 0; round < 12; round += 1) {
      await publish(`${name}.a`, `${round}`);
      await publish(`${name}.a`, `${round}`);
      for (const [index, source] of sources.entries()) {
        // Now and then only one of them reads.
        if ((round + index) % 3 === 0) continue;
        const items = await source.read({ maxItems: 3 }, soon(300)).catch(() => []);
        came[index]?.push(...items);
      }
    }
    for (const items of came) {
      expect(items.length).toBeGreaterThan(3);
      expect(items.filter((item) => item instanceof RecordGap)).toEqual([]);
      const seqs = items.map((item) => ('seq' in item ? item.seq : 0));
      expect(seqs).toEqual(seqs.map((_, index) => index + 1));
    }
  });

  test('the consumer of the name is what NATS’s own tools see', async (context) => {
    needsNats(context);
    const name = await makeStream({ subjects: undefined });
    await server.api(`STREAM.UPDATE.${name}`, { name, subjects: [`${name}.*`], num_replicas: 1 });
    const sink = await openNatsSink({ url: `${server.url}/${name}?timeoutMs=30000`, openTimeoutMs: 30_000 });
    onTestFinished(() => sink.close());
    const value = new Uint8Array(10);
    await sink.write(
      Array.from({ length: 6 }, (_, seq) => ({ stream: 'a', seq, value })),
      soon(),
    );
    const source = await openSource(name);
    const items = await source.read({ maxItems: 4 }, soon());
    await source.acknowledge(items.slice(0, 3), soon());
    await expect.poll(async () => (await sink.lagOf?.('index', soon()))?.entries).toBe(3);
    expect(await source.lag(soon())).toMatchObject({ records: 3, bytes: undefined });
  });

  test('a stream that removes what was read is refused', async (context) => {
    needsNats(context);
    const name = await makeStream({ retention: 'interest' });
    await expect(openSource(name)).rejects.toThrow('expected the retention limits, got interest');
  });
});
