import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { placeCall } from '@spillway/voice/simulate/carrier';
import { speech } from '@spillway/voice/simulate/speech';
import { AuditReader } from '@spillway/server/audit/audit-reader';
import { parseRecord, type TapRecord } from '@spillway/server/tap/tap-record';
import { describe, expect, onTestFinished, test } from 'vitest';
import { eventually, run, startGateway } from './support/processes.ts';
import { holdLog } from './support/held-log.ts';
import { lineWith, linesOf } from './support/log-lines.ts';
import { openRealtime, refusedRealtime, startRealtimeProvider } from './support/realtime-peers.ts';
import { metric } from './support/requests.ts';

const path = '/v1/realtime?model=gpt-realtime';

function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'spillway-realtime-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  return folder;
}

/** What a client and a model say to each other: an answer that is interrupted, and one with a tool. */
const ofClient = [
  { type: 'session.update', session: { instructions: 'secret instructions' } },
  { type: 'input_audio_buffer.append', audio: 'AAAA' },
  {
    type: 'conversation.item.create',
    item: { type: 'message', role: 'user', content: [{ type: 'input_text', text: 'I am ann@example.com' }] },
  },
  {
    type: 'conversation.item.create',
    item: { type: 'function_call_output', call_id: 'c1', output: 'sunny' },
  },
];
const ofModel = [
  { type: 'session.created', session: {} },
  {
    type: 'conversation.item.input_audio_transcription.completed',
    item_id: 'i1',
    transcript: 'How is the weather?',
  },
  { type: 'response.output_audio.delta', item_id: 'i2', delta: 'BBBB' },
  { type: 'response.output_audio_transcript.delta', item_id: 'i2', delta: 'Let me' },
  { type: 'response.output_audio_transcript.done', item_id: 'i2', transcript: 'Let me look for you.' },
  { type: 'conversation.item.truncated', item_id: 'i2', content_index: 0, audio_end_ms: 1240 },
  {
    type: 'response.output_item.done',
    item: { type: 'function_call', call_id: 'c1', name: 'weather', arguments: '{"at":"Bonn"}' },
  },
  { type: 'response.done', response: { usage: { input_tokens: 7, output_tokens: 5, total_tokens: 12 } } },
  { type: 'error', error: { code: 'response_cancel_not_active', message: 'nothing to cancel' } },
];

/** Has the conversation through a gateway with that tap. */
async function converse(tap: string): Promise<{ readonly records: TapRecord[]; readonly file: string }> {
  const file = join(temporaryFolder(), 'taps.jsonl');
  const provider = await startRealtimeProvider();
  const gateway = await startGateway(['--upstream', provider.url, '--tap', `name=t,to=file:${file}${tap}`]);
  const client = await openRealtime(gateway.url + path);
  const model = await provider.next();
  let came = 0;
  model.on('message', () => (came += 1));
  for (const event of ofClient) client.socket.send(JSON.stringify(event));
  await eventually(() => came === ofClient.length, "the client's messages");
  for (const event of ofModel) model.send(JSON.stringify(event));
  await eventually(() => client.messages.length === ofModel.length, "the model's messages");
  client.socket.close(1000);
  await lineWith(gateway, 'realtime session ended', { inputTokens: 7, outputTokens: 5 });
  await eventually(() => recordsIn(file).some(({ kind }) => kind === 'reader'), 'the end');
  expect(linesOf(gateway, 'a defect of the gateway')).toEqual([]);
  return { records: recordsIn(file), file };
}

/** The records of a file. */
function recordsIn(file: string): TapRecord[] {
  return readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => parseRecord(Buffer.from(line)));
}

/** The events in the records' data. */
function eventsIn(records: readonly TapRecord[]): Readonly<Record<string, unknown>>[] {
  return records.flatMap((record) =>
    record.kind !== 'chunks' || record.data === undefined
      ? []
      : record.data
          .split('\n\n')
          .filter((event) => event !== '')
          .map((event) => JSON.parse(event.replace(/^data: /, '')) as Record<string, unknown>),
  );
}

