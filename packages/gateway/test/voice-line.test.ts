import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { describe, expect, onTestFinished, test } from 'vitest';
import { placeCall } from '@spillway/voice/simulate/carrier';
import { openSimulatedGemini, type SimulatedGemini } from '@spillway/voice/simulate/model';
import { speech } from '@spillway/voice/simulate/speech';
import { WebSocket, WebSocketServer } from 'ws';
import { lineWith, linesOf } from './support/log-lines.ts';
import { eventually } from './support/processes.ts';
import { temporaryFolder } from './support/prometheus.ts';
import { metric } from './support/requests.ts';
import {
  apiKey,
  askSigned,
  authToken,
  type SignedGateway,
  socketSignature,
  startRealtimeProvider,
  startSignedGateway,
  voiceConfig,
} from './support/signed-line.ts';
import { spawnSpillway } from './support/spawn.ts';

const sorry = 'Sorry, this did not work. Please call again later.';
const hangUp = '<?xml version="1.0" encoding="UTF-8"?><Response><Hangup/></Response>';
const saySorry = `<?xml version="1.0" encoding="UTF-8"?><Response><Say>${sorry}</Say><Hangup/></Response>`;

/** Opens a socket as Twilio does. Resolves with the status of a refusal, or the code and reason of its close. */
function openSocket(
  url: string,
  { parameters = {}, callSid = 'CA1', signature = socketSignature(url), isSilent = false } = {},
): { readonly socket: WebSocket; readonly opened: Promise<boolean>; readonly over: Promise<string> } {
  const socket = new WebSocket(url, { headers: { 'x-twilio-signature': signature } });
  onTestFinished(() => socket.terminate());
  socket.on('error', () => undefined);
  const opened = new Promise<boolean>((resolve) => {
    socket.on('open', () => resolve(true));
    socket.on('close', () => resolve(false));
  });
  const over = new Promise<string>((resolve) => {
    socket.on('unexpected-response', (_request, { statusCode }) => resolve(String(statusCode)));
    socket.on('close', (code, reason) => resolve(`${code} ${reason.toString()}`));
  });
  socket.on('open', () => {
    if (isSilent) return;
    socket.send('{"event":"connected","protocol":"Call","version":"1.0.0"}');
    const mediaFormat = { encoding: 'audio/x-mulaw', sampleRate: 8000, channels: 1 };
    const start = {
      streamSid: 'MZ1',
      accountSid: 'AC1',
      callSid,
      tracks: ['inbound'],
      customParameters: parameters,
      mediaFormat,
    };
    socket.send(JSON.stringify({ event: 'start', sequenceNumber: '1', start, streamSid: 'MZ1' }));
  });
  return { socket, opened, over };
}

/** The token that a webhook's answer has for its socket. */
async function tokenFor({ webhook }: SignedGateway, callSid: string): Promise<string> {
  const twiml = await (await askSigned(webhook, { CallSid: callSid })).text();
  return /name="token" value="([\w-]+)"/.exec(twiml)?.[1] ?? '';
}

