import type { SkippableTest } from '@spillway/core/testing';
import type { SpeakerEngine } from './speaker-engine.ts';
import { pause, SpeakerProof } from './speaker-proof.ts';

export type { SpeakerEngine } from './speaker-engine.ts';

/** One rule of `Speaker`, and a check that a speaker keeps it. */
export interface SpeakerRule {
  /** The rule's number in the description of `Speaker`. */
  readonly number: number;
  /** The rule in a few words, for a test's name. */
  readonly name: string;
  /**
   * Rejects when the speaker breaks the rule. A check that needs what the engine cannot do says so to the test's context
   * (Vitest and `node:test` hand it in), and rejects where there is none.
   */
  readonly check: (context?: SkippableTest) => Promise<void>;
}

/** How the rules are proved. */
export interface SpeakerRulesOptions {
  /** The seed of what is random: a whole number from 0 to 2^32 − 1. Default: 1. */
  readonly seed?: number;
  /** How long anything may take before it counts as never. Default: 30 seconds. */
  readonly deadlineMs?: number;
  /** How long the other side is silent in a check that has it speak again. Default: 3 seconds. */
  readonly stallMs?: number;
}

type Need =
  | 'activeCount'
  | 'cut'
  | 'limit'
  | 'openCount'
  | 'openEndless'
  | 'openUnreachable'
  | 'openWild'
  | 'progress'
  | 'stall';

/** What another side may say that is none of its API. */
const wild: readonly [name: string, says: (random: () => number) => Uint8Array][] = [
  ['text that is no JSON', () => Buffer.from('<html>502 Bad Gateway</html>')],
  ['JSON that is no object', () => Buffer.from('[[[]]]')],
  ['null', () => Buffer.from('null')],
  ['noise', (random) => new Uint8Array(10_001).map(() => random() * 256)],
  ['fields of wrong types', () => Buffer.from('{"audio":7,"contextId":{},"isFinal":"no","alignment":[]}')],
  [
    'times that are none',
    () =>
      Buffer.from(
        '{"audio":"AAAA","alignment":{"chars":["x"],"charStartTimesMs":[1e999],"charDurationsMs":[-1]},"contextId":"x"}',
      ),
  ],
  ['deep nesting', () => Buffer.from('['.repeat(50_000))],
  ['five megabytes', () => Buffer.from(`{"audio":"${'A'.repeat(5_000_000)}"}`)],
  ['a name that is one of every object', () => Buffer.from('{"error":"__proto__","message":"constructor"}')],
];

/** Texts without anything to be spoken. */
const silent = ['', ' ', '...', ' — ', '?!', '\n', '😀'];

/** 4,000 characters: more speech than operating systems hold. */
const long = 'word '.repeat(800).trim();

/**
 * The rules that every speaker has to keep. Run each rule's check in a test of its own.
 *
 * @param openEngine opens another side of its own for each check.
 * @example A speaker of your own is proved with a few lines.
 * ```ts
 * import { type SpeakerEngine, speakerRules } from '@spillway/voice/testing/speaker-rules';
 *
 * const openEngine = async (): Promise<SpeakerEngine> => {
 *   const server = await openMyDouble();
 *   return {
 *     open: () => openMySpeaker({ url: server.url }),
 *     texts: ['We open at nine in the morning.', 'On Sunday we are closed all day.'],
 *     hasTimes: false,
 *     stall: () => server.stall(),
 *     heal: () => server.heal(),
 *     remove: () => server.close(),
 *   };
 * };
 * for (const { number, name, check } of speakerRules(openEngine)) test(`rule ${number}: ${name}`, check);
 * ```
 */