describe('a relayed conversation, for taps', () => {
  test('full: the words of both, what was heard, tools and tokens, and no sound', async () => {
    const { records } = await converse('');
    expect(records[0]).toMatchObject({ kind: 'begin', model: 'gpt-realtime', provider: 'upstream' });
    expect(records[1]).toMatchObject({ kind: 'answer', status: 101, format: 'conversation' });
    expect(eventsIn(records)).toEqual([
      { n: 0, type: 'heard', text: 'I am ann@example.com' },
      { n: 1, type: 'tool_answered', call: 'c1', output: 'sunny' },
      { n: 2, type: 'heard', item: 'i1', text: 'How is the weather?' },
      { n: 3, type: 'said', item: 'i2', text: 'Let me look for you.' },
      { n: 4, type: 'interrupted', item: 'i2', heardMs: 1240 },
      { n: 5, type: 'tool_called', call: 'c1', name: 'weather', input: '{"at":"Bonn"}' },
      { n: 6, type: 'usage', inputTokens: 7, outputTokens: 5 },
      { n: 7, type: 'failed', code: 'response_cancel_not_active', message: 'nothing to cancel' },
    ]);
    expect(records.find(({ kind }) => kind === 'end')).toMatchObject({
      state: 'completed',
      usage: { inputTokens: 7, outputTokens: 5, source: 'reported' },
    });
    expect(records.at(-1)).toMatchObject({ kind: 'reader', via: 'realtime', reason: 'delivered' });
    expect(JSON.stringify(records)).not.toMatch(/AAAA|BBBB|secret instructions/);
  });

  test('audio: the sound, too, in its place', async () => {
    const { records } = await converse(',content=audio');
    const events = eventsIn(records);
    expect(events.map(({ type }) => type)).toEqual([
      'audio',
      'heard',
      'tool_answered',
      'heard',
      'audio',
      'said',
      'interrupted',
      'tool_called',
      'usage',
      'failed',
    ]);
    expect(events[0]).toMatchObject({ from: 'human', data: 'AAAA' });
    expect(events[4]).toMatchObject({ from: 'model', data: 'BBBB' });
  });

  test('text: what was said and heard, in order; usage: none of it', async () => {
    const { records } = await converse(',content=text');
    const texts = records.flatMap((record) =>
      record.kind === 'chunks' ? Object.entries(record.text ?? {}) : [],
    );
    expect(texts).toEqual([
      ['0.heard', 'I am ann@example.com'],
      ['1.tool_answered', 'sunny'],
      ['2.heard', 'How is the weather?'],
      ['3.said', 'Let me look for you.'],
      ['5.tool_called', '{"at":"Bonn"}'],
    ]);
    expect(eventsIn(records)).toEqual([]);
    const { records: none } = await converse(',content=usage');
    expect(none.map(({ kind }) => kind)).toEqual(['begin', 'answer', 'end', 'reader']);
    expect(none.find(({ kind }) => kind === 'end')).toMatchObject({ usage: { outputTokens: 5 } });
  });

  test('redact: what both say', async () => {
    const { records } = await converse(',redact=email');
    expect(JSON.stringify(records)).not.toContain('ann@example.com');
    expect(eventsIn(records)[0]).toMatchObject({ type: 'heard', text: expect.stringMatching(/^I am \S+$/) });
  });

  test('models: only those that are wanted', async () => {
    const file = join(temporaryFolder(), 'taps.jsonl');
    const gateway = await startGateway(['--tap', `name=t,to=file:${file},models=other*`]);
    const client = await openRealtime(`${gateway.url}/v1/realtime?model=simulated`);
    client.socket.close();
    await lineWith(gateway, 'realtime session ended', { model: 'simulated' });
    gateway.process.kill('SIGTERM');
    await gateway.exited;
    expect(readFileSync(file, 'utf8')).toBe('');
  });
});