describe('a number of one’s own', () => {
  test('is answered by the configured model: signed, spoken to, and told what follows', async () => {
    const provider = await startRealtimeProvider();
    const gateway = await startSignedGateway(provider, {
      instructions: 'You are the library of Ulm.',
      voice: 'marin',
      language: 'de-DE',
      onShortNoise: 'resume',
    });
    const asked = await askSigned(gateway.webhook, { CallSid: 'CA7', From: '+15550100' });
    expect(asked.headers.get('content-type')).toBe('text/xml');
    expect(await asked.text()).toMatch(
      new RegExp(
        `<Response><Connect action="${gateway.ended}"><Stream url="${gateway.socket}"><Parameter name="token" value="[\\w-]{22}"/></Stream></Connect></Response>$`,
      ),
    );
    const call = await placeCall(gateway.webhook, { authToken });
    expect(await call.whenHeard(1000, 20_000)).toBe(true);
    const [session] = provider.sessions;
    expect(session?.truth.settings).toMatchObject({
      instructions: 'You are the library of Ulm.',
      audio: {
        input: { transcription: { language: 'de' }, turn_detection: { create_response: false } },
        output: { voice: 'marin' },
      },
    });
    call.hangUp();
    const { callId, refusals } = await call.ended;
    expect(refusals).toEqual([]);
    await lineWith(gateway, 'call ended', { call: callId, reason: 'hangup' });
    expect(await (await askSigned(gateway.ended, { CallSid: callId })).text()).toBe(hangUp);
    expect(gateway.stderr()).not.toMatch(new RegExp(`${authToken}|${apiKey}`));
    expect(gateway.stdout()).toContain(
      `Answers calls\n  openai/gpt-realtime-2   ${gateway.webhook}   at most 100 calls\n`,
    );
  });

  test('is answered by Gemini Live', async () => {
    const asked: unknown[] = [];
    const sessions: SimulatedGemini[] = [];
    const gemini = new WebSocketServer({ host: '127.0.0.1', port: 0 });
    gemini.on('connection', (socket, { headers, url }) => {
      asked.push([url, headers['x-goog-api-key']]);
      sessions.push(openSimulatedGemini(socket));
    });
    onTestFinished(() => {
      for (const client of gemini.clients) client.terminate();
      gemini.close();
    });
    await once(gemini, 'listening');
    const { port } = gemini.address() as AddressInfo;
    const gateway = await startSignedGateway(
      { url: `http://127.0.0.1:${port}`, api: 'gemini' },
      { model: 'gemini/gemini-live', instructions: 'Be brief.', language: 'de-DE', voice: 'Kore' },
    );
    const call = await placeCall(gateway.webhook, { authToken });
    expect(await call.whenHeard(500, 20_000)).toBe(true);
    call.hangUp();
    expect((await call.ended).refusals).toEqual([]);
    expect(asked).toEqual([
      ['/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent', apiKey],
    ]);
    expect(sessions[0]?.truth.setup).toMatchObject({
      model: 'models/gemini-live',
      systemInstruction: { parts: [{ text: 'Be brief.' }] },
      generationConfig: {
        speechConfig: { languageCode: 'de-DE', voiceConfig: { prebuiltVoiceConfig: { voiceName: 'Kore' } } },
      },
    });
  });

  test('is called by `spillway call --sign`, which is refused without it', async () => {
    const gateway = await startSignedGateway(await startRealtimeProvider());
    const wav = new URL('../../voice/speech/caller-hello.ulaw', import.meta.url).pathname;
    const env = { TWILIO_AUTH_TOKEN: authToken };
    const signed = spawnSpillway(['call', '--sign', '--wav', wav, gateway.webhook], { env });
    expect(await signed.exited, signed.stderr()).toBe(0);
    const unsigned = spawnSpillway(['call', '--wav', wav, gateway.webhook], { env });
    expect(await unsigned.exited).toBe(1);
    expect(unsigned.stderr()).toContain('it answers 403');
  });

  test('has tools, whose key is the gateway’s', async () => {
    const requests: unknown[] = [];
    const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
      const body: unknown = JSON.parse(await text(request));
      requests.push([request.headers['x-tool-key'], request.headers['x-desk'], body]);
      // As long as a filler needs to be heard.
      await new Promise((resolve) => setTimeout(resolve, 2500));
      response.end('until seven');
    };
    const fillerFile = join(temporaryFolder(), 'hum.ulaw');
    writeFileSync(fillerFile, Buffer.alloc(8000, 0x33));
    const tool = createServer((request, response) => void answer(request, response));
    await new Promise<void>((resolve) => tool.listen(0, '127.0.0.1', resolve));
    onTestFinished(() => void tool.close());
    const { port } = tool.address() as AddressInfo;
    const provider = await startRealtimeProvider({
      script: [{ calls: { name: 'hours', input: { day: 'Monday' } }, says: speech('model-hours') }],
    });
    const gateway = await startSignedGateway(provider, {
      fillerFile,
      tools: [
        {
          name: 'hours',
          description: 'When it is open.',
          parameters: { type: 'object', properties: { day: { type: 'string' } }, required: ['day'] },
          url: `http://127.0.0.1:${port}/hours`,
          headers: { 'X-Desk': 'one' },
          apiKeyEnv: 'TOOL_KEY',
          keyHeader: 'X-Tool-Key',
        },
      ],
    });
    const call = await placeCall(gateway.webhook, { authToken });
    await call.whenQuiet(1500, 20_000);
    call.say(speech('caller-question').audio);
    await eventually(() => provider.sessions[0]?.truth.results[0], 'a result');
    call.hangUp();
    const { callId, played } = await call.ended;
    expect(played.some(({ audio }) => audio.every((byte) => byte === 0x33))).toBe(true);
    expect(requests).toMatchObject([
      ['tool-SEKRET', 'one', { call: callId, tool: 'hours', arguments: { day: 'Monday' } }],
    ]);
    expect(provider.sessions[0]?.truth.results).toMatchObject([{ output: 'until seven' }]);
    expect(gateway.stderr()).not.toContain('SEKRET');
  });

  test('says a sentence and hands over when its model fails', async () => {
    const provider = await startRealtimeProvider({ faults: { cutAtMs: 400 } });
    const gateway = await startSignedGateway(provider, {
      failureSay: 'One moment, please.',
      failureDial: '+15550123',
      language: 'en-GB',
    });
    const call = await placeCall(gateway.webhook, { authToken });
    const { callId } = await call.ended;
    await lineWith(gateway, 'call ended', { call: callId, reason: 'model_failed' });
    expect(await (await askSigned(gateway.ended, { CallSid: callId })).text()).toContain(
      '<Response><Say language="en-GB">One moment, please.</Say><Dial>+15550123</Dial></Response>',
    );
  });

  test('asks a provider that refuses its key once, and not again', async () => {
    let asked = 0;
    const provider = createServer().on('upgrade', (_request, socket: Socket) => {
      asked += 1;
      socket.end('HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\nconnection: close\r\n\r\n');
    });
    await new Promise<void>((resolve) => provider.listen(0, '127.0.0.1', resolve));
    onTestFinished(() => void provider.close());
    const { port } = provider.address() as AddressInfo;
    const gateway = await startSignedGateway({ url: `http://127.0.0.1:${port}/v1` });
    const call = await placeCall(gateway.webhook, { authToken });
    const { callId } = await call.ended;
    const line = await lineWith(gateway, 'call ended', { call: callId, reason: 'model_failed' });
    expect(line['detail']).toMatch(/^unauthorized/);
    expect(asked).toBe(1);
  });

  test('has a line with what tools did not do, and with what the model warned of', async () => {
    const limits = await startRealtimeProvider({ faults: { isRateLimited: true } });
    const limited = await startSignedGateway(limits);
    // Its sessions are opened again and again meanwhile.
    const refused = await placeCall(limited.webhook, { authToken });
    const hours = { name: 'hours', input: {} };
    const broken = { name: 'hours', description: 'When it is open.', url: 'http://127.0.0.1:1/hours' };
    const file = join(temporaryFolder(), 'taps.jsonl');
    const asking = await startRealtimeProvider({ script: [{ calls: hours, says: speech('model-hours') }] });
    const gateway = await startSignedGateway(asking, { tools: [broken] }, [
      '--tap',
      `name=t,to=file:${file}`,
    ]);
    const call = await placeCall(gateway.webhook, { authToken });
    await call.whenQuiet(1500, 20_000);
    call.say(speech('caller-question').audio);
    await eventually(() => asking.sessions[0]?.truth.results[0], 'a result');
    call.hangUp();
    await call.ended;
    const line = await lineWith(gateway, 'call ended', { reason: 'hangup' });
    expect(line['tools']).toEqual({ failed: 1 });
    expect(line).not.toHaveProperty('warned');
    await eventually(
      // The events are texts within the records' JSON.
      () =>
        /\\"type\\":\\"tool_answered\\",\\"call\\":\\"\w+\\",\\"outcome\\":\\"failed\\"/u.test(
          readFileSync(file, 'utf8'),
        ),
      'what became of the tool, for a tap',
    );

    await refused.ended;
    const failed = await lineWith(limited, 'call ended', { reason: 'model_failed' });
    expect(failed['detail']).toMatch(/^response_failed: /u);
    expect(failed['warned']).toBe('rate_limit_exceeded');
    expect(failed).not.toHaveProperty('tools');
  });

  test('says so, too, of a call that the gateway does not know any more, and not of one that was long enough', async () => {
    const provider = await startRealtimeProvider();
    const gateway = await startSignedGateway(provider, { maxDurationMs: 1000 });
    expect(await (await askSigned(gateway.ended, { CallSid: 'CA404' })).text()).toBe(saySorry);
    const call = await placeCall(gateway.webhook, { authToken });
    const { callId } = await call.ended;
    expect(await (await askSigned(gateway.ended, { CallSid: callId })).text()).toBe(hangUp);
  });
});

