import { describe, expect, test } from 'vitest';
import type { CallTool, ToolRun } from '../../src/index.ts';
import { type OpenedCall, openedCall, say, speech } from '../support/opened-call.ts';

const parameters = {
  type: 'object',
  properties: { town: { type: 'string' }, unit: { enum: ['celsius', 'kelvin'] } },
  required: ['town'],
  additionalProperties: false,
} as const;

function weather(run: CallTool['run'], more: Partial<CallTool> = {}): CallTool {
  return { name: 'weather', description: 'The weather.', parameters, run, ...more };
}

function openWith(tools: readonly CallTool[], filler?: Uint8Array): OpenedCall {
  const opened = openedCall({ tools, ...(filler === undefined ? {} : { filler }) });
  opened.model.say({ kind: 'ready' });
  return opened;
}

let lastId = 0;
function ask({ model }: OpenedCall, input: string, name = 'weather'): string {
  const callId = `tool-${(lastId += 1)}`;
  model.say({ kind: 'toolCalled', responseId: 'r-1', callId, name, input });
  return callId;
}

function outcomes({ events }: OpenedCall): string[] {
  return events.filter((event) => event.kind === 'toolEnded').map(({ outcome }) => outcome);
}

async function settled({ clock }: OpenedCall): Promise<void> {
  await clock.advance(0);
}