describe('promise: a gate', () => {
  test('the client gets nothing of what is not kept, and all of it in order when it is', async () => {
    const log = join(temporaryFolder(), 'audit.db');
    const provider = await startRealtimeProvider();
    const gateway = await startGateway([
      '--upstream',
      provider.url,
      '--tap',
      `name=audit,to=sqlite:${log},gate=true`,
    ]);
    const client = await openRealtime(gateway.url + path);
    const model = await provider.next();
    const release = holdLog(log);
    for (const event of ofModel) model.send(JSON.stringify(event));
    await new Promise((resolve) => setTimeout(resolve, 700));
    // Nothing was to be kept before the first words.
    expect(client.messages.map(({ data }) => data.toString())).toEqual([JSON.stringify(ofModel[0])]);
    release();
    await eventually(() => client.messages.length === ofModel.length, 'the rest');
    expect(client.messages.map(({ data }) => data.toString())).toEqual(
      ofModel.map((event) => JSON.stringify(event)),
    );
    const again = holdLog(log);
    model.send(JSON.stringify(ofModel[1]));
    model.close(1000, 'bye');
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(client.messages).toHaveLength(ofModel.length);
    again();
    expect(await client.closed).toBe('1000 bye');
    expect(client.messages).toHaveLength(ofModel.length + 1);
  });

  test('a log that keeps nothing for too long ends the conversation, and refuses the next one', async () => {
    const log = join(temporaryFolder(), 'audit.db');
    const provider = await startRealtimeProvider();
    const gateway = await startGateway([
      '--upstream',
      provider.url,
      '--tap',
      `name=audit,to=sqlite:${log},gate=true,deadlineMs=500`,
    ]);
    const client = await openRealtime(gateway.url + path);
    const model = await provider.next();
    const release = holdLog(log);
    onTestFinished(release);
    model.send(JSON.stringify(ofModel[1]));
    expect(await client.closed).toMatch(/^1013 The tap audit could not keep the answer/);
    expect(client.messages).toEqual([]);
    const refusal = await refusedRealtime(gateway.url + path);
    expect(refusal.status).toBe(503);
    expect(refusal.body).toContain('tap_unavailable');
    expect(linesOf(gateway, 'a defect of the gateway')).toEqual([]);
  });
});

test('lossless: both sides wait for the tap, and nothing is lost', async () => {
  const log = join(temporaryFolder(), 'audit.db');
  const provider = await startRealtimeProvider();
  const gateway = await startGateway([
    '--upstream',
    provider.url,
    '--tap',
    `name=audit,to=sqlite:${log},lossless=true,deadlineMs=30000`,
  ]);
  const client = await openRealtime(gateway.url + path);
  const model = await provider.next();
  const release = holdLog(log);
  // 2 MB of words: far more than a window.
  const count = 2000;
  const transcript = 'a'.repeat(1000);
  for (let number = 0; number < count; number += 1)
    model.send(
      JSON.stringify({ type: 'response.output_text.done', item_id: `i${number}`, text: transcript }),
    );
  await eventually(
    async () => (await metric(gateway.adminUrl, 'spillway_realtime_pauses_total{to="client"}')) > 0,
    'a pause',
  );
  await new Promise((resolve) => setTimeout(resolve, 300));
  expect(client.messages.length).toBeLessThan(300);
  release();
  await eventually(() => client.messages.length === count, 'all of it');
  client.socket.close(1000);
  await lineWith(gateway, 'realtime session ended', { reason: 'client_closed' });
  gateway.process.kill('SIGTERM');
  await gateway.exited;
  const reader = new AuditReader(log);
  const records = [...reader.streams()].flatMap(({ name }) =>
    [...reader.recordsOf(name)].map(({ value = new Uint8Array() }) => parseRecord(value)),
  );
  reader.close();
  expect(eventsIn(records).map(({ item }) => item)).toEqual(
    Array.from({ length: count }, (_, number) => `i${number}`),
  );
});

test('audit show reads a conversation', async () => {
  const log = join(temporaryFolder(), 'audit.db');
  const provider = await startRealtimeProvider();
  const gateway = await startGateway(['--upstream', provider.url, '--tap', `name=audit,to=sqlite:${log}`]);
  const client = await openRealtime(gateway.url + path);
  const model = await provider.next();
  for (const event of ofModel) model.send(JSON.stringify(event));
  await eventually(() => client.messages.length === ofModel.length, "the model's messages");
  client.socket.close(1000);
  await lineWith(gateway, 'realtime session ended', { reason: 'client_closed' });
  gateway.process.kill('SIGTERM');
  await gateway.exited;
  const list = run(['audit', 'list', '--from', `sqlite:${log}`]);
  await list.exited;
  const id = /([\da-f]{8}-[\da-f-]{27})/.exec(list.stdout())?.[1] ?? '';
  expect(list.stdout()).toContain('gpt-realtime');
  const show = run(['audit', 'show', id, '--from', `sqlite:${log}`]);
  await show.exited;
  expect(show.stdout()).toContain(
    [
      'caller   How is the weather?',
      'model    Let me look for you. (heard 1,240 ms)',
      'tool     weather {"at":"Bonn"}',
      'failed   response_cancel_not_active: nothing to cancel',
    ].join('\n'),
  );
});

