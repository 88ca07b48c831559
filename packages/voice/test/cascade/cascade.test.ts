import { describe, expect, test } from 'vitest';
import { StageError } from '../../src/index.ts';
import { OpenedCascade } from '../support/opened-cascade.ts';
import { msPerCharacter, wordsOf } from '../support/scripted-stages.ts';

/** Sentences of 1.5 s, 2 s and so on: each is as long as its text. */
const one = 'This is the number one, isn’t it.';
const two = 'And here is another one, which is number two.';
const three = 'The third is the last one that there is today.';
const answer = `${one} ${two} ${three}`;

function msOf(text: string): number {
  return text.length * msPerCharacter;
}

describe('a conversation with a cascade', () => {
  test('is one: what the caller says is recognised, answered and spoken, and the next answer knows it', async () => {
    const opened = new OpenedCascade({ instructions: 'Be short.' }, { greeting: 'Say hello.' });
    opened.reasoner.answers.push(['Hello there, who is it?'], [300, answer], ['Good bye.']);
    await opened.clock.advance(3000);
    expect(opened.reasoner.asked[0]).toEqual([
      { role: 'system', text: 'Be short.' },
      { role: 'system', text: 'Say hello.' },
    ]);
    await opened.say(1000, 'It is me.');
    await opened.clock.advance(9000);
    expect(opened.reasoner.asked[1]).toEqual([
      { role: 'system', text: 'Be short.' },
      { role: 'assistant', text: 'Hello there, who is it?', tools: [] },
      { role: 'user', text: 'It is me.' },
    ]);
    expect(opened.spoken).toEqual(['Hello there, who is it?', one, two, three]);
    await opened.say(600, 'Thanks.');
    await opened.clock.advance(3000);
    expect(opened.reasoner.asked[2]?.slice(3)).toEqual([
      { role: 'assistant', text: answer, tools: [] },
      { role: 'user', text: 'Thanks.' },
    ]);
    expect(opened.call.conversation.map(({ text }) => text)).toEqual([
      'Hello there, who is it?',
      'It is me.',
      one,
      two,
      three,
      'Thanks.',
      'Good bye.',
    ]);
    expect(opened.of('warned')).toEqual([]);
    expect(opened.of('underrun')).toEqual([]);
    expect(opened.of('stageResult').map(({ stage }) => stage)).toEqual([
      'reason',
      'speak',
      'recognise',
      'reason',
      'speak',
      'speak',
      'speak',
      'recognise',
      'reason',
      'speak',
    ]);
    // 500 ms of silence are waited for; then 200 of the recogniser, 300 of the model, 100 of the speaker.
    const { thoughtMs } = opened.of('answered')[1] ?? {};
    expect(thoughtMs).toBe(600);
    const [recognise, reason, speak] = opened.call.figures.stages;
    expect(recognise).toMatchObject({ stage: 'recognise', depthMs: 0, waitedMs: 200, errors: 0 });
    expect(reason).toMatchObject({ stage: 'reason', depthMs: 0, waitedMs: 0 });
    expect(speak).toMatchObject({ stage: 'speak', depthMs: 0, waitedMs: 100, errors: 0, droppedMs: 0 });
    const characters = ['Hello there, who is it?', one, two, three, 'Good bye.'].join('').length;
    expect(speak?.characters).toBe(characters);
    expect(speak?.doneMs).toBeCloseTo(characters * msPerCharacter, 0);
    opened.call.close();
    expect([opened.recogniser.isClosed, opened.speaker.isClosed]).toEqual([true, true]);
  });

  test('gives the recogniser what is said, with 300 ms in front of it, and no silence', async () => {
    const opened = new OpenedCascade();
    opened.reasoner.answers.push(['Yes, this is it.'], ['Yes.']);
    await opened.clock.advance(5000);
    await opened.say(1000, 'One.');
    await opened.clock.advance(5000);
    await opened.say(2000, 'Two.');
    await opened.clock.advance(5000);
    const [first, second, open] = opened.recogniser.utterances;
    for (const [got, said] of [
      [first, 1000],
      [second, 2000],
    ] as const) {
      expect(got).toBeGreaterThanOrEqual(said + 300);
      // The silence that ends it, too.
      expect(got).toBeLessThanOrEqual(said + 300 + 560);
    }
    expect(open).toBe(0);
  });

  test('speaks the first sentence before the model has the second', async () => {
    const opened = new OpenedCascade();
    opened.reasoner.answers.push([`${one} `, 3000, two]);
    await opened.say(500, 'Well?');
    await opened.clock.advance(800);
    expect(opened.spoken).toEqual([one]);
    await opened.clock.advance(8000);
    expect(opened.spoken).toEqual([one, two]);
  });

  test('speaks what the model has when it stops in the middle of a sentence, and the ear has nothing', async () => {
    const opened = new OpenedCascade({ maxSentenceMs: 1000 });
    opened.reasoner.answers.push(['It is on the ', 10_000, 'second floor.']);
    await opened.say(500, 'Where?');
    await opened.clock.advance(1600);
    expect(opened.spoken).toEqual([]);
    await opened.clock.advance(400);
    expect(opened.spoken).toEqual(['It is on the']);
    await opened.clock.advance(12_000);
    expect(opened.spoken).toEqual(['It is on the', 'second floor.']);
  });

  test.each([
    ['markdown', 'It costs $5.50, see our page.'],
    ['words', 'It costs five dollars and fifty cents, see our page.'],
  ] as const)(
    'speaks no marks and no code, and keeps what the model wrote: %s',
    async (speakable, spoken) => {
      const opened = new OpenedCascade({ speakable });
      opened.speaker.hasWords = true;
      const text = 'It costs **$5.50**, see [our page](https://library.example/fees).';
      opened.reasoner.answers.push([`\`\`\`js\nconst a = 1;\n\`\`\`\n${text}`], ['Yes.']);
      await opened.say(500, 'How much?');
      await opened.clock.advance(6000);
      expect(opened.spoken).toEqual([spoken]);
      await opened.say(500, 'Really?');
      await opened.clock.advance(2000);
      expect(opened.reasoner.asked[1]?.[1]).toEqual({ role: 'assistant', text, tools: [] });
    },
  );

  test('asks for a tool, and answers with its result', async () => {
    const opened = new OpenedCascade();
    const asked = { callId: 't-1', name: 'find', input: '{"title":"Dune"}' };
    opened.reasoner.answers.push(['One moment please. ', { kind: 'toolCalled', ...asked }], ['We have it.']);
    await opened.say(500, 'Do you have it?');
    await opened.clock.advance(1000);
    expect(opened.of('toolCalled')).toEqual([{ kind: 'toolCalled', ...asked }]);
    opened.call.giveResult('t-1', 'On the second floor.');
    await opened.clock.advance(3000);
    expect(opened.spoken).toEqual(['One moment please.', 'We have it.']);
    expect(opened.reasoner.asked[1]).toEqual([
      { role: 'user', text: 'Do you have it?' },
      { role: 'assistant', text: 'One moment please.', tools: [asked] },
      { role: 'tool', callId: 't-1', output: 'On the second floor.' },
    ]);
  });

  test('answers with the result of a tool when it has said what it says meanwhile', async () => {
    const opened = new OpenedCascade();
    const asked = { callId: 't-1', name: 'find', input: '{}' };
    opened.reasoner.answers.push([{ kind: 'toolCalled', ...asked }, `${one} ${two}`], ['We have it.']);
    await opened.say(500, 'Do you have it?');
    await opened.clock.advance(1000);
    expect(opened.of('toolCalled')).toHaveLength(1);
    opened.call.giveResult('t-1', 'Yes.');
    await opened.clock.advance(8000);
    expect(opened.spoken).toEqual([one, two, 'We have it.']);
    expect(opened.reasoner.mostRunning).toBe(1);
    expect(opened.speaker.mostRunning).toBe(1);
  });

  test('is not late while the ear plays what it has', async () => {
    const opened = new OpenedCascade({ unheardMs: 0 }, { answerTimeoutMs: 1000 });
    opened.reasoner.answers.push([answer]);
    await opened.say(500, 'Tell me.');
    await opened.clock.advance(9000);
    expect(opened.of('ended')).toEqual([]);
    expect(opened.of('played')).toHaveLength(3);
  });

  test('answers no cough, and waits for no answer to one', async () => {
    const opened = new OpenedCascade({}, { reopenModel: () => undefined });
    await opened.say(200, '');
    await opened.clock.advance(60_000);
    expect(opened.reasoner.asked).toEqual([]);
    expect(opened.of('ended')).toEqual([]);
    await opened.say(500, 'Hello?');
    opened.reasoner.answers.push(['Yes?']);
    await opened.clock.advance(2000);
    expect(opened.spoken).toEqual(['Yes?']);
  });

  test('answers together what was said in two breaths', async () => {
    const opened = new OpenedCascade();
    opened.recogniser.delayMs = 1500;
    opened.reasoner.answers.push(['Yes.']);
    await opened.say(600, 'I would like');
    await opened.clock.advance(700);
    await opened.say(600, 'a book.');
    await opened.clock.advance(5000);
    expect(opened.reasoner.asked).toEqual([
      [
        { role: 'user', text: 'I would like' },
        { role: 'user', text: 'a book.' },
      ],
    ]);
  });

  test('lets a short noise pass with a model that waits to be asked', async () => {
    const opened = new OpenedCascade({ answersItself: false, silenceMs: 200 }, { onShortNoise: 'resume' });
    opened.reasoner.answers.push([answer], ['Bye.']);
    await opened.say(1000, 'Tell me.');
    await opened.clock.advance(2500);
    await opened.say(100, '');
    await opened.clock.advance(9000);
    expect(opened.of('resumed')).toHaveLength(1);
    expect(opened.of('played')).toHaveLength(3);
    await opened.say(1000, 'Good bye.');
    await opened.clock.advance(3000);
    expect(opened.spoken).toEqual([one, two, three, 'Bye.']);
    // It was asked when the words were there, and not before.
    expect(opened.reasoner.asked.map((messages) => messages.at(-1))).toEqual([
      { role: 'user', text: 'Tell me.' },
      { role: 'user', text: 'Good bye.' },
    ]);
  });

  test('goes on with what was said in a session before', async () => {
    const past = [
      { role: 'caller', text: 'Hello.' },
      { role: 'model', text: 'Who is there?' },
    ] as const;
    const opened = new OpenedCascade({ past });
    await opened.say(500, 'It is me.');
    await opened.clock.advance(1000);
    expect(opened.reasoner.asked[0]?.map((message) => ('text' in message ? message.text : ''))).toEqual([
      'Hello.',
      'Who is there?',
      'It is me.',
    ]);
  });
});

