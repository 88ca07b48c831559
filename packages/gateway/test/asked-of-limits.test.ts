import { randomBytes } from 'node:crypto';
import type { Format } from '@spillway/core/format/format';
import { openaiChat } from '@spillway/core/format/openai-chat';
import { openaiResponses } from '@spillway/core/format/openai-responses';
import { describe, expect, test } from 'vitest';
import { checkModel, runsModel, unpriced } from '../src/limit/asked-model.ts';
import { modelNames } from '../src/limit/model-names.ts';
import { costOf, dearestPrice, priceAt, priceOf } from '../src/limit/price-of.ts';
import { openScope } from '../src/limit/scope.ts';
import { checkCounted } from '../src/limit/uncounted-work.ts';
import { answerTokens, beginsAsJson, largeEventTokens, promptTokens } from '../src/limit/token-estimate.ts';
import { wholeAnswer } from '../src/limit/whole-answer.ts';

const asked = {
  method: 'POST',
  path: '/v1/chat/completions',
  provider: { name: 'openai' },
  isFirstProvider: true,
};

describe('a prompt', () => {
  test.each(['{}', ' {}', '\n\t{}', '\u{feff}{}', '[]'])('is JSON whatever stands before it: %j', (body) => {
    expect(beginsAsJson([Buffer.from(body)])).toBe(true);
  });

  test('that is no JSON is none', () => {
    expect(beginsAsJson([Buffer.from('--boundary'), Buffer.from('{}')])).toBe(false);
  });

  test.each(['a,b,c.', 'word', 'word-', 'word1/', 'Ü', 'a b'])(
    'of %j without an end counts its bytes',
    (word) => {
      const text = Buffer.from(JSON.stringify(word.repeat(60_000)));
      expect(promptTokens([text])).toBe(Math.ceil(text.length / 4));
    },
  );

  test('counts a picture as a picture', () => {
    const picture = randomBytes(600_000).toString('base64');
    const body = Buffer.from(JSON.stringify({ url: `data:image/png;base64,${picture}` }));
    const parts = [body.subarray(0, 65_536), body.subarray(65_536)];
    expect(promptTokens(parts)).toBeGreaterThanOrEqual(1000);
    expect(promptTokens(parts)).toBeLessThan(2000);
  });
});

describe('the model of a tenant that may not use all', () => {
  const check = (model: string | undefined, more: Partial<typeof asked> = {}, models = ['small*']): void =>
    checkModel(models, { ...asked, ...more, model });

  test('is allowed by each of its names', () => {
    check('small');
    check('openai/small');
    check('small', {}, ['openai/small']);
    check('small', { isFirstProvider: false }, ['openai/*']);
    check(undefined, { method: 'GET' });
    check(undefined, { path: '/v1/files' });
    for (const path of [
      'batches/b_1',
      'responses/resp-1',
      'uploads/u',
      'messages/batches/m',
      'fine_tuning/jobs/f',
    ])
      check(undefined, { path: `/v1/${path}/cancel` });
  });

  test.each([
    ['another', 'large', {}],
    ['none', undefined, {}],
    ['none on a path that is not known', undefined, { path: '/v1/batches' }],
    ['none on a path that only ends as one', undefined, { path: '/v1/chat/completions/cancel' }],
    ['none on a path with parameters', undefined, { path: '/v1/chat/completions;x=/cancel' }],
    ['none behind what looks like one', undefined, { path: '/v1/responses/../chat/completions/cancel' }],
    ['none on a path that leads out of uploads', undefined, { path: '/v1/uploads/../chat/completions' }],
    ['a way to another', 'small/../large', {}],
    ['one of a provider that is not meant', 'small', { isFirstProvider: false }],
  ])('is refused: %s', (_what, model, more) => {
    expect(() => check(model, more)).toThrow(expect.objectContaining({ code: 'model_not_allowed' }));
  });

  test('is the one that was asked for, where another one answers under pressure', () => {
    const other = {
      provider: { name: 'other' },
      replaced: { provider: { name: 'openai' }, by: 'other/large' },
    };
    checkModel(['openai/*'], { ...asked, ...other, model: 'small' });
    const ofOwn = { ...other, replaced: { ...other.replaced, targets: [] } };
    checkModel(['fast'], { ...asked, ...ofOwn, model: 'fast' });
    for (const patterns of [['openai/*'], ['other/*']])
      expect(() => checkModel(patterns, { ...asked, ...ofOwn, model: 'fast' })).toThrow(/not among those/);
    expect(() => checkModel(['other/*'], { ...asked, ...other, model: 'small' })).toThrow(/not among those/);
  });

  test('is not asked for where none runs', () => {
    expect(runsModel({ method: 'DELETE', path: '/v1/files/f' })).toBe(false);
    expect(runsModel({ method: 'POST', path: '/v1/embeddings' })).toBe(true);
  });
});