describe('a phone call, for taps', () => {
  test('is a conversation: the words, what was heard of an answer, and tokens', async () => {
    const file = join(temporaryFolder(), 'taps.jsonl');
    const gateway = await startGateway(['--voice', 'simulated', '--tap', `name=t,to=file:${file}`]);
    const call = await placeCall(`${gateway.url.replace('http', 'ws')}/voice/twilio`);
    expect(await call.whenHeard(1500, 20_000)).toBe(true);
    call.say(speech('caller-interruption').audio);
    await call.whenSaid();
    const { heardMs } = call;
    expect(await call.whenHeard(heardMs + 2000, 20_000)).toBe(true);
    call.hangUp();
    const record = await call.ended;
    await lineWith(gateway, 'call ended', { call: record.callId });
    await eventually(() => recordsIn(file).some(({ kind }) => kind === 'end'), 'the end');
    const records = recordsIn(file);
    expect(records[0]).toMatchObject({ kind: 'begin', requestId: record.callId, agent: 'twilio' });
    const events = eventsIn(records);
    const kinds = new Set(events.map(({ type }) => type));
    expect([...kinds]).toEqual(expect.arrayContaining(['said', 'interrupted']));
    const cut = events.find(({ type }) => type === 'interrupted');
    expect(cut?.['heardMs']).toBeGreaterThanOrEqual(1400);
    expect(cut?.['ofMs']).toBeGreaterThan(Number(cut?.['heardMs']));
    expect(records.find(({ kind }) => kind === 'end')).toMatchObject({ state: 'completed' });
  });

  test('has its sound where a tap wants it: what the caller said, and what was sent to the ear', async () => {
    const file = join(temporaryFolder(), 'taps.jsonl');
    const gateway = await startGateway([
      '--voice',
      'simulated',
      '--tap',
      `name=t,to=file:${file},content=audio`,
    ]);
    const call = await placeCall(`${gateway.url.replace('http', 'ws')}/voice/twilio`);
    expect(await call.whenQuiet(1000, 20_000)).toBe(true);
    call.say(speech('caller-hello').audio);
    await call.whenSaid();
    call.hangUp();
    const record = await call.ended;
    await lineWith(gateway, 'call ended', { call: record.callId });
    await eventually(() => recordsIn(file).some(({ kind }) => kind === 'end'), 'the end');
    const soundOf = (from: string): Buffer =>
      Buffer.concat(
        eventsIn(recordsIn(file))
          .filter(({ from: who, type }) => type === 'audio' && who === from)
          .map(({ data }) => Buffer.from(String(data), 'base64')),
      );
    // The greeting was played whole: the last frame is filled up with silence.
    const played = Buffer.concat(record.played.map(({ audio }) => audio));
    expect(soundOf('model').subarray(0, played.length).equals(played)).toBe(true);
    expect(played.length).toBeGreaterThan(8000);
    expect(soundOf('human').includes(Buffer.from(speech('caller-hello').audio.subarray(0, 4000)))).toBe(true);
  });

  test('cannot wait for a gate, and ends', async () => {
    const log = join(temporaryFolder(), 'audit.db');
    const gateway = await startGateway(['--tap', `name=audit,to=sqlite:${log},gate=true`]);
    const call = await placeCall(`${gateway.url.replace('http', 'ws')}/voice/twilio`);
    const line = await lineWith(gateway, 'call ended', { reason: 'closed' });
    await call.ended;
    expect(line['detail']).toBe('A tap has a gate, and speech cannot wait until it is kept.');
  });
});