describe('a tool', () => {
  test('is run with its arguments, and the model gets what it returns', async () => {
    const runs: [unknown, ToolRun][] = [];
    const opened = openWith([
      weather((input, about) => {
        runs.push([input, about]);
        return Promise.resolve('17 degrees');
      }),
    ]);
    const id = ask(opened, '{"town":"Bern"}');
    await settled(opened);
    expect(opened.log.at(-1)).toBe(`result ${id} 17 degrees`);
    expect(runs).toMatchObject([[{ town: 'Bern' }, { callId: 'call-1', toolCallId: id }]]);
    expect(outcomes(opened)).toEqual(['done']);
  });

  test.each([
    ['{"unit":"kelvin"}', "the arguments must have required property 'town'"],
    ['{"town":1}', '/town must be string'],
    [
      '{"town":"Bern","unit":"rankine"}',
      '/unit must be equal to one of the allowed values (["celsius","kelvin"])',
    ],
    ['{"town":"Bern","x":1}', 'the arguments must NOT have additional properties ("x")'],
    ['{"town":', 'they are no JSON'],
    ['', "the arguments must have required property 'town'"],
  ])(
    'with the arguments %j is not run: the model is told once what is wrong, and then the fallback',
    async (input, wrong) => {
      let runs = 0;
      const tool = weather(
        () => {
          runs += 1;
          return Promise.resolve('fine');
        },
        { fallback: 'Nobody knows the weather.' },
      );
      const opened = openWith([tool]);
      const ids = [input, input, input, '{"town":"Bern"}', input].map((text) => ask(opened, text));
      await settled(opened);
      const told = ids.map((id) =>
        opened.log.find((line) => line.startsWith(`result ${id} `))?.replace(`result ${id} `, ''),
      );
      const correction = `The arguments are wrong: ${wrong}. Ask once more.`;
      expect(told).toEqual([correction, 'Nobody knows the weather.', correction, 'fine', correction]);
      expect(runs).toBe(1);
    },
  );

  test('that is not there is said to be none, with those that are', () => {
    const opened = openWith([weather(() => Promise.resolve(''))]);
    ask(opened, '{}', 'time');
    expect(opened.log.at(-1)).toMatch(/There is no tool of this name. There is: weather.$/u);
    expect(outcomes(opened)).toEqual(['unknown']);
  });

  test('that fails, or throws at once, is answered by its fallback', async () => {
    const opened = openWith([
      weather(() => Promise.reject(new Error('secret of the server')), { fallback: 'Not now.' }),
      {
        ...weather(() => {
          throw new Error('x');
        }),
        name: 'other',
      },
    ]);
    ask(opened, '{"town":"Bern"}');
    ask(opened, '{"town":"Bern"}', 'other');
    await settled(opened);
    expect(
      opened.log
        .filter((line) => line.startsWith('result'))
        .map((line) => line.split(' ').slice(2).join(' '))
        .toSorted(),
    ).toEqual(['Not now.', 'This tool cannot be used now. Go on without it.']);
    expect(JSON.stringify(opened.events)).not.toContain('secret');
  });

  test('that is late is given up at its deadline, and answered once', async () => {
    let signal: AbortSignal | undefined;
    const late = Promise.withResolvers<string>();
    const opened = openWith([
      weather(
        (_, about) => {
          ({ signal } = about);
          return late.promise;
        },
        { deadlineMs: 2000 },
      ),
    ]);
    ask(opened, '{"town":"Bern"}');
    await opened.clock.advance(1999);
    expect(outcomes(opened)).toEqual([]);
    await opened.clock.advance(2);
    expect(signal?.aborted).toBe(true);
    expect(outcomes(opened)).toEqual(['late']);
    late.resolve('too late');
    await settled(opened);
    expect(outcomes(opened)).toEqual(['late']);
    expect(opened.log.filter((line) => /^(result|tell)/u.test(line))).toHaveLength(1);
  });

  test('is aborted when the call ends, and gives nothing', async () => {
    let signal: AbortSignal | undefined;
    const opened = openWith([
      weather((_, about) => {
        ({ signal } = about);
        return new Promise(() => undefined);
      }),
    ]);
    ask(opened, '{"town":"Bern"}');
    await settled(opened);
    opened.call.close();
    expect(signal?.aborted).toBe(true);
    await opened.clock.advance(60_000);
    expect(outcomes(opened)).toEqual([]);
  });

  test('that the model does not want any more is aborted, and gives nothing', async () => {
    let signal: AbortSignal | undefined;
    const result = Promise.withResolvers<string>();
    const opened = openWith([
      weather((_, about) => {
        ({ signal } = about);
        return result.promise;
      }),
    ]);
    const id = ask(opened, '{"town":"Bern"}');
    await settled(opened);
    opened.model.say({ kind: 'toolCancelled', callId: id });
    opened.model.say({ kind: 'toolCancelled', callId: 'another' });
    expect(signal?.aborted).toBe(true);
    result.resolve('17 degrees');
    await opened.clock.advance(60_000);
    expect(outcomes(opened)).toEqual(['cancelled']);
    expect(opened.log).toEqual([]);
  });

  test('that is asked for twice under one id runs once', async () => {
    let runs = 0;
    const opened = openWith([
      weather(() => {
        runs += 1;
        return Promise.resolve('17');
      }),
    ]);
    for (let count = 0; count < 2; count += 1)
      opened.model.say({
        kind: 'toolCalled',
        responseId: 'r-1',
        callId: 'one',
        name: 'weather',
        input: '{"town":"Bern"}',
      });
    await settled(opened);
    opened.model.say({
      kind: 'toolCalled',
      responseId: 'r-2',
      callId: 'one',
      name: 'weather',
      input: '{"town":"Bern"}',
    });
    await settled(opened);
    expect(runs).toBe(1);
    expect(outcomes(opened)).toEqual(['done']);
  });

  test('runs eight times at once, and no more', async () => {
    const opened = openWith([weather(() => new Promise(() => undefined))]);
    for (let count = 0; count < 9; count += 1) ask(opened, '{"town":"Bern"}');
    await settled(opened);
    expect(outcomes(opened)).toEqual(['refused']);
  });

  test('whose session is over is told to the next one in words', async () => {
    const result = Promise.withResolvers<string>();
    const { ScriptedModel } = await import('../support/scripted-legs.ts');
    const opened: OpenedCall = openedCall({
      tools: [weather(() => result.promise)],
      reopenModel: () => next,
    });
    const next = new ScriptedModel(opened.log);
    opened.model.say({ kind: 'ready' });
    ask(opened, '{"town":"Bern"}');
    opened.model.say({ kind: 'ended', code: 'lost', message: '' });
    result.resolve('17 degrees');
    await settled(opened);
    next.say({ kind: 'ready' });
    expect(opened.log.slice(-2)).toEqual([
      'tell The result of a tool that was asked for before: 17 degrees',
      'respond ',
    ]);
  });

  test('that cannot be is refused at the beginning', () => {
    const run = (): Promise<string> => Promise.resolve('');
    expect(() => openWith([weather(run), weather(run)])).toThrow(/weather.*twice/u);
    expect(() => openWith([weather(run, { deadlineMs: 10 })])).toThrow(
      /deadlineMs: expected 100 to 120,000/u,
    );
    expect(() => openWith([weather(run, { parameters: { type: 'no such type' } })])).toThrow(
      /expected a JSON Schema/u,
    );
  });
});