test('signatures are for the URL that the carrier knows, with its path and query', async () => {
  const publicUrl = 'https://calls.example/spillway';
  const gateway = await startSignedGateway(await startRealtimeProvider(), { publicUrl });
  const target = '/voice/twilio?desk=Ulm%2fDonau&town=%C3%9Clm+%41';
  const form = { CallSid: 'CA1', Body: 'ä + &=%' };
  const asked = await askSigned(gateway.url + target, form, { signed: publicUrl + target });
  expect(await asked.text()).toContain(
    '<Connect action="https://calls.example/spillway/voice/twilio/ended"><Stream url="wss://calls.example/spillway/voice/twilio">',
  );
  expect((await askSigned(gateway.url + target, form)).status).toBe(403);
});

describe('whoever is not the carrier', () => {
  test('is refused at each of the three doors', async () => {
    const gateway = await startSignedGateway(await startRealtimeProvider());
    const { ended, socket, webhook } = gateway;
    const form = { CallSid: 'CA1' };
    for (const url of [webhook, ended]) {
      const unsigned = await fetch(url, { method: 'POST', body: new URLSearchParams(form) });
      expect(unsigned.status).toBe(403);
      expect(await unsigned.json()).toMatchObject({ error: { code: 'invalid_signature' } });
      const other = { token: 'another' };
      expect((await askSigned(url, form, other)).status).toBe(403);
      expect((await askSigned(url, form, { signed: webhook.replace('127.0.0.1', 'other') })).status).toBe(
        403,
      );
      expect((await askSigned(url, { ...form, From: '+1' })).status).toBe(200);
      expect((await askSigned(url, {})).status).toBe(400);
      const sent = await fetch(url, {
        method: 'POST',
        headers: { 'x-twilio-signature': 'x' },
        body: new Uint8Array(70_000),
      });
      expect(sent.status).toBe(413);
    }
    for (const signature of ['', 'forged', socketSignature(webhook)])
      expect(await openSocket(socket, { signature }).over).toBe('403');
    expect((await fetch(webhook)).status).not.toBe(200);
    // Nobody else is let in where a carrier is: it comes under another name than this machine's.
    const count = await metric(
      gateway.adminUrl,
      'spillway_refusals_total{listener="client",code="invalid_signature"}',
    );
    expect(count).toBe(9);
    const line = await lineWith(gateway, 'request refused', { code: 'invalid_signature', method: 'GET' });
    expect(line['reason']).toBe(
      `The header x-twilio-signature: expected Twilio's signature of ${socket} with the auth token of the account (voice.publicUrl, authTokenEnv), got another one.`,
    );
    expect(gateway.stderr()).not.toContain(authToken);
  });

  test('has no call without the token of its webhook, and a token is for one socket and one call', async () => {
    const gateway = await startSignedGateway(await startRealtimeProvider());
    const refused = /^1008 expected the token of its webhook/;
    expect(await openSocket(gateway.socket).over).toMatch(refused);
    const token = await tokenFor(gateway, 'CA1');
    expect(await openSocket(gateway.socket, { parameters: { token }, callSid: 'CA2' }).over).toMatch(refused);
    // It was shown, if not for its own call.
    expect(await openSocket(gateway.socket, { parameters: { token } }).over).toMatch(refused);
    const good = await tokenFor(gateway, 'CA1');
    openSocket(gateway.socket, { parameters: { token: good } });
    await eventually(
      async () => (await metric(gateway.adminUrl, 'spillway_calls_active')) === 1,
      'a call to run',
    );
    expect(await openSocket(gateway.socket, { parameters: { token: good } }).over).toMatch(refused);
    expect(await metric(gateway.adminUrl, 'spillway_calls_refused_total{reason="token"}')).toBe(4);
    expect(await lineWith(gateway, 'call refused', { reason: 'token', call: 'CA2' })).toMatchObject({
      detail: 'expected the token of its webhook, once and within 30 s',
    });
    expect(gateway.stderr()).not.toContain(token);
  });

  test('keeps nobody out with sockets that say nothing', async () => {
    const gateway = await startSignedGateway(await startRealtimeProvider(), { maxCalls: 3 });
    const silent = Array.from({ length: 40 }, () => openSocket(gateway.socket, { isSilent: true }));
    for (const { opened } of silent) await opened;
    await eventually(
      () => silent.filter(({ socket }) => socket.readyState === WebSocket.OPEN).length <= 3,
      'the oldest to be closed',
    );
    expect(await silent[0]?.over).toBe(
      '1013 expected the start message before as many newer sockets came as may wait (voice.maxCalls)',
    );
    const call = await placeCall(gateway.webhook, { authToken });
    expect(await call.whenHeard(200, 20_000)).toBe(true);
    call.hangUp();
    await call.ended;
    expect(
      await metric(gateway.adminUrl, 'spillway_calls_refused_total{reason="overloaded"}'),
    ).toBeGreaterThan(36);
    expect(await metric(gateway.adminUrl, 'spillway_calls_refused_total{reason="carrier"}')).toBeLessThan(4);
    expect(await lineWith(gateway, 'call refused', { reason: 'overloaded' })).toMatchObject({
      detail: expect.stringMatching(/^expected the start message before/u) as string,
    });
  });
});

