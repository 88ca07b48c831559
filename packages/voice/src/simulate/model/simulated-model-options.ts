import { SpillwayError } from '@spillway/core';
import type { Clock } from '@spillway/core/clock';
import { speech, type Speech } from '../speech.ts';

/** One turn of a conversation: the human speaks, the model answers. */
export interface SimulatedTurn {
  /** What the model understands, whatever was said. Default: how long it was. */
  readonly heard?: string;
  /** It asks for this tool first, if the session has it, and answers when it has the result. */
  readonly calls?: { readonly name: string; readonly input: Readonly<Record<string, unknown>> };
  /** What it answers. */
  readonly says: Speech;
}

/** What goes wrong, and how often. */
export interface SimulatedModelFaults {
  /** How many of the responses have the faults: 0 to 1, drawn by the seed. Default: 1, all. */
  readonly share?: number;
  /** The first audio comes so much later, in milliseconds. */
  readonly lateMs?: number;
  /** After so many milliseconds of audio nothing more comes, and the response does not end unless it is cancelled. */
  readonly stallAtMs?: number;
  /** After so many milliseconds of audio the connection is cut, without a close frame. */
  readonly cutAtMs?: number;
  /** The response fails with `rate_limit_exceeded`, and nothing is said. */
  readonly isRateLimited?: boolean;
}

/** How a simulated model behaves. */
export interface SimulatedModelOptions {
  /** The model's name, as it was asked for. Default: `gpt-realtime-2`. */
  readonly model?: string;
  /** What it says when it is asked to speak before the human has. Default: the clip `model-greeting`. */
  readonly greeting?: Speech;
  /** The conversation, turn by turn; after the last one comes the first. Default: three clips. */
  readonly script?: readonly SimulatedTurn[];
  /** How many times faster than real time it speaks: 0.1 to 1,000. Default: 10. */
  readonly speed?: number;
  /** The audio in one event: 20 to 1,000 ms. The real one sends 100 to 400. Default: 200. */
  readonly deltaMs?: number;
  /** From the end of the human's words, or the request for a response, to the first audio: 0 to 60,000 ms. Default: 300. */
  readonly thinkMs?: number;
  /** How old a session gets: 1 ms to a day. The real one gets as old as by default. Default: an hour. */
  readonly maxAgeMs?: number;
  /** What goes wrong. Default: nothing. */
  readonly faults?: SimulatedModelFaults;
  /** What draws which responses have the faults: a whole number from 0. Default: 1. */
  readonly seed?: number;
  /** Time; default: the system's. */
  readonly clock?: Pick<Clock, 'after' | 'nowMs'>;
}

/** A conversation about a library, of the clips that come with this package. */
export function defaultScript(): readonly SimulatedTurn[] {
  return [
    { heard: speech('caller-hello').text, says: speech('model-hours') },
    { heard: speech('caller-question').text, says: speech('model-events') },
    { heard: speech('caller-interruption').text, says: speech('model-book') },
  ];
}

/**
 * Checks what came from outside.
 *
 * @throws {SpillwayError} `invalid_option`
 */
export function checkModelOptions(options: SimulatedModelOptions): void {
  for (const [name, value, min, max] of [
    ['speed', options.speed ?? 1, 0.1, 1000],
    ['deltaMs', options.deltaMs ?? 20, 20, 1000],
    ['thinkMs', options.thinkMs ?? 0, 0, 60_000],
    ['maxAgeMs', options.maxAgeMs ?? 1, 1, 86_400_000],
    ['seed', options.seed ?? 0, 0, 4_294_967_295],
    ['faults.share', options.faults?.share ?? 1, 0, 1],
    ['faults.lateMs', options.faults?.lateMs ?? 0, 0, 3_600_000],
    ['faults.stallAtMs', options.faults?.stallAtMs ?? 0, 0, 3_600_000],
    ['faults.cutAtMs', options.faults?.cutAtMs ?? 0, 0, 3_600_000],
    ['script.length', options.script?.length ?? 1, 1, 10_000],
  ] as const) {
    if (!(value >= min && value <= max))
      throw new SpillwayError('invalid_option', `${name}: expected ${min} to ${max}, got ${value}.`);
  }
}