describe('work that goes on without the gateway', () => {
  const scope = openScope('tenant', 'clinic', 'clinic:', { tokensPerDay: 1000 });
  const free = openScope('tenant', 'clinic', 'clinic:', { streams: 5, tokensPerSecond: 10 });
  const check = (
    path: string,
    { background, format, method = 'POST' }: { method?: string; format?: Format; background?: string } = {},
    scopes = [scope],
  ): void =>
    checkCounted(
      { path, method, route: { format }, members: [{ path: ['background'], text: background }] },
      scopes.filter((one) => one !== undefined),
    );

  const started = [
    '/v1/batches',
    '/v1/Batches;x=1',
    '/v1/messages/batches',
    '/v1/fine_tuning/jobs',
    '/v1/fine_tuning/jobs/ft-1/resume',
    '/v1/realtime/client_secrets',
    '/v1/realtime/sessions',
    '/v1/realtime/calls',
    '/v1/realtime/calls/rtc_1/accept',
    '/v1/threads/t/runs',
    '/v1/evals/e/runs',
    '/v1/videos',
    '/openai/batches',
    '/openai/v1/realtime/client_secrets',
    '/openai/realtimeapi/sessions',
    '/v1beta/models/m:batchGenerateContent',
    '/v1beta/models/m%3AbatchGenerateContent',
    '/v1alpha/auth_tokens',
    '/openai/deployments/gpt/batches',
    '/openai/deployments/realtime%2Fclient_secrets/x',
    '/openai/deployments/../realtime/client_secrets',
    '/v1beta/models/batches:batchGenerateContent',
  ];

  test.each(started)('is refused where a budget is to be held: %s', (path) => {
    expect(() => check(path)).toThrow(
      expect.objectContaining({ code: 'model_not_allowed', message: expect.stringMatching(/tokensPerDay/) }),
    );
    check(path, { method: 'GET' });
    check(path, {}, [free]);
    check(path, {}, []);
  });

  test.each([
    '/v1/batches/batch_1/cancel',
    '/v1/messages/batches/msgbatch_1/cancel',
    '/v1/fine_tuning/jobs/ft-1/cancel',
    '/v1/threads/t/runs/r/cancel',
    '/v1/realtime/calls/rtc_1/hangup',
    '/openai/batches/batch_1/cancel',
    '/v1beta/batches/b:cancel',
    '/openai/deployments/realtime/embeddings',
    '/openai/deployments/runs/images/generations',
    '/openai/deployments/Evals/audio/speech',
    '/v1beta/models/videos:embedContent',
    '/v1/embeddings',
    '/v1/files',
  ])('may be stopped, and all else goes on: %s', (path) => check(path));

  test('is refused as a response in the background, and not where a path with a known answer has such a name', () => {
    for (const background of ['true', '1', '"true"'])
      expect(() => check('/v1/responses', { background, format: openaiResponses })).toThrow(/tokensPerDay/);
    for (const background of ['false', 'null', undefined])
      check('/v1/responses', {
        ...(background === undefined ? {} : { background }),
        format: openaiResponses,
      });
    check('/openai/deployments/batches/chat/completions', { format: openaiChat });
  });
});

test('a price fits a model by each of its names', () => {
  const price = { model: 'openai/large*', sinceMs: 0, input: 1, output: 1 };
  for (const model of ['large', 'openai/large-2'])
    expect(priceOf([price], modelNames(model, 'openai'), 1)).toBe(price);
  expect(priceOf([price], modelNames('large', 'local'), 1)).toBeUndefined();
  const bare = { ...price, model: 'large' };
  expect(priceOf([bare], modelNames('openai/large', 'openai'), 1)).toBe(bare);
});

test('what answers in the place of another model costs what it costs itself, by each of its names', () => {
  const row = (model: string) => ({ model, sinceMs: 0, input: 1, output: 1 });
  const prices = [row('openai/large'), row('other/small'), row('own'), row('next/*')];
  const replaced = { provider: { name: 'openai' }, by: 'other/small' };
  const request = { model: 'large', provider: { name: 'other' }, replaced };
  expect(priceAt(prices, request, undefined, 1)?.model).toBe('other/small');
  expect(dearestPrice(prices, request, 1)?.model).toBe('other/small');
  const bare = { ...request, replaced: { ...replaced, by: 'small' } };
  expect(dearestPrice(prices, bare, 1)?.model).toBe('other/small');
  // A name of the operator's own, with a row of its own and without one.
  const target = { provider: { name: 'next' }, model: 'tiny' };
  const named = (by: string) => ({ ...request, targets: [target], replaced: { ...replaced, by } });
  expect(priceAt(prices, named('own'), target, 1)?.model).toBe('own');
  expect(dearestPrice(prices, named('fast'), 1)?.model).toBe('next/*');
  expect(
    dearestPrice(prices, { ...request, replaced: { ...replaced, by: 'other/bare' } }, 1),
  ).toBeUndefined();
});