describe('a caller who cannot be taken', () => {
  test('hears so when all places are taken, and when the gateway is drained; who speaks goes on', async () => {
    const gateway = await startSignedGateway(await startRealtimeProvider(), { maxCalls: 2 });
    const call = await placeCall(gateway.webhook, { authToken });
    expect(await call.whenHeard(200, 20_000)).toBe(true);
    // A webhook that was answered has a place, too, until its token is too old.
    expect(await tokenFor(gateway, 'CA2')).not.toBe('');
    expect(await (await askSigned(gateway.webhook, { CallSid: 'CA3' })).text()).toBe(saySorry);
    expect(await metric(gateway.adminUrl, 'spillway_calls_refused_total{reason="overloaded"}')).toBe(1);
    await fetch(`${gateway.adminUrl}/drain`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
    });
    expect(await (await askSigned(gateway.webhook, { CallSid: 'CA4' })).text()).toBe(saySorry);
    expect(await metric(gateway.adminUrl, 'spillway_calls_refused_total{reason="shutting_down"}')).toBe(1);
    expect(await call.whenHeard(call.heardMs + 500, 20_000)).toBe(true);
    call.hangUp();
    expect((await call.ended).refusals).toEqual([]);
  });
});

describe('a stop', () => {
  test('waits for calls', async () => {
    const gateway = await startSignedGateway(await startRealtimeProvider());
    const call = await placeCall(gateway.webhook, { authToken });
    await call.whenHeard(200, 20_000);
    gateway.process.kill('SIGTERM');
    await lineWith(gateway, 'stopping', { streams: 0, calls: 1 });
    expect(await call.whenHeard(call.heardMs + 500, 20_000)).toBe(true);
    call.hangUp();
    expect((await call.ended).refusals).toEqual([]);
    expect(await gateway.exited).toBe(0);
    expect(linesOf(gateway, 'stopped')).toMatchObject([{ calls: 1, cutCalls: 0 }]);
    expect(gateway.stdout()).toMatch(
      /Stopping: 1 call may finish, .*\nStopped after [\d.]+ s: all finished\.\n$/,
    );
  });

  test('ends those that take longer than it may', async () => {
    const gateway = await startSignedGateway(await startRealtimeProvider(), {}, ['--shutdown-ms', '500']);
    const call = await placeCall(gateway.webhook, { authToken });
    await call.whenHeard(200, 20_000);
    gateway.process.kill('SIGTERM');
    expect(await gateway.exited).toBe(0);
    expect((await call.ended).end).toMatchObject({ why: 'closed', code: 1000 });
    expect(gateway.stdout()).toMatch(/Stopped after [\d.]+ s: 1 call had to be ended\.\n$/);
  });
});