export function speakerRules(
  openEngine: () => Promise<SpeakerEngine> | SpeakerEngine,
  { deadlineMs = 30_000, seed = 1, stallMs = 3000 }: SpeakerRulesOptions = {},
): readonly SpeakerRule[] {
  const rule = (
    number: number,
    name: string,
    prove: (proof: SpeakerProof) => Promise<void>,
    ...needs: readonly Need[]
  ): SpeakerRule => ({
    number,
    name,
    // With a default, because Jest hands a callback to functions of one parameter.
    check: async (context = withoutContext) => {
      const engine = await openEngine();
      const proof = new SpeakerProof(engine, seed, deadlineMs);
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
    rule(1, 'audio is whole samples, in order, without a header', async (proof) => {
      const speaker = proof.open();
      for (const text of proof.engine.texts) {
        const { audio } = await proof.hear(speaker, text);
        expectSound(audio, await soundOf(proof, text));
        // A header begins with letters, and speech with some silence or the first wave.
        if (Buffer.from(audio.subarray(0, 4)).toString('latin1') === 'RIFF')
          throw new Error('expected bare samples, got a header');
      }
    }),
    rule(1, 'words have their times, in the order of the text', async (proof) => {
      const speaker = proof.open();
      for (const text of proof.engine.texts) {
        const { words } = await proof.hear(speaker, text);
        const should = proof.engine.hasTimes ? text.split(/\s+/) : [];
        expectEqual('words', words.map((word) => word.text).join('|'), should.join('|'));
      }
    }),
    rule(
      2,
      'what nobody asks for is not read',
      async (proof) => {
        const speaker = proof.open();
        const events = proof.begin(speaker, long);
        await proof.audio(events);
        let last = -1;
        await proof.until('another side that waits', async () => {
          const now = proof.engine.progress?.() ?? 1;
          await pause(100);
          const isStill = now === last;
          last = now;
          return isStill;
        });
        if (last >= 1) throw new Error('expected another side that waits, got all of the text');
        while ((await proof.next(events)) !== undefined);
        expectEqual('progress', proof.engine.progress?.(), 1);
      },
      'progress',
    ),
    rule(
      3,
      'speech that is cut is an error, also at its beginning',
      async (proof) => {
        const speaker = proof.open();
        await proof.hear(speaker, proof.engine.texts[0]);
        await proof.engine.cut?.();
        for (const text of proof.engine.texts)
          proof.expectStageError(await proof.failure(speaker, text), 'lost');
        await proof.engine.heal?.();
        await expectWhole(proof, speaker, proof.engine.texts[0]);
      },
      'cut',
    ),
    rule(
      3,
      'another side that is silent for a while is waited for',
      async (proof) => {
        const [text] = proof.engine.texts;
        const sound = await soundOf(proof, text);
        await proof.engine.stall?.();
        const speaker = proof.open();
        const hearing = proof.hear(speaker, text);
        await pause(stallMs);
        await proof.engine.heal?.();
        expectSound((await hearing).audio, sound);
      },
      'stall',
    ),
    rule(4, 'an abort beforehand', async (proof) => {
      const speaker = proof.open();
      const reason = new Error('the check has aborted this');
      const signal = AbortSignal.abort(reason);
      expectSame(await proof.failure(speaker, proof.engine.texts[0], signal), reason);
      await expectWhole(proof, speaker, proof.engine.texts[1]);
    }),
    rule(4, 'an abort before the first audio, while it is waited for', async (proof) => {
      const speaker = proof.open();
      const controller = new AbortController();
      const reason = new Error('the check has aborted this');
      const failing = proof.failure(speaker, proof.engine.texts[0], controller.signal);
      await Promise.resolve();
      controller.abort(reason);
      expectSame(await failing, reason);
      await expectWhole(proof, speaker, proof.engine.texts[1]);
    }),
    rule(
      4,
      'an abort in the middle ends the request at the other side, although nobody asks for more',
      async (proof) => {
        const speaker = proof.open();
        await proof.hear(speaker, proof.engine.texts[1]);
        await proof.engine.stall?.();
        const controller = new AbortController();
        const reason = new Error('the check has aborted this');
        const events = proof.begin(speaker, proof.engine.texts[0], controller.signal);
        await proof.audio(events);
        expectEqual('texts at work', proof.engine.activeCount?.(), 1);
        controller.abort(reason);
        await proof.until('no text at work', () => proof.engine.activeCount?.() === 0);
        expectSame(await proof.failureOf(events), reason);
        await proof.engine.heal?.();
        await expectWhole(proof, speaker, proof.engine.texts[1]);
      },
      'activeCount',
      'stall',
    ),
    rule(5, 'a text without anything to be spoken has no audio', async (proof) => {
      const speaker = proof.open();
      for (const text of silent) {
        const { audio, words } = await proof.hear(speaker, text);
        expectEqual(JSON.stringify(text), [audio.byteLength, words.length], [0, 0]);
      }
      await expectWhole(proof, speaker, proof.engine.texts[0]);
    }),
    rule(
      6,
      'another side without an end is ended',
      async (proof) => {
        const speaker = proof.proved((await proof.engine.openEndless?.()) ?? proof.open());
        proof.expectStageError(await proof.failure(speaker, proof.engine.texts[0]), 'bad_message');
      },
      'openEndless',
    ),
    rule(
      6,
      'another side that is silent is late',
      async (proof) => {
        await proof.engine.stall?.();
        const speaker = proof.open({ isImpatient: true });
        for (const text of proof.engine.texts)
          proof.expectStageError(await proof.failure(speaker, text), 'late');
        await proof.engine.heal?.();
        // With the patience that a busy machine needs.
        await expectWhole(proof, proof.open(), proof.engine.texts[1]);
      },
      'stall',
    ),
    rule(
      6,
      'another side that is asked for too much',
      async (proof) => {
        await proof.engine.limit?.();
        const speaker = proof.open();
        for (const text of proof.engine.texts)
          proof.expectStageError(await proof.failure(speaker, text), 'rate_limited');
        await proof.engine.heal?.();
        await expectWhole(proof, speaker, proof.engine.texts[1]);
      },
      'limit',
    ),
    rule(
      6,
      'another side that is not there',
      async (proof) => {
        const speaker = proof.proved(proof.engine.openUnreachable?.() ?? proof.open());
        for (const text of proof.engine.texts)
          proof.expectStageError(await proof.failure(speaker, text), 'unreachable');
      },
      'openUnreachable',
    ),
    ...wild.map(([name, says]) =>
      rule(
        6,
        `another side that says ${name}`,
        async (proof) => {
          const bytes = says(() => proof.random());
          const speaker = proof.proved((await proof.engine.openWild?.(bytes)) ?? proof.open());
          // Bare samples may be anything: then it is an end.
          const events = proof.begin(speaker, proof.engine.texts[0]);
          await proof.rest(speaker, proof.engine.texts[0], events).catch((error: unknown) => {
            proof.expectStageError(error);
          });
        },
        'openWild',
      ),
    ),
    rule(7, 'a text has nothing of the one before, however that ended', async (proof) => {
      const [first, second] = proof.engine.texts;
      const speaker = proof.open();
      const sound = await soundOf(proof, second);
      await proof.hear(speaker, first);
      expectSound((await proof.hear(speaker, second)).audio, sound);
      for (let round = 0; round < 8; round += 1) {
        const controller = new AbortController();
        const events = proof.begin(speaker, first, controller.signal);
        // Some were heard, and of some nothing came.
        if (round % 2 === 0) await proof.audio(events);
        else events.next().catch(() => undefined);
        controller.abort(new Error('the check has aborted this'));
        expectSound((await proof.hear(speaker, second)).audio, sound);
      }
    }),
    rule(7, 'a text that nobody wants any more is left', async (proof) => {
      const [first, second] = proof.engine.texts;
      const speaker = proof.open();
      const sound = await soundOf(proof, second);
      for await (const event of speaker.speak(first, { signal: new AbortController().signal }))
        if (event.kind === 'audio') break;
      expectSound((await proof.hear(speaker, second)).audio, sound);
    }),
    rule(8, 'a close ends what is spoken, and can be repeated', async (proof) => {
      const speaker = proof.open();
      const events = proof.begin(speaker, proof.engine.texts[0]);
      await proof.audio(events);
      speaker.close();
      speaker.close();
      proof.expectStageError(await proof.failureOf(events), 'lost');
      proof.expectStageError(await proof.failure(speaker, proof.engine.texts[1]), 'lost');
    }),
    rule(
      8,
      'after close nothing is open',
      async (proof) => {
        proof.open().close();
        await proof.expectNothingOpen();
        const one = proof.open();
        await proof.hear(one, proof.engine.texts[0]);
        one.close();
        await proof.expectNothingOpen();
        const other = proof.open();
        await proof.audio(proof.begin(other, proof.engine.texts[0]));
        other.close();
        await proof.expectNothingOpen();
        const aborted = proof.open();
        const controller = new AbortController();
        await proof.audio(proof.begin(aborted, proof.engine.texts[0], controller.signal));
        controller.abort();
        aborted.close();
        await proof.expectNothingOpen();
      },
      'openCount',
    ),
  ];
}

const withoutContext: SkippableTest = {
  skip(reason) {
    throw new Error(`not proved: ${reason}. Hand in the test's context to skip it.`);
  },
};

/** How a text sounds: what the engine says, or how it sounds to a speaker that speaks nothing else. */
async function soundOf(proof: SpeakerProof, text: string): Promise<Uint8Array> {
  const known = proof.engine.soundOf?.(text);
  if (known !== undefined) return known;
  const speaker = proof.open();
  const { audio } = await proof.hear(speaker, text);
  speaker.close();
  return audio;
}

async function expectWhole(
  proof: SpeakerProof,
  speaker: Parameters<SpeakerProof['hear']>[0],
  text: string,
): Promise<void> {
  expectSound((await proof.hear(speaker, text)).audio, await soundOf(proof, text));
}

function expectSound(is: Uint8Array, should: Uint8Array): void {
  if (should.byteLength === 0) throw new Error('expected a text that sounds, got one without audio');
  if (Buffer.compare(is, should) !== 0)
    throw new Error(
      `expected the ${should.byteLength} bytes of this text, got ${is.byteLength} that are others`,
    );
}

function expectSame(is: unknown, should: unknown): void {
  if (is !== should) throw new Error(`expected the signal's reason, got ${String(is)}`);
}

function expectEqual(what: string, actual: unknown, expected: unknown): void {
  const [is, should] = [JSON.stringify(actual), JSON.stringify(expected)];
  if (is !== should) throw new Error(`${what}: expected ${should}, got ${is}`);
}