test('a refusal for want of a price says of which target, or that no model is named', () => {
  const prices = [{ model: 'a/priced', sinceMs: 0, input: 1, output: 1 }];
  const at = (model: string) => ({ provider: { name: 'a' }, model });
  const said = (model: string | undefined, targets?: ReturnType<typeof at>[]): string =>
    unpriced(prices, { model, provider: { name: 'a' }, targets }, 1).message;
  expect(said('wide', [at('priced'), at('bare')])).toMatch(
    /^The model wide may be answered by a\/bare, which has no price, so/,
  );
  expect(said('bare')).toMatch(/^The model bare has no price, so/);
  expect(said(undefined)).toMatch(/^The request names no model, so/);
});

test('whatever is bought, its cost is a number that a store takes', () => {
  const price = { model: '*', sinceMs: 0, input: 1e15 - 1, output: 1e15 - 1 };
  const cost = costOf(price, 1e9, 1e9);
  expect(cost).toBe(1e15);
  expect(Number.isSafeInteger(8 * cost)).toBe(true);
});

describe('a large event', () => {
  const none = { events: 0, bytes: 0, tokens: 0 };
  const event = (payload: object, name = ''): Buffer =>
    Buffer.from(`${name === '' ? '' : `event: ${name}\n`}data: ${JSON.stringify(payload)}\n\n`);
  const text = 'word '.repeat(200_000);
  const picture = randomBytes(750_000).toString('base64');

  test('counts by its bytes, in each format', () => {
    const content = { choices: [{ index: 0, delta: { content: text } }] };
    expect(largeEventTokens('openai-chat', event(content))).toBeCloseTo(250_000, -3);
    const parts = { candidates: [{ content: { parts: [{ text }] } }] };
    expect(largeEventTokens('gemini', event(parts))).toBeCloseTo(250_000, -3);
    for (const [format, name] of [
      ['openai-responses', 'response.output_text.delta'],
      ['anthropic-messages', 'content_block_delta'],
    ] as const)
      expect(largeEventTokens(format, event({ type: name, delta: text }, name))).toBeCloseTo(250_000, -3);
  });

  test('that repeats the answer, or has what a tool has found, counts nothing', () => {
    for (const [format, name] of [
      ['openai-responses', 'response.output_text.done'],
      ['openai-responses', 'response.completed'],
      ['anthropic-messages', 'content_block_start'],
    ] as const)
      expect(largeEventTokens(format, event({ type: name, text }, name))).toBe(0);
  });

  test('counts a picture as a picture', () => {
    const inlineData = { mimeType: 'image/png', data: picture };
    const payload = { candidates: [{ content: { parts: [{ inlineData }] } }] };
    const tokens = largeEventTokens('gemini', event(payload));
    expect(tokens).toBeGreaterThan(900);
    expect(tokens).toBeLessThan(2000);
  });

  test('leaves the others of its stream as they are', () => {
    const ordinary = answerTokens('openai-chat', 300, 60_000, none);
    expect(ordinary).toBe(300);
    const large = { events: 1, bytes: 4_000_000, tokens: 1_000_000 };
    expect(answerTokens('openai-chat', 301, 4_060_000, large)).toBe(1_000_300);
    // Results of a search in ordinary events are no text.
    expect(answerTokens('openai-chat', 10, 160_000, none)).toBe(320);
  });
});

describe('an answer in one piece', () => {
  const whole = (body: Record<string, string>, wantsEvents = false) =>
    wholeAnswer({ route: { format: openaiChat }, wantsEvents }, (path) => body[path.join('.')]);

  test('reserves what its request allows', () => {
    expect(whole({ max_tokens: '4000' })).toEqual({ atLeast: 4000, want: 4000, madeForEach: 1 });
    expect(whole({ max_tokens: '4_000' })).toMatchObject({ atLeast: 4000, want: 4000 });
    expect(whole({ 'generationConfig.maxOutputTokens': '10', n: '3' })).toMatchObject({
      atLeast: 30,
      want: 30,
    });
    // In whatever mix of its spellings Gemini gets it.
    expect(
      whole({
        'generationConfig.max_output_tokens': '10',
        'generation_config.maxOutputTokens': '20',
        'generation_config.candidateCount': '2',
        'generationConfig.candidate_count': '3',
      }),
    ).toMatchObject({ atLeast: 60, want: 60 });
  });

  test.each(['1e300', '9007199254740993', '1e999'])(
    'that may have %s tokens may have no more than any',
    (text) => {
      expect(whole({ max_tokens: text, n: '3' })).toMatchObject({ atLeast: 1e9, want: 1e9 });
      expect(whole({ n: text })).toMatchObject({ atLeast: undefined, want: 1e9 });
    },
  );

  test('without a bound, takes what is usual', () => {
    expect(whole({})).toMatchObject({ atLeast: undefined, want: 4096 });
    expect(whole({ max_tokens: '-1' })?.want).toBe(4096);
  });

  test('is none with events', () => expect(whole({ max_tokens: '4000' }, true)).toBeUndefined());
});