describe('a reload', () => {
  test('changes what the next call is answered with, and nothing of one that runs', async () => {
    const provider = await startRealtimeProvider();
    const gateway = await startSignedGateway(provider, { instructions: 'before' });
    const first = await placeCall(gateway.webhook, { authToken });
    expect(await first.whenHeard(200, 20_000)).toBe(true);
    const changed = await gateway.reload(voiceConfig(provider, { instructions: 'after' }));
    expect(changed).toMatchObject({ msg: 'the configuration was reloaded', changed: ['voice'] });
    const second = await placeCall(gateway.webhook, { authToken });
    expect(await second.whenHeard(200, 20_000)).toBe(true);
    expect(provider.sessions.map(({ truth }) => truth.settings.instructions)).toEqual(['before', 'after']);
    expect(first.isOver).toBe(false);
    const tool = { name: 'a', description: 'a', url: 'http://127.0.0.1:1', parameters: { type: 'no type' } };
    expect(await gateway.reload(voiceConfig(provider, { tools: [tool] }))).toMatchObject({
      msg: 'the configuration was not reloaded, and the old one stays',
      reason: expect.stringMatching(/^voice\.tools: a: parameters: expected a JSON Schema/) as string,
    });
    await gateway.reload(voiceConfig(provider, { model: 'simulated', instructions: 'ignored' }));
    await lineWith(gateway, 'changes of settings that need a restart are not in force', {});
    const third = await placeCall(gateway.webhook, { authToken });
    expect(await third.whenHeard(200, 20_000)).toBe(true);
    expect(provider.sessions).toHaveLength(3);
    for (const call of [first, second, third]) call.hangUp();
    await Promise.all([first.ended, second.ended, third.ended]);
  });
});

test('calls of a double are answered by the simulated model beside a provider, unsigned on loopback', async () => {
  const { startGateway } = await import('./support/processes.ts');
  const provider = await startRealtimeProvider();
  const gateway = await startGateway(['--upstream', provider.url, '--voice', 'simulated']);
  const call = await placeCall(`${gateway.url}/voice/twilio`);
  expect(await call.whenHeard(200, 20_000)).toBe(true);
  call.hangUp();
  await call.ended;
  expect(provider.sessions).toEqual([]);
});