describe('promise 21: the speech of a cascade', () => {
  test.each([
    [800, 800],
    [2000, 2000],
    [0, 0],
  ])('is asked for when the ear has at most its threshold to play: %d ms', async (unheardMs, most) => {
    const opened = new OpenedCascade({ unheardMs });
    opened.reasoner.answers.push([answer]);
    await opened.say(1000, 'Tell me.');
    const left: number[] = [];
    for (let known = 1; opened.of('played').length < 3; await opened.clock.advance(5)) {
      const { figures } = opened.call;
      if (opened.spoken.length === known) continue;
      known = opened.spoken.length;
      if (known > 1) left.push(figures.outWaitingMs + figures.outUnconfirmedMs);
    }
    expect(left).toHaveLength(2);
    for (const ms of left) {
      expect(ms).toBeLessThanOrEqual(most);
      // As soon as it may be: a mark comes every 160 ms.
      expect(ms).toBeGreaterThanOrEqual(Math.max(0, Math.min(most, msOf(one)) - 170));
    }
    expect(opened.mostUnheardMs).toBeLessThanOrEqual(most + msOf(three));
  });

  test('waits for an ear that is late, and goes by no clock', async () => {
    const opened = new OpenedCascade({}, { stallTimeoutMs: 20_000 });
    opened.reasoner.answers.push([answer]);
    await opened.say(1000, 'Tell me.');
    await opened.clock.advance(1200);
    expect(opened.spoken).toEqual([one]);
    // Nothing is confirmed any more, although the ear would have played all of it long ago.
    const { onMark } = opened.carrier.ear;
    const held: string[] = [];
    opened.carrier.ear.onMark = (name) => held.push(name);
    await opened.clock.advance(10_000);
    expect(opened.spoken).toEqual([one]);
    opened.carrier.ear.onMark = onMark;
    for (const name of held) opened.carrier.ear.onMark(name);
    await opened.clock.advance(200);
    expect(opened.spoken).toEqual([one, two]);
  });

  test('holds the model of text: no more than some 200 characters of it wait', async () => {
    const opened = new OpenedCascade({}, { stallTimeoutMs: 60_000 });
    const long = Array.from({ length: 100 }, (_, at) => `This is the sentence number ${at}.`);
    opened.reasoner.answers.push([`${long.join(' ')} `]);
    await opened.say(1000, 'Tell me.');
    await opened.clock.advance(30_000);
    const [, , speak] = opened.call.figures.stages;
    expect(speak?.depthMs).toBeLessThanOrEqual(13_000 + msOf(long[0] ?? ''));
    const words = opened.spoken.join(' ').split(' ').length;
    // 13 s of text are 200 characters or 50 words; a half of it may be free before more is read.
    expect(opened.reasoner.read - words).toBeLessThanOrEqual(60);
    expect(opened.reasoner.read - words).toBeGreaterThanOrEqual(10);
  });

  test('what the caller says while the recogniser takes nothing is bounded, and lost as a gap', async () => {
    const opened = new OpenedCascade();
    await opened.clock.advance(100);
    opened.recogniser.unconfirmedMs = 1000;
    await opened.say(3000, 'Too much.');
    // What it was given and has not done, and 400 ms in front of it.
    expect(opened.call.figures.stages[0]?.depthMs).toBeLessThanOrEqual(1400);
    expect(opened.of('gap').length).toBeGreaterThan(100);
    const { lostMs, stages } = opened.call.figures;
    expect(lostMs).toBeGreaterThan(2000);
    expect(stages[0]?.droppedMs).toBe(lostMs);
    opened.recogniser.unconfirmedMs = 0;
    opened.recogniser.tell({ kind: 'drained' });
    opened.reasoner.answers.push(['Pardon?']);
    await opened.clock.advance(1500);
    expect(opened.spoken).toEqual(['Pardon?']);
    expect(opened.recogniser.utterances[0]).toBeLessThanOrEqual(1000);
    expect(opened.call.figures.stages[0]?.depthMs).toBe(0);
  });
});

