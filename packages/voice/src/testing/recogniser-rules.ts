import type { SkippableTest } from '@spillway/core/testing';
import type { RecogniserEngine } from './recogniser-engine.ts';
import { pause, plain, type ProvedRecogniser, RecogniserProof } from './recogniser-proof.ts';

export type { KnownUtterance, RecogniserEngine } from './recogniser-engine.ts';

/** One rule of `Recogniser`, and a check that a recogniser keeps it. */
export interface RecogniserRule {
  /** The rule's number in the description of `Recogniser`. */
  readonly number: number;
  /** The rule in a few words, for a test's name. */
  readonly name: string;
  /**
   * Rejects when the recogniser breaks the rule. A check that needs what the engine cannot do says so to the test's context
   * (Vitest and `node:test` hand it in), and rejects where there is none.
   */
  readonly check: (context?: SkippableTest) => Promise<void>;
}

/** How the rules are proved. */
export interface RecogniserRulesOptions {
  /** The seed of what is random: a whole number from 0 to 2^32 − 1. Default: 1. */
  readonly seed?: number;
  /** How long anything may take before it counts as never. Default: 30 seconds. */
  readonly deadlineMs?: number;
  /** How long the other side is silent in a check that has it speak again. Default: 3 seconds. */
  readonly stallMs?: number;
}

type Need = 'cut' | 'limit' | 'openCount' | 'openUnreachable' | 'openWild' | 'stall';

/** What another side may say that is none of its API. */
const wild: readonly [name: string, says: (random: () => number) => Uint8Array][] = [
  ['noise', (random) => new Uint8Array(10_000).map(() => random() * 256)],
  ['text that is no JSON', () => Buffer.from('<html>502 Bad Gateway</html>\n')],
  ['JSON that is no object', () => Buffer.from('[[[]]]\n')],
  ['an object without anything', () => Buffer.from('{}\n')],
  ['null', () => Buffer.from('null\n')],
  [
    'fields of wrong types',
    () =>
      Buffer.from(
        '{"type":"Results","kind":"final","start":"0","duration":null,"channel":[],"text":7,"words":{},"bytes":-1}\n',
      ),
  ],
  [
    'times that are none',
    () =>
      Buffer.from(
        '{"type":"Results","kind":"final","start":1e99,"duration":-1,"is_final":true,"channel":{"alternatives":[{"transcript":"x","words":[{"word":"x","start":-5,"end":1e300}]}]},"text":"x","words":[["x",-1,1e300]]}\n',
      ),
  ],
  ['deep nesting', () => Buffer.from(`${'['.repeat(50_000)}\n`)],
  ['two megabytes', () => Buffer.from(`{"text":"${'x'.repeat(2_000_000)}"}\n`)],
  ['a name that is one of every object', () => Buffer.from('{"type":"__proto__","kind":"constructor"}\n')],
];

/**
 * The rules that every recogniser has to keep. Run each rule's check in a test of its own. One file, because it is one list, and how a
 * rule is proved is read beside its words; what several need is in `recogniser-proof.ts`.
 *
 * @param openEngine opens another side of its own for each check.
 * @example A recogniser of your own is proved with a few lines.
 * ```ts
 * import { type RecogniserEngine, recogniserRules } from '@spillway/voice/testing/recogniser-rules';
 *
 * const openEngine = async (): Promise<RecogniserEngine> => {
 *   const server = await openMyDouble();
 *   return {
 *     open: () => openMyRecogniser({ url: server.url }),
 *     utterances: [hello, goodbye], // { audio, text } each
 *     hasTimes: true,
 *     confirms: true,
 *     stall: () => server.stall(),
 *     heal: () => server.heal(),
 *     remove: () => server.close(),
 *   };
 * };
 * for (const { number, name, check } of recogniserRules(openEngine)) test(`rule ${number}: ${name}`, check);
 * ```
 */
