import { levelOf, Playout, telephoneAudio } from '@spillway/core/audio';
import type { Clock } from '@spillway/core/clock';
import { openLegs } from './carrier-server.ts';

/** How a bridge of a test answers. */
export interface AnsweringBridgeOptions {
  readonly clock: Clock;
  readonly greeting: Uint8Array;
  /** What it says to anything that is said to it. */
  readonly answer: Uint8Array;
  /** Whether it stops when somebody speaks. */
  readonly stops?: boolean;
  /** Whether it sends all at once, as naive bridges do. */
  readonly isNaive?: boolean;
}

/** A bridge with a model of a few lines: it greets, stops when somebody speaks, and answers after 100 ms of silence. */
export function openAnsweringBridge({
  answer,
  clock,
  greeting,
  isNaive = false,
  stops = true,
}: AnsweringBridgeOptions): Promise<string> {
  return openLegs((leg) => {
    const playout = new Playout(leg, { format: telephoneAudio, clock });
    let count = 0;
    const say = (audio: Uint8Array): void => {
      count += 1;
      const part = { itemId: `item-${count}`, contentIndex: 0 };
      if (isNaive) leg.send(audio);
      else {
        playout.write(part, audio);
        playout.end(part);
      }
    };
    let quietFrames: number | undefined;
    leg.listen((event) => {
      if (event.kind === 'mark') playout.returned(event.name);
      else if (event.kind === 'digit') say(answer);
      else if (event.kind === 'ended') playout.close();
      if (event.kind !== 'audio') return;
      if (levelOf(telephoneAudio, event.audio) > 0.01) {
        if (stops && quietFrames === undefined) playout.interrupt();
        quietFrames = 0;
      } else if (quietFrames !== undefined) {
        quietFrames += 1;
        if (quietFrames === 5) {
          say(answer);
          quietFrames = undefined;
        }
      }
    });
    say(greeting);
  }, clock);
}
