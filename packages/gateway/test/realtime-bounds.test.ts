import { describe, expect, test } from 'vitest';
import { lineWith, linesOf } from './support/log-lines.ts';
import { eventually, type RunningGateway, startGateway, watchMemory } from './support/processes.ts';
import { descriptorsBackTo, descriptorsOf } from './support/raw-connection.ts';
import { clientFrame, RawWebSocket } from './support/raw-websocket.ts';
import { openRealtime, refusedRealtime, startRealtimeProvider, watched } from './support/realtime-peers.ts';
import { metric } from './support/requests.ts';

const path = '/v1/realtime?model=m';
/** An event with 200 ms of what a model says, and its number. */
function audioEvent(number: number): string {
  return JSON.stringify({ type: 'response.output_audio.delta', number, delta: 'A'.repeat(12_800) });
}

/** What waits for a side, in the gateway and its kernel, of the conversation that has most. */
function waitingFor({ adminUrl }: RunningGateway, side: string): Promise<number> {
  return metric(adminUrl, `spillway_realtime_buffered_max_bytes{to="${side}"}`);
}

/** All that may wait for a side: what may be on its way, one message and one read. */
const maxWaitingBytes = 262_144 + 65_536 + 13_000;

describe('promise 1: a side that does not read', () => {
  test('a client: the provider has to stop sending, and the client gets all when it reads again', async () => {
    const provider = await startRealtimeProvider();
    const gateway = await startGateway(['--upstream', provider.url]);
    const memory = watchMemory(gateway);
    const client = await openRealtime(gateway.url + path);
    const model = await provider.next();
    const before = memory();
    client.socket.pause();
    // 40 MB: far more than all kernels on the way hold.
    const count = 3000;
    for (let number = 0; number < count; number += 1) model.send(audioEvent(number));
    await eventually(
      async () => (await metric(gateway.adminUrl, 'spillway_realtime_pauses_total{to="client"}')) > 0,
      'a pause',
    );
    const waiting: number[] = [];
    for (let look = 0; look < 10; look += 1) {
      waiting.push(await waitingFor(gateway, 'client'));
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    expect(Math.max(...waiting)).toBeLessThanOrEqual(maxWaitingBytes);
    expect(model.bufferedAmount).toBeGreaterThan(10_000_000);
    expect(memory() - before).toBeLessThan(30_000_000);
    client.socket.resume();
    await eventually(() => client.messages.length === count, 'all of it');
    const numbers = client.messages.map(({ data }) => /"number":(\d+)/.exec(data.toString())?.[1]);
    expect(numbers).toEqual(Array.from({ length: count }, (_, number) => String(number)));
    expect(
      await metric(gateway.adminUrl, 'spillway_realtime_paused_seconds_total{to="client"}'),
    ).toBeGreaterThan(0.4);
  });

  test('a provider: the client has to stop sending', async () => {
    const provider = await startRealtimeProvider();
    const gateway = await startGateway(['--upstream', provider.url]);
    const client = await openRealtime(gateway.url + path);
    const socket = await provider.next();
    const model = watched(socket);
    socket.pause();
    const count = 3000;
    for (let number = 0; number < count; number += 1) client.socket.send(audioEvent(number));
    await eventually(
      async () => (await metric(gateway.adminUrl, 'spillway_realtime_pauses_total{to="provider"}')) > 0,
      'a pause',
    );
    expect(await waitingFor(gateway, 'provider')).toBeLessThanOrEqual(maxWaitingBytes);
    expect(client.socket.bufferedAmount).toBeGreaterThan(10_000_000);
    socket.resume();
    await eventually(() => model.messages.length === count, 'all of it');
  });

  test.each(['client', 'provider'] as const)(
    'a %s that takes nothing for too long is given up',
    async (side) => {
      const provider = await startRealtimeProvider();
      const gateway = await startGateway(['--upstream', provider.url, '--stall-timeout-ms', '500']);
      const client = await openRealtime(gateway.url + path);
      const socket = await provider.next();
      const model = watched(socket);
      const [from, to] = side === 'client' ? [socket, client.socket] : [client.socket, socket];
      to.pause();
      for (let number = 0; number < 3000; number += 1) from.send(audioEvent(number));
      await lineWith(gateway, 'realtime session ended', { reason: `${side}_stalled` });
      if (side === 'client') expect(await model.closed).toBe('1001');
      else expect(await client.closed).toMatch(/^1011 The provider took nothing for 500 ms/);
      to.resume();
      await eventually(
        async () => (await metric(gateway.adminUrl, 'spillway_realtime_sessions')) === 0,
        'nothing to be left',
      );
    },
  );
});

describe('messages that are too much', () => {
  test('a larger one than the API takes is refused, from either side', async () => {
    const provider = await startRealtimeProvider();
    const gateway = await startGateway(['--upstream', provider.url]);
    const large = '.'.repeat(23_068_673);
    const client = await openRealtime(gateway.url + path);
    const model = watched(await provider.next());
    client.socket.send(large);
    expect(await client.closed).toBe('1009');
    expect(await model.closed).toBe('1001');
    const other = await openRealtime(gateway.url + path);
    const second = watched(await provider.next());
    second.socket.send(large);
    // Who is still sending may not read why before the connection is gone.
    expect(await second.closed).toMatch(/^100[69]/);
    expect(await other.closed).toBe('1011 The provider sent what is no valid message.');
    const whole = await openRealtime(gateway.url + path);
    const third = watched(await provider.next());
    whole.socket.send(large.slice(1));
    await eventually(() => third.messages[0]?.data.length === large.length - 1, 'the largest message');
    const garbled = await openRealtime(gateway.url + path);
    garbled.socket.send(Buffer.from([0xff]), { binary: false });
    expect(await garbled.closed).toBe('1007');
    const ends = await eventually(() => {
      const lines = linesOf(gateway, 'realtime session ended');
      return lines.length === 3 ? lines : undefined;
    }, 'three lines');
    expect(ends).toMatchObject([
      { reason: 'client_invalid', closeCode: 1009 },
      { reason: 'provider_invalid', closeCode: 1009 },
      { reason: 'client_invalid', closeCode: 1007 },
    ]);
  });

  test('parts of messages take room of maxRequestMemoryBytes, and are refused where there is none', async () => {
    const provider = await startRealtimeProvider();
    const gateway = await startGateway(['--upstream', provider.url, '--max-request-memory-bytes', '3000000']);
    const raw = await RawWebSocket.open(gateway.url, path);
    const model = watched(await provider.next());
    raw.write(clientFrame('text', '.'.repeat(1_000_000), false));
    await eventually(
      async () => (await metric(gateway.adminUrl, 'spillway_requests_held_bytes')) > 900_000,
      'the part to be counted',
    );
    raw.write(clientFrame('continuation', '.'.repeat(1_500_000), false));
    await eventually(() => raw.closeCode === 1013, 'the end');
    expect(await model.closed).toBe('1001');
    await lineWith(gateway, 'realtime session ended', { reason: 'overloaded' });
    expect(await metric(gateway.adminUrl, 'spillway_requests_held_bytes')).toBe(0);
  });

  test('frames that are none, and fragments without end, are refused', async () => {
    const provider = await startRealtimeProvider();
    const gateway = await startGateway(['--upstream', provider.url]);
    const raw = await RawWebSocket.open(gateway.url, path);
    raw.write(Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff, 0xff]));
    await eventually(() => raw.closeCode === 1002, 'the end');
    const endless = await RawWebSocket.open(gateway.url, path);
    endless.write(clientFrame('text', '.', false));
    endless.write(...Array.from({ length: 1100 }, () => clientFrame('continuation', '.', false)));
    await eventually(() => endless.closeCode === 1008, 'the end');
    const notText = await RawWebSocket.open(gateway.url, path);
    notText.write(clientFrame('text', Buffer.from([0xff, 0xfe])));
    await eventually(() => notText.closeCode === 1007, 'the end');
    expect(linesOf(gateway, 'a defect of the gateway')).toEqual([]);
  });
});