export function recogniserRules(
  openEngine: () => Promise<RecogniserEngine> | RecogniserEngine,
  { deadlineMs = 30_000, seed = 1, stallMs = 3000 }: RecogniserRulesOptions = {},
): readonly RecogniserRule[] {
  const rule = (
    number: number,
    name: string,
    prove: (proof: RecogniserProof) => Promise<void>,
    ...needs: readonly Need[]
  ): RecogniserRule => ({
    number,
    name,
    // With a default, because Jest hands a callback to functions of one parameter.
    check: async (context = withoutContext) => {
      const engine = await openEngine();
      const proof = new RecogniserProof(engine, seed, deadlineMs);
      try {
        const missing = needs.find((need) => engine[need] === undefined);
        if (missing === undefined) await prove(proof);
        else context.skip(`the engine of this test has no ${missing}`);
      } finally {
        await proof.end();
      }
    },
  });
  return [
    rule(1, 'nothing comes after close', async (proof) => {
      const one = await proof.open().ready();
      one.send(proof.engine.utterances[0].audio);
      one.close();
      one.close();
      one.recogniser.send(proof.engine.utterances[0].audio);
      one.recogniser.finish();
      const other = await proof.open().ready();
      other.say(proof.engine.utterances[0]);
      other.onEvent = ({ kind }) => {
        if (kind === 'partial' || kind === 'final') other.close();
      };
      await other.until(() => [...other.of('partial'), ...other.of('final')].length > 0, 'words');
      // By then the other side has answered a recogniser that was opened later.
      const last = await proof.open().ready();
      last.say(proof.engine.utterances[1]);
      await last.final(1);
      one.expectSound();
      other.expectSound();
    }),
    rule(
      1,
      'what ended before anybody listened is told then',
      async (proof) => {
        const one = proof.proved(proof.engine.openUnreachable?.() ?? proof.engine.open());
        await pause(200);
        one.listen();
        await speakToTheEnd(proof, one);
      },
      'openUnreachable',
    ),
    rule(2, 'ready comes first, and what was sent before is left out', async (proof) => {
      const one = proof.open();
      one.say(proof.engine.utterances[0]);
      one.recogniser.finish();
      await one.ready();
      one.say(proof.engine.utterances[1]);
      const texts = [await one.final(1), await one.final(2), await one.final(3)].map(({ text }) =>
        plain(text),
      );
      expectEqual('texts', texts, ['', '', plain(proof.engine.utterances[1].text)]);
      // The audio of the first was lost, and the second had none.
      expectEqual('order', told(one).slice(0, 4), ['ready', 'warned', 'final', 'final']);
    }),
    rule(3, 'each finish has one final, in order, also without audio', async (proof) => {
      const [first, second] = proof.engine.utterances;
      const one = await proof.open().ready();
      one.recogniser.finish();
      one.say(first);
      one.recogniser.finish();
      await one.final(3);
      one.say(second);
      one.recogniser.finish();
      one.recogniser.finish();
      await one.final(6);
      one.say(first);
      await one.final(7);
      await expectTexts(one, ['', first.text, '', second.text, '', '', first.text]);
    }),
    rule(3, 'two utterances without a pause', async (proof) => {
      const [first, second] = proof.engine.utterances;
      const one = await proof.open().ready();
      one.say(first);
      one.say(second);
      await one.final(2);
      await expectTexts(one, [first.text, second.text]);
    }),
    rule(3, 'silence has an empty final, and what follows is understood', async (proof) => {
      const [first] = proof.engine.utterances;
      const one = await proof.open().ready();
      one.send(new Uint8Array(first.audio.byteLength).fill(quietByte(one)));
      one.recogniser.finish();
      await one.final(1);
      one.say(first);
      await one.final(2);
      await expectTexts(one, ['', first.text]);
    }),
    rule(3, 'a listener that is slow gets all the same', async (proof) => {
      const [first, second] = proof.engine.utterances;
      const one = await proof.open().ready();
      one.onEvent = ({ kind }) => {
        const endMs = performance.now() + (kind === 'drained' ? 1 : 30);
        while (performance.now() < endMs);
      };
      one.say(first);
      one.say(second);
      await one.final(2);
      await expectTexts(one, [first.text, second.text]);
    }),
    rule(
      3,
      'an utterance whose answer is cut has a final, or is the end',
      async (proof) => {
        const one = await proof.open({ isImpatient: true }).ready();
        await proof.engine.cut?.();
        await speakToTheEnd(proof, one);
      },
      'cut',
    ),
    rule(4, 'partial words are those of the oldest utterance without a final', async (proof) => {
      const [first, second] = proof.engine.utterances;
      const one = await proof.open().ready();
      one.say(first);
      one.say(second);
      await one.final(2);
      const spoken = [first.text, second.text];
      let done = 0;
      for (const [index, event] of one.events.entries()) {
        if (event.kind === 'final') done += 1;
        if (event.kind !== 'partial') continue;
        if (done >= spoken.length) throw new Error('expected no partial without an utterance, got one');
        // Of the first guesses some may be wrong; the last one has most words.
        if (one.events.slice(index + 1).find(({ kind }) => kind !== 'drained')?.kind !== 'final') continue;
        const own = shared(event.text, spoken[done] ?? '');
        const others = shared(event.text, spoken[1 - done] ?? '');
        if (own <= others) throw new Error(`expected words of utterance ${done}, got those of the other`);
      }
    }),
    rule(5, 'however audio is cut into pieces, the same words come', async (proof) => {
      const [first] = proof.engine.utterances;
      const finals = [];
      for (const how of ['frames', 'whole', 'random'] as const) {
        const one = await proof.open().ready();
        const random = proof.pieces(one.recogniser);
        const sizes = { frames: undefined, whole: () => first.audio.byteLength, random };
        one.send(first.audio, sizes[how]);
        one.recogniser.finish();
        finals.push(await one.final(1));
        one.close();
      }
      for (const final of finals) expectEqual('final', final, finals[0]);
      expectEqual('words', plain(finals[0]?.text ?? ''), plain(first.text));
    }),
    rule(5, 'words have their places in their own utterance', async (proof) => {
      const { hasTimes, utterances } = proof.engine;
      const one = await proof.open().ready();
      for (const [index, utterance] of utterances.entries()) {
        one.say(utterance);
        const { words } = await one.final(index + 1);
        const count = hasTimes ? plain(utterance.text).split(' ').length : 0;
        expectEqual('words with times', words.length, count);
        const lastMs = words.at(-1)?.toMs ?? 0;
        const { input } = one.recogniser;
        const bytesPerMs = (input.sampleRateHz * (input.encoding === 'pcm16' ? 2 : 1)) / 1000;
        if (lastMs > utterance.audio.byteLength / bytesPerMs + 1)
          throw new Error(`expected the last word within its utterance, got one until ${lastMs} ms`);
      }
    }),
    rule(6, 'nothing is unconfirmed when all is done', async (proof) => {
      const one = await proof.open().ready();
      one.say(proof.engine.utterances[0]);
      await one.final(1);
      await one.until(() => one.recogniser.unconfirmedMs === 0, 'nothing unconfirmed');
      one.close();
      one.expectPressure();
      one.expectSound();
    }),
    rule(
      6,
      'what a silent other side has not worked on is unconfirmed, and its words come when it speaks',
      async (proof) => {
        const { confirms, utterances } = proof.engine;
        const one = await proof.open().ready();
        await proof.engine.stall?.();
        one.say(utterances[0]);
        await pause(stallMs);
        const { unconfirmedMs } = one.recogniser;
        if (unconfirmedMs > 0 !== confirms)
          throw new Error(`expected ${confirms ? 'unconfirmed audio' : 'none'}, got ${unconfirmedMs} ms`);
        expectEqual('finals of a silent side', one.of('final').length, 0);
        await proof.engine.heal?.();
        await one.final(1);
        await expectTexts(one, [utterances[0].text]);
        await one.until(() => one.recogniser.unconfirmedMs === 0, 'nothing unconfirmed');
      },
      'stall',
    ),
    rule(
      7,
      'another side that never answers is told, or is the end',
      async (proof) => {
        const one = await proof.open({ isImpatient: true }).ready();
        await proof.engine.stall?.();
        await speakToTheEnd(proof, one);
      },
      'stall',
    ),
    rule(
      7,
      'another side that is asked for too much is told with its code',
      async (proof) => {
        await proof.engine.limit?.();
        const one = proof.open();
        one.listen();
        await speakToTheEnd(proof, one);
        const codes = [...one.of('warned'), ...one.of('ended')].map(({ code }) => code);
        expectEqual('codes', [...new Set(codes)], ['rate_limited']);
        await proof.engine.heal?.();
        const other = await proof.open().ready();
        other.say(proof.engine.utterances[0]);
        await other.final(1);
        await expectTexts(other, [proof.engine.utterances[0].text]);
      },
      'limit',
    ),
    ...wild.map(([name, says]) =>
      rule(
        7,
        `another side that says ${name}`,
        async (proof) => {
          const one = proof.proved(
            proof.engine.openWild?.(says(() => proof.random())) ?? proof.engine.open(),
          );
          one.listen();
          // Some of it may be an answer by chance.
          await speakToTheEnd(proof, one, false);
        },
        'openWild',
      ),
    ),
    rule(
      8,
      'after close nothing is open',
      async (proof) => {
        const unused = proof.open();
        unused.close();
        await proof.expectNothingOpen();
        const one = await proof.open().ready();
        one.send(proof.engine.utterances[0].audio);
        one.close();
        await proof.expectNothingOpen();
        const other = await proof.open().ready();
        other.say(proof.engine.utterances[0]);
        other.close();
        await proof.expectNothingOpen();
      },
      'openCount',
    ),
    rule(
      8,
      'after the end nothing is open',
      async (proof) => {
        const one = await proof.open({ isImpatient: true }).ready();
        await proof.engine.cut?.();
        await speakToTheEnd(proof, one);
        await proof.expectNothingOpen();
      },
      'cut',
      'openCount',
    ),
  ];
}