describe('a filler', () => {
  const hum = new Uint8Array(8 * 400).fill(0x33);

  test('is heard after a second of silence, again and again, and stops at once when the answer comes', async () => {
    const result = Promise.withResolvers<string>();
    const opened = openWith([weather(() => result.promise)], hum);
    const { carrier, clock, log } = opened;
    ask(opened, '{"town":"Bern"}');
    await clock.advance(900);
    expect(carrier.ear.played).toHaveLength(0);
    await clock.advance(2000);
    expect(carrier.ear.played.length / 8).toBeGreaterThan(1200);
    expect(carrier.ear.played.every((byte) => byte === 0x33)).toBe(true);
    log.length = 0;
    result.resolve('17 degrees');
    await settled(opened);
    expect(log.map((line) => line.split(' ')[0])).toEqual(['clear', 'result']);
    // The model is told of its own parts alone.
    expect(log.some((line) => line.startsWith('truncate') || line.startsWith('remove'))).toBe(false);
  });

  test('gives way to a model that speaks over it while the tool works', async () => {
    const opened = openWith([weather(() => new Promise(() => undefined), { deadlineMs: 60_000 })], hum);
    const { carrier, clock, log } = opened;
    ask(opened, '{"town":"Bern"}');
    await clock.advance(2000);
    log.length = 0;
    await say(opened, 1000);
    expect(log[0]).toBe('clear');
    const heard = carrier.ear.played.lastIndexOf(0x33);
    await clock.advance(990);
    expect(carrier.ear.played.lastIndexOf(0x33)).toBe(heard);
    expect(carrier.ear.played.at(-1)).toBe(0x90);
  });

  test('waits while an answer plays', async () => {
    const opened = openWith([weather(() => new Promise(() => undefined), { deadlineMs: 60_000 })], hum);
    const { carrier, clock } = opened;
    await say(opened, 3000);
    ask(opened, '{"town":"Bern"}');
    await clock.advance(2500);
    expect([...carrier.ear.played].includes(0x33)).toBe(false);
    await clock.advance(3000);
    expect([...carrier.ear.played].includes(0x33)).toBe(true);
  });

  test('that the human speaks into is dropped, tells the model nothing, and does not begin again', async () => {
    const opened = openWith([weather(() => new Promise(() => undefined), { deadlineMs: 60_000 })], hum);
    const { carrier, clock, events, log, model } = opened;
    ask(opened, '{"town":"Bern"}');
    await clock.advance(2000);
    log.length = 0;
    model.say({ kind: 'speechStarted', atMs: 0 });
    expect(log).toEqual(['clear']);
    expect(events.findLast(({ kind }) => kind === 'interrupted')).toMatchObject({ unheard: [] });
    await clock.advance(200);
    const played = carrier.ear.played.length;
    await clock.advance(10_000);
    expect(carrier.ear.played.length).toBe(played);
  });

  test('is not heard where the tool is fast', async () => {
    const opened = openWith([weather(() => Promise.resolve('17'))], speech(400));
    ask(opened, '{"town":"Bern"}');
    await opened.clock.advance(10_000);
    expect(opened.carrier.ear.played).toHaveLength(0);
  });
});
