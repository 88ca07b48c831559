import type { GatewayStream } from '../stream/stream.ts';
import { placeOf } from '../stream/survey.ts';
import type { ServedReader } from '../stream/served-reader.ts';
import type { ServerClock } from '../time/server-clock.ts';
import type { TapReader } from '../stream/tap-reader.ts';
import type { TapState } from '../tap/tap-state.ts';
import type {
  ReaderRow,
  StreamCondition,
  StreamDetail,
  StreamRow,
  TapLane,
  TapRow,
  TapSample,
} from './snapshot.ts';

/** The longest part of a model's name that is shown, because clients choose the name. */
const maxModelChars = 128;

export function streamDetail(stream: GatewayStream, clock: ServerClock): StreamDetail {
  return {
    atMs: clock.dateMs(),
    stream: streamRow(stream, clock.nowMs()),
    taps: [...stream.audience.taps].map((tap) => tapLane(tap, stream)),
    events: stream.journal.entries,
    endedReaders: stream.audience.ended,
    refusal: stream.refusal ?? null,
  };
}

/** A model's name as it is shown; empty: the request named none. */
export function shownModel(model: string | undefined): string {
  return model?.slice(0, maxModelChars) ?? '';
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
    model: shownModel(stream.model),
    client: stream.client,
    gaveWay: stream.gaveWay,
    condition: conditionOf(stream),
    waitPosition: stream.wait?.position ?? null,
    endedAtMs: end?.dateMs ?? null,
    code: end?.code ?? null,
    reason: end?.reason ?? null,
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

/** A stream that has ended counts as open while a reader still needs the rest of it. */
function conditionOf(stream: GatewayStream): StreamCondition {
  return stream.end === undefined || stream.isOpen ? placeOf(stream) : stream.end.state;
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
    untakenBytes: response.untakenBytes ?? null,
    acknowledgedTokens: response.acknowledgedTokens ?? null,
    mergedEvents: reader.mergedEvents,
    gaps: reader.gaps,
    lostTokens: reader.lostTokens,
  };
}

function tapLane(tap: TapReader, stream: GatewayStream): TapLane {
  const { gate, keptOffset, maxRunBytes, name, waitingBytes } = tap;
  const { nextOffset = 0 } = stream.log ?? {};
  return {
    name,
    lagBytes: waitingBytes,
    maxLagBytes: Math.min(maxRunBytes, stream.windowBytes),
    keptOffset: keptOffset ?? null,
    nextOffset,
    gates: gate !== undefined,
    holdsReaders: gate !== undefined && gate.chunks.openTo < nextOffset,
    holdsModel: stream.stalls.cause === 'tap' && tap === stream.audience.slowestTap,
  };
}

/** `sinceMs`: when it went down or came up. */
export function tapRow(tap: TapState, sinceMs: number): TapRow {
  const { deadLetters, durability, facts, groups, head, lag, problem, spill, waitedMs } = tap;
  return {
    ...tap,
    lag: { ...lag, ms: Math.round(lag.ms) },
    waitedMs: Math.round(waitedMs),
    sinceMs,
    head: head ?? null,
    spill: spill ?? null,
    durability: durability ?? null,
    problem: problem ?? null,
    facts: facts ?? null,
    deadLetters: deadLetters ?? null,
    groups: groups.map(({ entries, group, ms, problem: why }) => ({
      group,
      entries: entries ?? null,
      ms: ms === undefined ? null : Math.round(ms),
      problem: why ?? null,
    })),
  };
}

export function tapSample({ lag, lost, name, records }: TapRow): TapSample {
  return { name, lagBytes: lag.bytes, lagMs: lag.ms, records, lost };
}
