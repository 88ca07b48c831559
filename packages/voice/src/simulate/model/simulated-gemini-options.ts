import { SpillwayError } from '@spillway/core';
import {
  checkModelOptions,
  type SimulatedModelFaults,
  type SimulatedModelOptions,
} from './simulated-model-options.ts';

/** What goes wrong with a simulated Gemini, and how often. */
export interface SimulatedGeminiFaults extends SimulatedModelFaults {
  /** After so many milliseconds of audio the answer is `interrupted`, although nobody spoke. The real one does that. */
  readonly phantomAtMs?: number;
}

/** How a simulated Gemini behaves. */
export interface SimulatedGeminiOptions extends Pick<
  SimulatedModelOptions,
  'clock' | 'deltaMs' | 'greeting' | 'script' | 'seed' | 'speed' | 'thinkMs'
> {
  /** How old a connection gets: 1 ms to a day. Default: ten minutes, as the real one. */
  readonly maxAgeMs?: number;
  /** `goAway` comes so long before: 0 to `maxAgeMs`. Default: 10,000. */
  readonly goAwayMs?: number;
  /** What goes wrong. Default: nothing. */
  readonly faults?: SimulatedGeminiFaults;
  /** The sessions that may be resumed, by their handles: shared by connections of one server. Default: its own. */
  readonly handles?: Map<string, number>;
}

/**
 * Checks what came from outside.
 *
 * @throws {SpillwayError} `invalid_option`
 */
export function checkGeminiSimulation(options: SimulatedGeminiOptions): void {
  checkModelOptions(options);
  const { faults, goAwayMs = 0, maxAgeMs = 600_000 } = options;
  for (const [name, value, max] of [
    ['goAwayMs', goAwayMs, maxAgeMs],
    ['faults.phantomAtMs', faults?.phantomAtMs ?? 0, 3_600_000],
  ] as const) {
    if (!(value >= 0 && value <= max))
      throw new SpillwayError('invalid_option', `${name}: expected 0 to ${max}, got ${value}.`);
  }
}