const withoutContext: SkippableTest = {
  skip(reason) {
    throw new Error(`not proved: ${reason}. Hand in the test's context to skip it.`);
  },
};

/** The most utterances that a recogniser may take to find out that its other side does not work. */
const maxTries = 5;

/**
 * Speaks to another side that does not work: each utterance has a final, or it is the end. `isWarned`: there is a warning before
 * each of those finals.
 */
async function speakToTheEnd(proof: RecogniserProof, one: ProvedRecogniser, isWarned = true): Promise<void> {
  const hasEnded = (): boolean => one.of('ended').length > 0;
  await one.until(() => one.events.length > 0, 'ready or ended');
  for (let tries = 1; tries <= maxTries && !hasEnded(); tries += 1) {
    one.say(proof.engine.utterances[0]);
    await one.until(() => hasEnded() || one.of('final').length >= tries, `final ${tries}, or ended`);
    if (isWarned && one.of('final').length > one.of('warned').length)
      throw new Error('expected a warning before the final of each utterance that was lost');
  }
  // What comes after the end would come now.
  await pause(20);
  one.expectSound();
}

async function expectTexts(one: ProvedRecogniser, texts: readonly string[]): Promise<void> {
  // One final more than there may be would come now.
  await pause(20);
  one.expectSound();
  expectEqual(
    'texts',
    one.of('final').map(({ text }) => plain(text)),
    texts.map((text) => plain(text)),
  );
}

function told({ events }: ProvedRecogniser): string[] {
  return events.map(({ kind }) => kind).filter((kind) => kind !== 'drained' && kind !== 'partial');
}

/** How many words two texts share. */
function shared(one: string, other: string): number {
  const words = new Set(plain(other).split(' '));
  return new Set(
    plain(one)
      .split(' ')
      .filter((word) => words.has(word)),
  ).size;
}

function quietByte({ recogniser: { input } }: ProvedRecogniser): number {
  if (input.encoding === 'pcm16') return 0;
  return input.encoding === 'mulaw' ? 0xff : 0xd5;
}

function expectEqual(what: string, actual: unknown, expected: unknown): void {
  const [is, should] = [JSON.stringify(actual), JSON.stringify(expected)];
  if (is !== should) throw new Error(`${what}: expected ${should}, got ${is}`);
}
