import type { Attributes, Histogram, Meter as Instruments, ObservableGauge } from '@opentelemetry/api';
import type { Clock } from '@spillway/core/clock';
import type { TokenUsage } from '@spillway/core/format/format';
import { errorCodes, GatewayError } from '../errors.ts';
import type { EventMemory } from '../memory/event-memory.ts';
import { type Meter, stallCauses } from '../stream/meter.ts';
import type { StreamOutcome, StreamState } from '../stream/stream-body.ts';
import type { ReaderEndReason, ServedReader } from '../stream/served-reader.ts';
import type { GatewayStream } from '../stream/stream.ts';
import type { StreamsObserver } from '../stream/streams.ts';
import type { Survey } from '../stream/survey.ts';
import { Figures } from './figures.ts';
import { operationOf } from './gen-ai.ts';

/** The bucket bounds that OpenTelemetry advises for its `gen_ai` histograms. */
const secondsToFirst = [0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10];
const secondsPerToken = [0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5];
const secondsOfRequest = [
  0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92,
];
const tokenCounts = [
  1, 4, 16, 64, 256, 1024, 4096, 16_384, 65_536, 262_144, 1_048_576, 4_194_304, 16_777_216, 67_108_864,
];

export interface StreamMetricsOptions {
  readonly clock: Pick<Clock, 'nowMs'>;
  readonly meter: Meter;
  /** Looks at all streams. Called once for each scrape or push. */
  readonly survey: () => Survey;
  readonly heldLimitBytes: number;
  /** The number of open sessions. */
  readonly sessions: () => number;
  /** What sessions have not taken. Called once for each scrape or push, and looks at all of them. */
  readonly untaken: () => {
    readonly maxBytes: number;
    readonly totalBytes: number;
    readonly largeSessions: number;
  };
  readonly retained: { readonly heldBytes: number; readonly drops: number };
  readonly eventMemory: Pick<EventMemory, 'heldBytes' | 'waitingPlaces' | 'waits'>;
}

/**
 * The metrics of streams, readers and sessions, for any program that has some. The set of series is fixed: no
 * attribute's value comes from a client. Names are OpenTelemetry's where it has some. The program's own streams
 * (`origin.isOwn`) are in no count; while they are open, they are among the open ones.
 */
export class StreamMetrics implements StreamsObserver {
  readonly ended: Record<StreamState, number> = { cancelled: 0, completed: 0, failed: 0 };
  readonly #options: StreamMetricsOptions;
  readonly #figures: Figures;
  readonly #instruments: Instruments;
  /** The number of ended streams, by state and error code. */
  readonly #endedBy = new Map<string, { readonly attributes: Attributes; count: number }>();
  readonly #readersEnded: Record<ReaderEndReason, number> = { delivered: 0, failed: 0, left: 0, stalled: 0 };
  readonly #firstToken: Histogram;
  readonly #perToken: Histogram;
  readonly #duration: Histogram;
  readonly #usage: Histogram;
  /** The tokens of all completed streams together. Their mean is used to estimate what a cancel saves. */
  #completedTokens = 0;

