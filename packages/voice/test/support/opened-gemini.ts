import { onTestFinished } from 'vitest';
import { until } from '../../../core/test/support/until.ts';
import { type GeminiLiveOptions, type ModelEvent, type ModelLeg, openGeminiLive } from '../../src/index.ts';
import {
  serveSimulatedModels,
  type SimulatedGemini,
  type SimulatedModelServerOptions,
} from '../../src/simulate/model/index.ts';

type EventOf<Kind extends ModelEvent['kind']> = Extract<ModelEvent, { readonly kind: Kind }>;

/** A leg to Gemini's API, and what came of it. */
export class OpenedGemini {
  readonly leg: ModelLeg;
  readonly events: ModelEvent[] = [];
  /** Whether it is told to stop when the caller speaks, as a call does. */
  cancelsAtSpeech = false;

  constructor(url: string, options: Partial<GeminiLiveOptions> = {}) {
    this.leg = openGeminiLive({ url, model: 'gemini-live', apiKey: 'g-test', ...options });
    this.leg.listen((event) => {
      this.events.push(event);
      if (this.cancelsAtSpeech && event.kind === 'speechStarted') this.leg.cancel();
    });
    onTestFinished(() => this.leg.close());
  }

  /** The kinds that came, each run of the same as one. */
  get kinds(): string[] {
    return this.events.map(({ kind }) => kind).filter((kind, index, all) => kind !== all[index - 1]);
  }

  /** The events of a kind that have come. */
  of<Kind extends ModelEvent['kind']>(kind: Kind): EventOf<Kind>[] {
    return this.events.filter((event): event is EventOf<Kind> => event.kind === kind);
  }

  /** Resolves with the n-th event of a kind. */
  async next<Kind extends ModelEvent['kind']>(kind: Kind, count = 1): Promise<EventOf<Kind>> {
    await until(
      () => this.of(kind).length >= count,
      () => `${kind}: got ${JSON.stringify(this.kinds)}`,
    );
    const event = this.of(kind)[count - 1];
    if (event === undefined) throw new TypeError(kind);
    return event;
  }

  /** Sends audio in frames of 20 ms of telephone audio. */
  speak(audio: Uint8Array): void {
    for (let at = 0; at < audio.byteLength; at += 160) this.leg.send(audio.subarray(at, at + 160));
  }
}

/** A double of Gemini on a free port, closed when the test is over. */
export async function serveGemini(options: SimulatedModelServerOptions = {}): Promise<{
  readonly url: string;
  readonly sessions: readonly SimulatedGemini[];
}> {
  const sessions: SimulatedGemini[] = [];
  const server = await serveSimulatedModels({
    apiKey: 'g-test',
    thinkMs: 0,
    onGeminiSession: (model) => sessions.push(model),
    ...options,
  });
  onTestFinished(() => server.close());
  return { url: server.geminiUrl, sessions };
}
