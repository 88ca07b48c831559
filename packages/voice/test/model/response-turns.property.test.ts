import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { checkProperty } from '../../../core/test/support/property.ts';
import { ResponseTurns } from '../../src/model/response-turns.ts';

type Told = { readonly create: string } | { readonly cancel: string | undefined };
type Said =
  | { readonly began: string; readonly by: string | undefined }
  | { readonly ended: string }
  | { readonly refused: string | undefined };

/** An API behind two lines that take their time: one response at a time, and some that it begins by itself. */
class Api {
  readonly toApi: Told[] = [];
  readonly fromApi: Said[] = [];
  running: string | undefined;
  /** The request that the running one answers. */
  runningBy: string | undefined;
  #last = 0;

  /** Takes the next message of the client. */
  take(): void {
    const told = this.toApi.shift();
    if (told === undefined) return;
    if ('create' in told) {
      if (this.running === undefined) this.#begin(told.create);
      else this.fromApi.push({ refused: told.create });
    } else if (this.running !== undefined && (told.cancel ?? this.running) === this.running) {
      this.finish();
    }
  }

  /** The human has stopped speaking. */
  answer(): void {
    if (this.running === undefined) this.#begin(undefined);
    else this.fromApi.push({ refused: undefined });
  }

  finish(): void {
    if (this.running === undefined) return;
    this.fromApi.push({ ended: this.running });
    this.running = undefined;
  }

  #begin(by: string | undefined): void {
    this.runningBy = by;
    this.running = `resp_${(this.#last += 1)}`;
    this.fromApi.push({ began: this.running, by });
  }
}

const step = fc.constantFrom('ask', 'stop', 'take', 'take', 'hear', 'hear', 'answer', 'finish', 'late');

describe('responses, over lines that take their time', () => {
  test('each that is asked for is made, or stopped, and never is a second one asked for beside it', async () => {
    await checkProperty(
      'responses: one at a time',
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const api = new Api();
        let events = 0;
        let isWanted = false;
        let isStopped = false;
        /** What has to be cancelled: requests, and responses. */
        const stopped = new Set<string | undefined>();
        let asked: string | undefined;
        const open = { creates: 0, known: undefined as string | undefined };
        const pauses: (() => void)[] = [];
        const asker = {
          create: () => {
            // Not in a pause behind a refusal.
            expect(pauses).toHaveLength(0);
            // Neither does one run that is known, nor is one asked for.
            expect(open).toEqual({ creates: 0, known: undefined });
            expect(isStopped).toBe(false);
            open.creates += 1;
            const create = `event_${(events += 1)}`;
            api.toApi.push({ create });
            asked = create;
            return create;
          },
          cancel: (cancel: string | undefined) => api.toApi.push({ cancel }),
        };
        const turns = new ResponseTurns(asker, {
          after: (_ms, callback) => {
            pauses.push(callback);
            return { stop: () => undefined };
          },
        });
        const late = (): void => pauses.shift()?.();
        const hear = (): void => {
          const said = api.fromApi.shift();
          if (said === undefined) return;
          if ('began' in said) {
            open.known = said.began;
            if (said.by !== undefined) open.creates = 0;
            isWanted = false;
            turns.began(said.began, said.by);
          } else if ('ended' in said) {
            open.known = undefined;
            turns.ended(said.ended);
          } else {
            if (said.refused !== undefined) open.creates = 0;
            else isStopped = false;
            isWanted = !isStopped;
            turns.refused(said.refused, true);
          }
        };
        // From its first answer on, it is known that the API says whom it answers.
        for (const one of ['ask', 'take', 'hear', 'finish', 'hear', ...steps] as const) {
          if (one === 'ask') {
            isWanted = true;
            isStopped = false;
            turns.ask({});
          } else if (one === 'stop') {
            isWanted = false;
            isStopped = true;
            if (open.creates > 0) stopped.add(asked);
            if (open.known !== undefined) stopped.add(open.known);
            turns.stop();
          } else if (one === 'hear') hear();
          else if (one === 'late') late();
          else api[one]();
        }
        // All arrives, and each response comes to its end.
        for (let count = 0; count < 500; count += 1) {
          if (api.fromApi.length > 0) hear();
          else if (api.toApi.length > 0) api.take();
          else if (api.running !== undefined) {
            expect([stopped.has(api.running), stopped.has(api.runningBy)]).toEqual([false, false]);
            api.finish();
          } else late();
        }
        expect([api.fromApi.length, api.toApi.length, api.running]).toEqual([0, 0, undefined]);
        // What was wanted last was made, and nothing is stuck.
        expect(isWanted).toBe(false);
        isStopped = false;
        turns.ask({});
        expect(api.toApi).toHaveLength(1);
      }),
    );
  });

  test('an API that is always busy is asked after pauses that grow, until it makes one', () => {
    const pausesMs: number[] = [];
    let end = (): void => undefined;
    const asked: string[] = [];
    const turns = new ResponseTurns(
      { create: () => `event_${asked.push('x')}`, cancel: () => undefined },
      {
        after: (ms, callback) => {
          pausesMs.push(ms);
          end = callback;
          return { stop: () => (end = () => undefined) };
        },
      },
    );
    turns.ask({});
    for (let count = 1; count <= 7; count += 1) {
      turns.refused(`event_${count}`, true);
      // Who asks meanwhile waits, too.
      turns.ask({});
      expect(asked).toHaveLength(count);
      end();
    }
    expect(pausesMs).toEqual([100, 200, 400, 800, 1600, 2000, 2000]);
    turns.began('resp_1', 'event_8');
    turns.ended('resp_1');
    turns.ask({});
    turns.refused('event_9', true);
    expect(pausesMs.at(-1)).toBe(100);
    turns.close();
    end();
    expect(asked).toHaveLength(9);
  });
});