describe('promise 22: a barge-in into a cascade', () => {
  test.each([false, true])(
    'stops the speaker and the model in the middle of a sentence, with what was heard (times of words: %s)',
    async (hasWords) => {
      const opened = new OpenedCascade();
      opened.speaker.hasWords = hasWords;
      opened.reasoner.answers.push([answer, 60_000, 'More.'], ['Sorry.']);
      await opened.say(1000, 'Tell me.');
      await opened.clock.advance(900);
      // Whatever is heard of the first sentence, and 1.1 s of the second.
      await opened.clock.advance(msOf(one) + 1000);
      expect(opened.spoken).toEqual([one, two]);
      await opened.say(1000, 'Stop.');
      const unheard = opened.of('interrupted').flatMap((interrupted) => interrupted.unheard);
      expect(opened.reasoner.aborts).toBe(1);
      const { spoken } = opened;
      await opened.clock.advance(3000);
      expect(opened.spoken).toEqual([...spoken, 'Sorry.']);
      const heard = opened.reasoner.asked[1]?.find(({ role }) => role === 'assistant');
      const text = heard !== undefined && 'text' in heard ? heard.text : '';
      expect(text.startsWith(one)).toBe(true);
      const part = unheard.find(({ itemId }) => itemId.endsWith('-2'));
      const heardMs = part?.heardMs ?? 0;
      expect(heardMs).toBeGreaterThan(100);
      const rest = text.slice(one.length + 1);
      expect(two.startsWith(rest)).toBe(true);
      const words = hasWords ? wordsOf(two) : undefined;
      const expected = words?.findLast(({ toMs }) => toMs <= heardMs)?.end;
      // To the word: without times by its share, where the next one was not heard whole.
      const nextWord = two.slice(rest.length).trim().split(' ')[0] ?? '';
      const isByShare = msOf(rest) <= heardMs && msOf(rest) + msOf(nextWord) + msPerCharacter > heardMs;
      expect(hasWords ? rest.length === expected : isByShare).toBe(true);
      // What the call believes, and what a session that takes over would be told, is the same.
      const said = opened.call.conversation.filter(({ role }) => role === 'model').map((kept) => kept.text);
      expect(said.slice(0, 2)).toEqual([one, rest]);
    },
  );

  test('throws away one sentence and the threshold at most, and pays for no other', async () => {
    const opened = new OpenedCascade();
    opened.reasoner.answers.push([answer], ['Yes.']);
    opened.speaker.speed = 1000;
    await opened.say(1000, 'Tell me.');
    await opened.clock.advance(1200);
    const at = opened.spoken.length;
    await opened.say(1000, 'Stop.');
    const { droppedMs } = opened.call.figures;
    expect(droppedMs).toBeGreaterThan(200);
    expect(droppedMs).toBeLessThanOrEqual(msOf(two) + 800);
    expect(opened.spoken).toHaveLength(at);
  });

  test('is one although the recogniser takes nothing, and one that takes nothing for long is opened anew', async () => {
    const failures: string[] = [];
    const opened = new OpenedCascade(
      {},
      {
        reopenModel: (_past, { code }) => {
          failures.push(code);
          return undefined;
        },
      },
    );
    opened.reasoner.answers.push([answer]);
    await opened.say(1000, 'Tell me.');
    await opened.clock.advance(1500);
    opened.recogniser.unconfirmedMs = 1000;
    await opened.say(1000, 'Stop.');
    expect(opened.of('interrupted')).toHaveLength(1);
    await opened.clock.advance(9000);
    expect(failures).toEqual([]);
    await opened.clock.advance(2000);
    expect(failures).toEqual(['late']);
    expect(opened.of('stageFailed')).toEqual([{ kind: 'stageFailed', stage: 'recognise', code: 'late' }]);
  });

  test('while the model thinks ends that answer, and none of it is heard or known', async () => {
    const opened = new OpenedCascade();
    opened.reasoner.answers.push([1500, answer], ['Yes.']);
    await opened.say(1000, 'Tell me.');
    await opened.clock.advance(1000);
    await opened.say(1000, 'No, wait.');
    await opened.clock.advance(3000);
    expect(opened.spoken).toEqual(['Yes.']);
    expect(opened.reasoner.asked[1]).toEqual([
      { role: 'user', text: 'Tell me.' },
      { role: 'user', text: 'No, wait.' },
    ]);
  });
});

