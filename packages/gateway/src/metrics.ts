import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';
import { Meter } from './meter.ts';
import type { GatewayStream, StreamState } from './stream.ts';
import type { ReaderEndReason } from './stream-reader.ts';

/**
 * The gateway's metrics, in Prometheus' text format. The set of series is fixed: no label's value
 * comes from a client.
 */
export class Metrics {
  readonly meter = new Meter();
  readonly #registry = new Registry();
  readonly #ended: Counter<'state'>;
  readonly #readersEnded: Counter<'reason'>;
  readonly #timeToFirstToken: Histogram;

  /** `streams` are those that live, at any time. */
  constructor(streams: () => Iterable<GatewayStream>) {
    const registers = [this.#registry];
    collectDefaultMetrics({ register: this.#registry });
    this.#ended = new Counter({
      name: 'spillway_streams_ended_total',
      help: 'Streams that ended, by the one state in which they did',
      labelNames: ['state'],
      registers,
    });
    for (const state of ['cancelled', 'completed', 'failed'] as const) this.#ended.inc({ state }, 0);
    this.#readersEnded = new Counter({
      name: 'spillway_readers_ended_total',
      help: 'Readers that ended: got everything, left, were let go, or were told of an error',
      labelNames: ['reason'],
      registers,
    });
    for (const reason of ['delivered', 'failed', 'left', 'stalled'] as const) {
      this.#readersEnded.inc({ reason }, 0);
    }
    this.#timeToFirstToken = new Histogram({
      // OpenTelemetry's gen_ai.server.time_to_first_token, with the buckets that it advises.
      name: 'gen_ai_server_time_to_first_token_seconds',
      help: "From the request's arrival to the provider's first event",
      buckets: [0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10],
      registers,
    });
    new Gauge({
      name: 'spillway_streams',
      help: 'Streams that are open, by where they are',
      labelNames: ['state'],
      registers,
      collect() {
        const counts = { waiting: 0, opening: 0, streaming: 0, paused: 0 };
        for (const stream of streams()) counts[stream.isPaused ? 'paused' : stream.phase] += 1;
        for (const [state, count] of Object.entries(counts)) this.set({ state }, count);
      },
    });
    new Gauge({
      name: 'spillway_waiting_bytes',
      help: 'Bytes that wait in channels for a reader',
      registers,
      collect() {
        let bytes = 0;
        for (const stream of streams()) bytes += stream.waitingBytes;
        this.set(bytes);
      },
    });
    const { meter } = this;
    const counters = {
      spillway_bytes_in_total: ['Bytes from providers', () => meter.bytesIn],
      spillway_bytes_out_total: ['Bytes to readers', () => meter.bytesOut],
      spillway_events_in_total: ['Events from providers', () => meter.eventsIn],
      spillway_events_out_total: ['Events to readers', () => meter.eventsOut],
      spillway_stalls_total: ['How often a provider was made to wait', () => meter.stalls],
      spillway_retries_total: ['How often a provider was asked again', () => meter.retries],
    } as const;
    for (const [name, [help, read]] of Object.entries(counters)) {
      new Counter({
        name,
        help,
        registers,
        collect() {
          this.reset();
          this.inc(read());
        },
      });
    }
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  text(): Promise<string> {
    return this.#registry.metrics();
  }

  readerEnded(reason: ReaderEndReason): void {
    this.#readersEnded.inc({ reason });
  }

  streamEnded(state: StreamState, ttftMs: number | undefined): void {
    this.#ended.inc({ state });
    if (ttftMs !== undefined) this.#timeToFirstToken.observe(ttftMs / 1000);
  }
}
