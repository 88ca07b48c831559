import type { GatewayStream } from '../stream/stream.ts';
import type { ServedReader } from '../stream/served-reader.ts';
import type { ServerClock } from '../time/server-clock.ts';
import type { ReaderRow, StreamCondition, StreamDetail, StreamRow } from './snapshot.ts';

/** The longest part of a model's name that is shown, because clients choose the name. */
const maxModelChars = 128;

export function streamDetail(stream: GatewayStream, clock: ServerClock): StreamDetail {
  return { atMs: clock.dateMs(), stream: streamRow(stream, clock.nowMs()), events: stream.journal.entries };
}

export function streamRow(stream: GatewayStream, nowMs: number): StreamRow {
  const { api, name } = stream.origin;
  const { end, firstEventMs, startedMs } = stream;
  return {
    id: stream.id,
    requestId: stream.requestId ?? null,
    upstreamRequestId: stream.upstreamRequestId ?? null,
    provider: name,
    api,
    model: stream.model?.slice(0, maxModelChars) ?? '',
    client: stream.client,
    condition: conditionOf(stream),
    code: end?.code ?? null,
    ageMs: Math.round((end?.atMs ?? nowMs) - startedMs),
    ttftMs: firstEventMs === undefined ? null : Math.round(firstEventMs - startedMs),
    tokens: stream.events,
    bytes: stream.bytes,
    heldBytes: stream.heldBytes,
    windowBytes: stream.windowBytes,
    stalls: stream.stalls.count,
    stallMs: Math.round(stream.stalls.totalMs(nowMs)),
    stallCause: stream.stalls.cause ?? null,
    readers: [...stream.audience.readers].map(readerRow),
  };
}

function conditionOf({ end, isPaused, phase }: GatewayStream): StreamCondition {
  return end?.state ?? (isPaused ? 'paused' : phase);
}

function readerRow(reader: ServedReader): ReaderRow {
  const { response } = reader;
  return {
    number: reader.number,
    via: reader.via,
    address: reader.address,
    policy: reader.overflow,
    isLost: reader.isLost,
    isPaused: reader.isPaused,
    waitsFor: reader.waitsFor ?? null,
    lagBytes: reader.waitingBytes,
    lagItems: reader.waitingItems,
    lagMs: Math.round(reader.waitingMs),
    maxLagBytes: reader.maxWaitingBytes,
    creditBytes: reader.creditBytes ?? null,
    maxCreditBytes: reader.maxCreditBytes ?? null,
    tokens: reader.tokens,
    acknowledgedTokens: response.acknowledgedTokens ?? null,
    mergedEvents: reader.mergedEvents,
    gaps: reader.gaps,
    lostTokens: reader.lostTokens,
  };
}