describe('sides that say nothing', () => {
  test('1,000 clients that answer no ping are gone in time, and their providers too', async () => {
    const provider = await startRealtimeProvider();
    const gateway = await startGateway(['--upstream', provider.url, '--keep-alive-ms', '4000']);
    const before = descriptorsOf(gateway.process.pid);
    const open = async (): Promise<void> => {
      for (let number = 0; number < 100; number += 1) await RawWebSocket.open(gateway.url, path);
    };
    await Promise.all(Array.from({ length: 10 }, open));
    expect(provider.requests).toHaveLength(1000);
    await eventually(
      async () =>
        (await metric(gateway.adminUrl, 'spillway_realtime_sessions_ended_total{reason="client_lost"}')) ===
        1000,
      'their end',
    );
    await descriptorsBackTo(gateway.process.pid, before + 5);
    expect(linesOf(gateway, 'a defect of the gateway')).toEqual([]);
  });

  test('a provider that answers no ping is given up; one that does stays, and so does its client', async () => {
    const provider = await startRealtimeProvider(undefined, { autoPong: false });
    const gateway = await startGateway(['--upstream', provider.url, '--keep-alive-ms', '200']);
    const client = await openRealtime(gateway.url + path);
    expect(await client.closed).toBe('1011 The provider gave no sign for 200 ms after a ping (keepAliveMs).');
    const good = await startRealtimeProvider();
    const other = await startGateway(['--upstream', good.url, '--keep-alive-ms', '200']);
    const quiet = await openRealtime(other.url + path);
    let pings = 0;
    quiet.socket.on('ping', () => (pings += 1));
    await eventually(() => pings >= 5, 'pings');
    expect(quiet.socket.readyState).toBe(quiet.socket.OPEN);
  });
});

describe('bounds of all conversations', () => {
  test('each takes a place of maxStreams, and gives it back', async () => {
    const provider = await startRealtimeProvider();
    const gateway = await startGateway([
      '--upstream',
      provider.url,
      '--max-streams',
      '1',
      '--max-waiting',
      '0',
    ]);
    const client = await openRealtime(gateway.url + path);
    const refusal = await refusedRealtime(gateway.url + path);
    expect(refusal.status).toBe(503);
    expect(refusal.headers['retry-after']).toBe('1');
    client.socket.close();
    await client.closed;
    await eventually(
      async () => (await metric(gateway.adminUrl, 'spillway_realtime_sessions')) === 0,
      'its end',
    );
    await openRealtime(gateway.url + path);
  });

  test('none is older than maxDurationMs', async () => {
    const provider = await startRealtimeProvider();
    const gateway = await startGateway(['--upstream', provider.url, '--max-duration-ms', '500']);
    const client = await openRealtime(gateway.url + path);
    const model = watched(await provider.next());
    expect(await client.closed).toBe('1013 It lasted longer than 500 ms (maxDurationMs).');
    expect(await model.closed).toBe('1001');
  });
});
