import { describe, expect, test } from 'vitest';
import type { WebSocket } from 'ws';
import { until } from '../../../core/test/support/until.ts';
import { acceptTelnyx, type CarrierEvent } from '../../src/index.ts';
import { closed, openCarrierServer } from '../support/carrier-server.ts';
import { tone } from '../support/tone.ts';

const streamId = '32de0dea-53cb-4b21-89a4-9e1819c043bc';

function started(encoding: string): object {
  return {
    event: 'start',
    sequence_number: '1',
    stream_id: streamId,
    start: {
      user_id: 'user-1',
      call_control_id: 'v2:call-1',
      call_session_id: 'session-1',
      from: '+15550100',
      to: '+15550199',
      tags: [],
      client_state: 'aGVsbG8=',
      custom_parameters: { token: 'abc' },
      media_format: { encoding, sample_rate: 8000, channels: 1 },
    },
  };
}

function media(chunk: number): object {
  return {
    event: 'media',
    sequence_number: String(chunk + 1),
    stream_id: streamId,
    media: {
      track: 'inbound',
      chunk: String(chunk),
      timestamp: String(chunk * 20),
      payload: Buffer.alloc(160, chunk).toString('base64'),
    },
  };
}

function send(peer: WebSocket, ...messages: readonly object[]): void {
  for (const message of messages) peer.send(JSON.stringify(message));
}

describe('a leg of Telnyx', () => {
  test('has the call, its state and its codec, and puts audio in order', async () => {
    const { peer, socket } = await (await openCarrierServer()).pair();
    const accepted = acceptTelnyx(socket);
    send(peer, { event: 'connected', version: '1.0.0' }, started('PCMA'));
    const leg = await accepted;
    expect(leg.call).toEqual({
      carrier: 'telnyx',
      callId: 'v2:call-1',
      streamId,
      parameters: { token: 'abc', client_state: 'aGVsbG8=' },
    });
    expect(leg.format).toEqual({ encoding: 'alaw', sampleRateHz: 8000 });
    const events: CarrierEvent[] = [];
    leg.listen((event) => events.push(event));
    send(
      peer,
      media(1),
      media(3),
      // A control event never waits behind audio.
      { event: 'dtmf', sequence_number: '9', stream_id: streamId, dtmf: { digit: '5' } },
      media(2),
      media(2),
      { event: 'mark', sequence_number: '9', stream_id: streamId, mark: { name: 'm1' } },
      { event: 'error', stream_id: streamId, payload: { code: 100_002, title: 'x', detail: 'y' } },
      media(5),
      { event: 'stop', sequence_number: '9', stream_id: streamId, stop: { user_id: 'user-1' } },
    );
    expect((await closed(peer)).code).toBe(1000);
    expect(events.map((event) => (event.kind === 'audio' ? event.timestampMs : event.kind))).toEqual([
      20,
      'digit',
      40,
      60,
      'mark',
      100,
      'ended',
    ]);
  });

  test('sends audio, marks and clear by its names', async () => {
    const { peer, socket } = await (await openCarrierServer()).pair();
    const got: unknown[] = [];
    peer.on('message', (data) => got.push(JSON.parse((data as Buffer).toString())));
    const accepted = acceptTelnyx(socket);
    send(peer, { event: 'connected', version: '1.0.0' }, started('PCMU'));
    const leg = await accepted;
    leg.send(tone(20));
    leg.mark('m1');
    leg.clear();
    await until(() => got.length === 3, 'all has come');
    expect(got).toEqual([
      { event: 'media', stream_id: streamId, media: { payload: Buffer.from(tone(20)).toString('base64') } },
      { event: 'mark', stream_id: streamId, mark: { name: 'm1' } },
      { event: 'clear', stream_id: streamId },
    ]);
  });

  test('with a codec that no telephone has is none', async () => {
    const { peer, socket } = await (await openCarrierServer()).pair();
    const accepted = acceptTelnyx(socket);
    send(peer, { event: 'connected', version: '1.0.0' }, started('OPUS'));
    await expect(accepted).rejects.toThrow('start.media_format.encoding');
  });
});