describe('a stage that fails', () => {
  test('a speaker that makes nothing of a sentence is asked once more, when it wants to be', async () => {
    const opened = new OpenedCascade();
    const fault = new StageError('rate_limited', 'Too many.', { retryAfterMs: 1000 });
    opened.speaker.faults.push(undefined, { atMs: 0, fault });
    opened.reasoner.answers.push([answer]);
    await opened.say(1000, 'Tell me.');
    await opened.clock.advance(12_000);
    expect(opened.spoken).toEqual([one, two, two, three]);
    const [, , again] = opened.speaker.spoken;
    expect((again?.atMs ?? 0) - (opened.speaker.spoken[1]?.atMs ?? 0)).toBe(1100);
    expect(opened.of('stageFailed')).toEqual([{ kind: 'stageFailed', stage: 'speak', code: 'rate_limited' }]);
    expect(opened.of('played')).toHaveLength(3);
    expect(opened.call.figures.stages[2]).toMatchObject({ errors: 1 });
  });

  test('a speaker that is cut in a sentence: what came is heard, and the model is asked again', async () => {
    const opened = new OpenedCascade();
    opened.speaker.faults.push(undefined, { atMs: 600, fault: new StageError('lost', 'Cut.') });
    opened.reasoner.answers.push([answer], ['As I said.']);
    await opened.say(1000, 'Tell me.');
    await opened.clock.advance(8000);
    expect(opened.spoken).toEqual([one, two, 'As I said.']);
    expect(opened.of('responseEnded').map(({ state }) => state)).toEqual(['failed', 'completed']);
    const said = opened.reasoner.asked[1]?.at(-1);
    // 600 ms are 12 characters, and the speaker was found to take 53 ms for one.
    expect(said).toMatchObject({ role: 'assistant', text: `${one} And here` });
  });

  test.each(['reason', 'speak'] as const)(
    '%s that will not work however often it is asked ends the session at once, and says which it was',
    async (stage) => {
      const failures: string[] = [];
      const opened = new OpenedCascade(
        {},
        {
          reopenModel: (_past, { code, message }) => {
            failures.push(code, message);
            return undefined;
          },
        },
      );
      const fault = new StageError('unauthorized', `The one that has to ${stage} does not take the key.`);
      if (stage === 'reason') opened.reasoner.answers.push([fault]);
      else {
        opened.reasoner.answers.push([answer]);
        opened.speaker.faults.push({ atMs: 0, fault });
      }
      await opened.say(1000, 'Tell me.');
      await opened.clock.advance(1500);
      expect(failures).toEqual(['unauthorized', fault.message]);
      expect(opened.reasoner.asked).toHaveLength(1);
      expect(opened.of('stageFailed')).toEqual([{ kind: 'stageFailed', stage, code: 'unauthorized' }]);
    },
  );

  test('a speaker that makes nothing of words has failed; what has no words is told', async () => {
    const opened = new OpenedCascade();
    opened.speaker.isMute = true;
    opened.reasoner.answers.push(['Yes.'], ['...!!!'], ['']);
    await opened.say(1000, 'Tell me.');
    await opened.clock.advance(1200);
    expect(opened.of('stageFailed')).toEqual([{ kind: 'stageFailed', stage: 'speak', code: 'bad_message' }]);
    await opened.clock.advance(2000);
    expect(opened.of('warned').map(({ code }) => code)).toEqual(['bad_message', 'empty_answer']);
    await opened.say(1000, 'And now?');
    await opened.clock.advance(2000);
    expect(opened.of('warned').map(({ code }) => code)).toEqual([
      'bad_message',
      'empty_answer',
      'empty_answer',
    ]);
  });

  test('a model of text that says nothing is late, and asked again; one that is held back is not', async () => {
    const opened = new OpenedCascade({ reasonTimeoutMs: 3000 }, { stallTimeoutMs: 60_000 });
    opened.reasoner.answers.push([60_000], [`${answer} ${answer} ${answer} `, 10, `${answer} ${answer}`]);
    await opened.say(1000, 'Tell me.');
    await opened.clock.advance(3500);
    expect(opened.of('stageFailed')).toEqual([]);
    await opened.clock.advance(1500);
    expect(opened.of('stageFailed')).toEqual([{ kind: 'stageFailed', stage: 'reason', code: 'late' }]);
    await opened.clock.advance(60_000);
    expect(opened.of('played')).toHaveLength(15);
    expect(opened.of('stageFailed')).toHaveLength(1);
  });

  test('an utterance that a recogniser fails to understand is counted, and the model is told to ask again', async () => {
    const opened = new OpenedCascade();
    opened.reasoner.answers.push(['Pardon?'], ['Yes.']);
    opened.recogniser.delayMs = 60_000;
    await opened.say(1000);
    await opened.clock.advance(1000);
    opened.recogniser.tell({ kind: 'warned', code: 'lost', message: 'It failed.' });
    opened.recogniser.tell({ kind: 'final', text: '', words: [] });
    await opened.clock.advance(2000);
    expect(opened.spoken).toEqual(['Pardon?']);
    expect(opened.reasoner.asked[0]).toEqual([
      { role: 'user', text: '(The caller said something that was not understood.)' },
    ]);
    expect(opened.of('stageFailed')).toEqual([{ kind: 'stageFailed', stage: 'recognise', code: 'lost' }]);
    expect(opened.of('stageResult').map(({ stage }) => stage)).toEqual(['reason', 'speak']);
    expect(opened.call.figures.stages[0]).toMatchObject({ errors: 1, doneMs: 0 });
    opened.recogniser.delayMs = 200;
    await opened.say(1000, 'Hello?');
    await opened.clock.advance(2000);
    expect(opened.spoken).toEqual(['Pardon?', 'Yes.']);
    expect(opened.call.figures.stages[0]).toMatchObject({ errors: 1, waitedMs: 200 });
  });

  test('a recogniser that is never ready is late, before the call says so', async () => {
    const failures: string[] = [];
    const opened = new OpenedCascade(
      {},
      {
        reopenModel: (_past, { code }) => {
          failures.push(code);
          return undefined;
        },
      },
      { isReady: false },
    );
    await opened.clock.advance(9100);
    expect(failures).toEqual(['late']);
    expect(opened.of('stageFailed')).toEqual([{ kind: 'stageFailed', stage: 'recognise', code: 'late' }]);
  });

  test('a speaker that gives no sign is late, and asked once more', async () => {
    const opened = new OpenedCascade({ speakTimeoutMs: 3000 });
    opened.speaker.faults.push({ atMs: 0, fault: 60_000 });
    opened.reasoner.answers.push([answer]);
    await opened.say(1000, 'Tell me.');
    await opened.clock.advance(3800);
    expect(opened.spoken).toEqual([one]);
    await opened.clock.advance(500);
    expect(opened.spoken).toEqual([one, one]);
    expect(opened.speaker.aborts).toBe(1);
    expect(opened.of('stageFailed')).toEqual([{ kind: 'stageFailed', stage: 'speak', code: 'late' }]);
  });

  test('a model of text that fails: what it said is heard, and it is asked again', async () => {
    const opened = new OpenedCascade();
    opened.reasoner.answers.push(
      [`${one} And this is not`, 100, new StageError('lost', 'It was cut.')],
      ['Here I am.'],
    );
    await opened.say(1000, 'Tell me.');
    await opened.clock.advance(6000);
    expect(opened.spoken).toEqual([one, 'Here I am.']);
    expect(opened.of('warned')).toEqual([{ kind: 'warned', code: 'lost', message: 'It was cut.' }]);
    expect(opened.of('stageFailed')).toEqual([{ kind: 'stageFailed', stage: 'reason', code: 'lost' }]);
    expect(opened.of('played')).toHaveLength(2);
  });

  test('a model of text that is at its limit is asked again after a second, and then another session is opened', async () => {
    const failures: string[] = [];
    const opened = new OpenedCascade(
      {},
      {
        reopenModel: (_past, { code }) => {
          failures.push(code);
          return undefined;
        },
      },
    );
    const limit = new StageError('rate_limited', 'Too many.', { retryAfterMs: 20_000 });
    opened.reasoner.answers.push([limit], [limit]);
    await opened.say(1000, 'Tell me.');
    await opened.clock.advance(1000);
    expect(opened.reasoner.asked).toHaveLength(1);
    await opened.clock.advance(1000);
    expect(opened.reasoner.asked).toHaveLength(2);
    expect(failures).toEqual(['response_failed']);
    expect(opened.of('stageFailed').map(({ code, stage }) => [stage, code])).toEqual([
      ['reason', 'rate_limited'],
      ['reason', 'rate_limited'],
    ]);
  });

  test.each(['reason', 'speak'])(
    '%s stands still, and the caller speaks into it: it is stopped at once, and the next answer is as soon as ever',
    async (stage) => {
      const opened = new OpenedCascade();
      opened.reasoner.answers.push([answer], ['Yes.']);
      if (stage === 'reason') opened.reasoner.answers[0] = [`${one} And here`, 60_000];
      else opened.speaker.faults.push(undefined, { atMs: 600, fault: 4000 });
      await opened.say(1000, 'Tell me.');
      await opened.clock.advance(3500);
      await opened.say(1000, 'Stop.');
      expect([opened.reasoner.running, opened.speaker.running]).toEqual([0, 0]);
      await opened.clock.advance(1500);
      expect(opened.spoken.at(-1)).toBe('Yes.');
      expect(opened.of('answered').at(-1)?.thoughtMs).toBe(300);
    },
  );

  test.each([
    [
      'ends',
      (opened: OpenedCascade) => opened.recogniser.tell({ kind: 'ended', code: 'lost', message: 'Gone.' }),
      'lost',
    ],
    ['has no words in time', (opened: OpenedCascade) => (opened.recogniser.delayMs = 60_000), 'late'],
  ])('a recogniser that %s ends the session, and the next one answers', async (_what, fail, code) => {
    const sessions: string[][] = [];
    const opened = new OpenedCascade(
      {},
      {
        reopenModel: (past, failure) => {
          sessions.push([failure.code, ...past.map(({ text }) => text)]);
          return undefined;
        },
      },
    );
    opened.reasoner.answers.push(['Yes.']);
    await opened.say(500, 'One.');
    await opened.clock.advance(3000);
    fail(opened);
    await opened.say(500, 'Two.');
    await opened.clock.advance(15_000);
    expect(sessions).toEqual([[code, 'One.', 'Yes.']]);
    expect(opened.of('stageFailed')).toEqual([{ kind: 'stageFailed', stage: 'recognise', code }]);
  });

  test.each(['recognise', 'reason', 'speak'])(
    '%s stands still for 3 s: then all is as before',
    async (stage) => {
      const opened = new OpenedCascade();
      opened.reasoner.answers.push([answer], [answer]);
      if (stage === 'recognise') opened.recogniser.delayMs = 3000;
      else if (stage === 'reason') opened.reasoner.answers[0] = [`${one} `, 3000, `${two} ${three}`];
      else opened.speaker.faults.push(undefined, { atMs: 600, fault: 3000 });
      await opened.say(1000, 'Tell me.');
      await opened.clock.advance(14_000);
      expect(opened.of('played')).toHaveLength(3);
      opened.recogniser.delayMs = 200;
      await opened.say(1000, 'Again.');
      await opened.clock.advance(10_000);
      expect(opened.of('played')).toHaveLength(6);
      expect(opened.of('answered').at(-1)?.thoughtMs).toBe(300);
      expect(opened.of('gap')).toEqual([]);
      expect(opened.call.figures).toMatchObject({ inWaitingMs: 0, outWaitingMs: 0, outUnconfirmedMs: 0 });
      expect(opened.of('stageFailed')).toEqual([]);
    },
  );
});