  constructor(instruments: Instruments, options: StreamMetricsOptions) {
    this.#options = options;
    this.#instruments = instruments;
    this.#figures = new Figures(instruments);
    // All series exist from the start. A rate would miss the first count of a series that begins with it.
    this.#endedSeries('completed', '');
    for (const code of errorCodes) {
      this.#endedSeries(new GatewayError(code, '').isCancel ? 'cancelled' : 'failed', code);
    }
    const histogram = (name: string, unit: string, description: string, buckets: number[]): Histogram =>
      this.#instruments.createHistogram(name, {
        unit,
        description,
        advice: { explicitBucketBoundaries: buckets },
      });
    this.#firstToken = histogram(
      'gen_ai.server.time_to_first_token',
      's',
      "From the request's arrival to the provider's first event",
      secondsToFirst,
    );
    this.#perToken = histogram(
      'gen_ai.server.time_per_output_token',
      's',
      'From the first event to the last, by output token, of streams that were completed',
      secondsPerToken,
    );
    this.#duration = histogram(
      'gen_ai.server.request.duration',
      's',
      "From the request's arrival to the end of the stream",
      secondsOfRequest,
    );
    this.#usage = histogram(
      'gen_ai.client.token.usage',
      '{token}',
      'Tokens of a stream, as its provider reported them',
      tokenCounts,
    );
    this.#defineCounters();
    this.#defineSurveyed();
    this.#defineGauges();
    this.#defineUntaken();
  }

  readerEnded(reason: ReaderEndReason, _reader: ServedReader, { origin }: GatewayStream): void {
    if (origin.isOwn === true) return;
    this.#readersEnded[reason] += 1;
  }

  streamBegan(stream: GatewayStream, ttftMs: number): void {
    if (stream.origin.isOwn === true) return;
    const attributes = attributesOf(stream);
    if (attributes !== undefined) this.#firstToken.record(ttftMs / 1000, attributes);
  }

  /** Returns the estimate of what a cancel has saved, in tokens. */
  streamEnded(stream: GatewayStream, { error, state }: StreamOutcome, usage: TokenUsage | undefined): number {
    if (stream.origin.isOwn === true) return 0;
    this.ended[state] += 1;
    this.#endedSeries(state, error?.code ?? '').count += 1;
    const { events, firstEventMs, lastEventMs, startedMs } = stream;
    // What no provider has served would have had nothing: it waited, or was refused.
    const wasServed =
      stream.phase !== 'waiting' && stream.refusal === undefined && (stream.body?.status ?? 200) < 400;
    const savedTokens = wasServed ? this.#estimateSavings(state, events) : 0;
    this.#options.meter.tokensSaved += savedTokens;
    const attributes = attributesOf(stream);
    if (attributes === undefined) return savedTokens;
    this.#duration.record((this.#options.clock.nowMs() - startedMs) / 1000, {
      ...attributes,
      'error.type': error?.code ?? '',
    });
    for (const [type, tokens] of Object.entries({ input: usage?.inputTokens, output: usage?.outputTokens })) {
      if (tokens !== undefined) this.#usage.record(tokens, { ...attributes, 'gen_ai.token.type': type });
    }
    const outputTokens = usage?.outputTokens ?? events;
    if (state === 'completed' && firstEventMs !== undefined && outputTokens >= 2)
      this.#perToken.record((lastEventMs - firstEventMs) / 1000 / (outputTokens - 1), attributes);
    return savedTokens;
  }

  #endedSeries(state: StreamState, code: string): { count: number } {
    const name = `${state} ${code}`;
    const known = this.#endedBy.get(name);
    if (known !== undefined) return known;
    const series = { attributes: { state, 'error.type': code }, count: 0 };
    this.#endedBy.set(name, series);
    return series;
  }

  /** Estimates the tokens that a cancelled stream that was served would still have had: the mean of completed streams, less its own. */
  #estimateSavings(state: StreamState, tokens: number): number {
    if (state === 'completed') {
      this.#completedTokens += tokens;
    } else if (state === 'cancelled' && this.ended.completed > 0) {
      const meanTokens = this.#completedTokens / this.ended.completed;
      return Math.max(0, Math.round(meanTokens - tokens));
    }
    return 0;
  }

  #defineCounters(): void {
    const { meter, retained } = this.#options;
    this.#figures.counters({
      'spillway.bytes.in': ['By', 'Bytes from providers', () => meter.bytesIn],
      'spillway.bytes.out': ['By', 'Bytes to readers', () => meter.bytesOut],
      'spillway.events.in': ['{event}', 'Events from providers', () => meter.eventsIn],
      'spillway.events.out': [
        '{event}',
        'Events that were sent to readers; merged events count as one',
        () => meter.eventsOut,
      ],
      'spillway.merged.events': ['{event}', 'Events that became part of another', () => meter.mergedEvents],
      'spillway.retained.dropped': [
        '{stream}',
        'Streams that could not be kept for retainMs after their end, because maxRetainedBytes was full',
        () => retained.drops,
      ],
      'spillway.tokens.saved': [
        '{token}',
        'Estimate: tokens that cancelled streams would still have generated, if each were as long as the mean completed stream',
        () => meter.tokensSaved,
      ],
    });
    this.#figures.counter('spillway.tokens', '{token}', 'Tokens, one for each event with data', (result) => {
      result.observe(meter.eventsIn, { stage: 'generated' });
      result.observe(meter.tokensDelivered, { stage: 'delivered' });
      result.observe(meter.tokensAcknowledged, { stage: 'acknowledged' });
      result.observe(meter.tokensLost, { stage: 'lost' });
    });
    this.#figures.counter(
      'spillway.gaps',
      '{gap}',
      'Gaps that readers were told of, by the overflow policy that dropped chunks',
      (result) => {
        for (const [reason, count] of Object.entries(meter.gaps)) result.observe(count, { reason });
      },
    );
    this.#figures.counter(
      'spillway.resumes',
      '{resume}',
      'Readers that came back over a new connection',
      (result) => {
        for (const [outcome, count] of Object.entries(meter.resumes))
          result.observe(count, { result: outcome });
      },
    );
    this.#figures.counter('spillway.stalls', '{stall}', 'How often a provider was made to wait', (result) => {
      for (const cause of stallCauses) result.observe(meter.stalls[cause], { cause });
    });
    this.#figures.counter(
      'spillway.sessions.ended',
      '{session}',
      'WebSockets that ended, by the reason',
      (result) => {
        for (const [reason, count] of Object.entries(meter.sessionsEnded)) result.observe(count, { reason });
      },
    );
    this.#figures.counter('spillway.streams.ended', '{stream}', 'Streams that ended', (result) => {
      for (const { attributes, count } of this.#endedBy.values()) result.observe(count, attributes);
    });
    this.#figures.counter('spillway.readers.ended', '{reader}', 'Readers that ended', (result) => {
      for (const [reason, count] of Object.entries(this.#readersEnded)) result.observe(count, { reason });
    });
  }

  /** Figures from a survey of all streams. One survey serves all of them. */
  #defineSurveyed(): void {
    const { meter, survey } = this.#options;
    const figures = {
      'spillway.readers': ['{reader}', 'Readers that are open', ({ readers }) => readers],
      'spillway.readers.lagging': [
        '{reader}',
        'Readers whose waiting bytes are more than half of their bound',
        ({ laggingReaders }) => laggingReaders,
      ],
      'spillway.readers.paused': [
        '{reader}',
        'Readers whose client has granted no credit for longer than stallTimeoutMs',
        ({ pausedReaders }) => pausedReaders,
      ],
      'spillway.reader.lag.bytes': [
        'By',
        'Bytes that wait for the reader that is furthest behind',
        ({ maxLagBytes }) => maxLagBytes,
      ],
      'spillway.reader.lag.seconds': [
        's',
        'Age of the oldest chunk that waits for a reader',
        ({ maxLagMs }) => maxLagMs / 1000,
      ],
      'spillway.reader.lag.ratio': [
        '1',
        'Waiting bytes of a reader divided by its bound, the largest of any reader',
        ({ maxLagRatio }) => maxLagRatio,
      ],
      'spillway.waiting': [
        'By',
        'Bytes that wait in channels for a reader',
        ({ waitingBytes }) => waitingBytes,
      ],
      'spillway.held': ['By', 'Bytes that channels hold, history included', ({ heldBytes }) => heldBytes],
    } as const satisfies Record<string, readonly [string, string, (now: Survey) => number]>;
    const gauges = Object.entries(figures).map(
      ([name, [unit, description, read]]) =>
        [this.#instruments.createObservableGauge(name, { unit, description }), read] as const,
    );
    const streams = this.#instruments.createObservableGauge('spillway.streams', {
      unit: '{stream}',
      description: 'Streams that are open, by where they are',
    });
    const stall = this.#instruments.createObservableCounter('spillway.stall', {
      unit: 's',
      description: 'How long providers were made to wait',
    });
    this.#instruments.addBatchObservableCallback(
      (result) => {
        const now = survey();
        for (const [gauge, read] of gauges) result.observe(gauge, read(now));
        for (const [state, count] of Object.entries(now.streams)) result.observe(streams, count, { state });
        for (const cause of stallCauses) {
          result.observe(stall, (meter.stallMs[cause] + now.stallMs[cause]) / 1000, { cause });
        }
      },
      [...gauges.map(([gauge]) => gauge), streams, stall],
    );
  }

  /** One look at all sessions serves all three. */
  #defineUntaken(): void {
    const gauge = (name: string, unit: string, description: string): ObservableGauge =>
      this.#instruments.createObservableGauge(name, { unit, description });
    const most = gauge(
      'spillway.session.untaken',
      'By',
      'Bytes that were written to a WebSocket and that its connection has not taken, the most of any',
    );
    const total = gauge(
      'spillway.sessions.untaken',
      'By',
      'Bytes that were written to WebSockets and that their connections have not taken, the sum of all',
    );
    const large = gauge(
      'spillway.sessions.slow',
      '{session}',
      'WebSockets whose connection has not taken more than 256 KiB',
    );
    this.#instruments.addBatchObservableCallback(
      (result) => {
        const { largeSessions, maxBytes, totalBytes } = this.#options.untaken();
        result.observe(most, maxBytes);
        result.observe(total, totalBytes);
        result.observe(large, largeSessions);
      },
      [most, total, large],
    );
  }

  #defineGauges(): void {
    const { eventMemory, heldLimitBytes, meter, retained, sessions } = this.#options;
    this.#figures.gauge(
      'spillway.retained',
      'By',
      'Memory of streams whose model is done and that need no place of maxStreams: answers that are not delivered yet, and history',
      (result) => result.observe(retained.heldBytes),
    );
    this.#figures.gauge(
      'spillway.events.large.held',
      'By',
      'Memory that large events hold: while they arrive, and until all readers have them',
      (result) => result.observe(eventMemory.heldBytes),
    );
    this.#figures.gauge(
      'spillway.events.large.waiting',
      '{event}',
      'Large events that wait for memory; their providers are not read meanwhile',
      (result) => result.observe(eventMemory.waitingPlaces),
    );
    this.#figures.counter(
      'spillway.events.large.waits',
      '{wait}',
      'How often a large event had to wait for memory',
      (result) => result.observe(eventMemory.waits),
    );
    this.#figures.gauge('spillway.held.limit', 'By', 'Bytes that channels may hold altogether', (result) =>
      result.observe(heldLimitBytes),
    );
    this.#figures.gauge('spillway.sessions', '{session}', 'WebSockets that are open', (result) =>
      result.observe(sessions()),
    );
    this.#figures.gauge(
      'spillway.sessions.unread',
      '{session}',
      'WebSockets that are not read at the moment, because their client sends more than it takes',
      (result) => result.observe(meter.unreadSessions),
    );
  }
}

/** The attributes of a stream's figures; `undefined`: the operation is not known. */
function attributesOf({ body, origin }: GatewayStream): Attributes | undefined {
  const operation = operationOf(body?.format?.name);
  if (operation === undefined) return undefined;
  return { 'gen_ai.operation.name': operation, 'gen_ai.provider.name': origin.name };
}
