import type { Clock } from '@spillway/core/clock';
import type { Speech } from '../speech.ts';
import type { AskedSpeech, SimulatedSpeakerFaults } from './speaker-options.ts';

/** What the simulated APIs of one server share. */
export interface SpeakerShared {
  readonly apiKey: string | undefined;
  readonly speeches: readonly Speech[];
  readonly msPerCharacter: number;
  readonly delayMs: number;
  readonly speed: number | undefined;
  readonly clock: Pick<Clock, 'after'>;
  readonly faults: () => SimulatedSpeakerFaults;
  /** Writes down that a text is asked for. */
  readonly ask: (api: AskedSpeech['api'], text: string, audioMs: number) => AskedSpeech;
  readonly onRefused: (message: string) => void;
}
