import { anthropicMessages } from '@spillway/core/format/anthropic-messages';
import type { Format } from '@spillway/core/format/format';
import { gemini } from '@spillway/core/format/gemini';
import { openaiChat } from '@spillway/core/format/openai-chat';
import { openaiCompletions } from '@spillway/core/format/openai-completions';
import { openaiResponses } from '@spillway/core/format/openai-responses';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { pressureRules, type PressureRule } from '../src/config/pressure-rule.ts';
import { BodyScanner } from '../src/http/body-scanner.ts';
import { ReceivedBody } from '../src/http/received-body.ts';
import { readRequestBody } from '../src/http/request-body.ts';
import { cutMembers } from '../src/pressure/answer-cuts.ts';
import { giveWay, type GivenWay, type PressedRequest } from '../src/pressure/give-way.ts';
import type { Level } from '../src/pressure/pressure-gauge.ts';

type Json = Record<string, unknown>;

const request: Omit<PressedRequest, 'body'> = {
  route: { format: openaiChat },
  method: 'POST',
  path: '/v1/chat/completions',
  provider: { name: 'openai', api: 'openai', url: 'https://api.openai.com/v1' },
  isFirstProvider: true,
  model: 'gpt-4o',
  wantsEvents: true,
  tenant: 'shop',
  priority: 'normal',
  mergeMs: 0,
  mayBe: () => true,
};

function rules(text: string): PressureRule[] {
  return pressureRules.parse(text);
}

interface Given extends Omit<GivenWay, 'editsFor' | 'refusal'> {
  /** The body as it is sent. */
  readonly body: Json;
  readonly refusal?: string | undefined;
}

/** What gives way of a request with that body. */
function give(
  text: string,
  body: Json,
  { level = 3, ...more }: Partial<PressedRequest> & { readonly level?: Level } = {},
): Given {
  const scanner = new BodyScanner({ names: ['model', 'stream', ...cutMembers] });
  const read = readRequestBody(ReceivedBody.whole(Buffer.from(JSON.stringify(body)), scanner));
  if (read === undefined) throw new Error('the body was scanned');
  const given = giveWay(level, rules(text), { ...request, body: read, ...more });
  const { changed = [], editsFor = () => [], mergeMs = more.mergeMs ?? 0, model, refusal } = given ?? {};
  const sent = JSON.parse(
    Buffer.concat(read.with(editsFor(more.provider ?? request.provider))).toString(),
  ) as Json;
  return { body: sent, changed, mergeMs, model, refusal: refusal?.message };
}

const routes: Readonly<Record<string, Format>> = {
  chat: openaiChat,
  completions: openaiCompletions,
  responses: openaiResponses,
  messages: anthropicMessages,
  gemini,
};
const logprobsInclude = 'message.output_text.logprobs';

describe('what of an answer gives way', () => {
  test.each<[keyof typeof routes, string, Json, Json, string[]]>([
    ['chat', 'maxTokens=100', { max_tokens: 500, n: 3 }, { max_tokens: 100, n: 3 }, ['max_tokens=100']],
    ['chat', 'maxTokens=100', { max_tokens: 50 }, { max_tokens: 50 }, []],
    ['chat', 'maxTokens=100', {}, { max_completion_tokens: 100 }, ['max_tokens=100']],
    [
      'chat',
      'maxTokens=100',
      { max_tokens: null },
      { max_tokens: null, max_completion_tokens: 100 },
      ['max_tokens=100'],
    ],
    [
      'chat',
      'maxTokens=100',
      { max_completion_tokens: 101 },
      { max_completion_tokens: 100 },
      ['max_tokens=100'],
    ],
    // What is no number is no bound for anybody, or one that the gateway does not know.
    ...['many', '', '4000', '4_000', '4e3', ' +4000.0', '٤٠٠٠', '4000 tokens', -1, '-1', true, [1], {}].map(
      (bound): [string, string, Json, Json, string[]] => [
        'chat',
        'maxTokens=100',
        { max_tokens: bound },
        { max_tokens: 100 },
        ['max_tokens=100'],
      ],
    ),
    ...['50', '1_00', '1e2', 0, 99.5].map((bound): [string, string, Json, Json, string[]] => [
      'chat',
      'maxTokens=100',
      { max_tokens: bound },
      { max_tokens: bound },
      [],
    ]),
    ['completions', 'maxTokens=100', { max_tokens: '4000' }, { max_tokens: 100 }, ['max_tokens=100']],
    [
      'responses',
      'maxTokens=100',
      { max_output_tokens: '4000' },
      { max_output_tokens: 100 },
      ['max_tokens=100'],
    ],
    ['messages', 'maxTokens=100', { max_tokens: '4000' }, { max_tokens: 100 }, ['max_tokens=100']],
    [
      'messages',
      'maxTokens=100',
      { max_tokens: '16000', thinking: { type: 'enabled', budget_tokens: '10000' } },
      { max_tokens: 2048, thinking: { type: 'enabled', budget_tokens: 1024 } },
      ['max_tokens=2048', 'thinking_budget=1024'],
    ],
    [
      'gemini',
      'maxTokens=100',
      { generationConfig: { maxOutputTokens: '4000' } },
      { generationConfig: { maxOutputTokens: 100 } },
      ['max_tokens=100'],
    ],
    [
      'gemini',
      'maxTokens=100',
      { generationConfig: { maxOutputTokens: 5000 }, generation_config: { maxOutputTokens: 6000 } },
      { generationConfig: { maxOutputTokens: 100 }, generation_config: { maxOutputTokens: 100 } },
      ['max_tokens=100'],
    ],
    [
      'gemini',
      'maxTokens=100',
      { generationConfig: { maxOutputTokens: 50, max_output_tokens: 6000 } },
      { generationConfig: { maxOutputTokens: 50, max_output_tokens: 100 } },
      ['max_tokens=100'],
    ],
    [
      // One may take the place of the other, or be added to it: neither raises what was asked for.
      'gemini',
      'maxTokens=100',
      { generationConfig: { maxOutputTokens: 50 }, generation_config: { topP: 1 } },
      { generationConfig: { maxOutputTokens: 50 }, generation_config: { topP: 1, max_output_tokens: 50 } },
      ['max_tokens=50'],
    ],
    [
      'gemini',
      'reasoningEffort=low,logprobs=off',
      {
        generationConfig: { thinkingConfig: { thinkingBudget: 9000, thinking_budget: '9000' }, logprobs: 2 },
        generation_config: {
          thinking_config: { thinkingLevel: 'HIGH', thinking_level: 'low' },
          thinkingConfig: { thinking_level: 'high' },
          response_logprobs: true,
        },
      },
      {
        generationConfig: { thinkingConfig: { thinkingBudget: 1024, thinking_budget: 1024 } },
        generation_config: {
          thinking_config: { thinkingLevel: 'LOW', thinking_level: 'low' },
          thinkingConfig: { thinking_level: 'low' },
        },
      },
      ['logprobs=off', 'thinking_budget=1024', 'reasoning_effort=low'],
    ],
    [
      'chat',
      'reasoningEffort=low',
      { reasoning_effort: 'high' },
      { reasoning_effort: 'low' },
      ['reasoning_effort=low'],
    ],
    ['chat', 'reasoningEffort=low', { reasoning_effort: 'minimal' }, { reasoning_effort: 'minimal' }, []],
    ['chat', 'reasoningEffort=low', {}, {}, []],
    ['chat', 'logprobs=off', { logprobs: true, top_logprobs: 5 }, {}, ['logprobs=off']],
    ['chat', 'logprobs=off', { logprobs: false }, { logprobs: false }, []],
    ['completions', 'maxTokens=100', {}, {}, []],
    [
      'completions',
      'maxTokens=100,logprobs=off',
      { max_tokens: 400, logprobs: 2 },
      { max_tokens: 100 },
      ['logprobs=off', 'max_tokens=100'],
    ],
    ['responses', 'maxTokens=100', {}, { max_output_tokens: 100 }, ['max_tokens=100']],
    [
      'responses',
      'reasoningEffort=medium',
      { reasoning: { effort: 'xhigh', summary: 'auto' } },
      { reasoning: { effort: 'medium', summary: 'auto' } },
      ['reasoning_effort=medium'],
    ],
    ['responses', 'reasoningEffort=low', { reasoning: null }, { reasoning: null }, []],
    [
      'responses',
      'logprobs=off',
      { include: ['a', logprobsInclude], top_logprobs: 2 },
      { include: ['a'] },
      ['logprobs=off'],
    ],
    ['responses', 'logprobs=off', { include: [logprobsInclude] }, {}, ['logprobs=off']],
    ['messages', 'maxTokens=100', { max_tokens: 4000 }, { max_tokens: 100 }, ['max_tokens=100']],
    ['messages', 'maxTokens=100', {}, {}, []],
    [
      'messages',
      'maxTokens=100',
      { max_tokens: 16_000, thinking: { type: 'enabled', budget_tokens: 10_000 } },
      { max_tokens: 2048, thinking: { type: 'enabled', budget_tokens: 1024 } },
      ['max_tokens=2048', 'thinking_budget=1024'],
    ],
    [
      'messages',
      'maxTokens=100',
      { max_tokens: 1500, thinking: { type: 'enabled', budget_tokens: 1024 } },
      { max_tokens: 1500, thinking: { type: 'enabled', budget_tokens: 1024 } },
      [],
    ],
    [
      // Both lower what the model thinks: the lower one counts.
      'messages',
      'maxTokens=5000,reasoningEffort=high',
      { max_tokens: 64_000, thinking: { type: 'enabled', budget_tokens: 60_000 } },
      { max_tokens: 5000, thinking: { type: 'enabled', budget_tokens: 3976 } },
      ['max_tokens=5000', 'thinking_budget=3976'],
    ],
    [
      'messages',
      'reasoningEffort=low',
      { max_tokens: 9, thinking: { type: 'disabled' } },
      { max_tokens: 9, thinking: { type: 'disabled' } },
      [],
    ],
    [
      'messages',
      'reasoningEffort=low',
      { output_config: { effort: 'max' } },
      { output_config: { effort: 'low' } },
      ['reasoning_effort=low'],
    ],
    ['gemini', 'maxTokens=100', {}, { generationConfig: { maxOutputTokens: 100 } }, ['max_tokens=100']],
    [
      'gemini',
      'maxTokens=100',
      { generation_config: { max_output_tokens: 900 } },
      { generation_config: { max_output_tokens: 100 } },
      ['max_tokens=100'],
    ],
    [
      'gemini',
      'maxTokens=100',
      { generation_config: { topP: 1 } },
      { generation_config: { topP: 1, max_output_tokens: 100 } },
      ['max_tokens=100'],
    ],
    [
      'gemini',
      'maxTokens=100',
      { generationConfig: { max_output_tokens: 900 } },
      { generationConfig: { max_output_tokens: 100 } },
      ['max_tokens=100'],
    ],
    [
      'gemini',
      'reasoningEffort=low',
      { generationConfig: { thinkingConfig: { thinkingBudget: -1, includeThoughts: true } } },
      { generationConfig: { thinkingConfig: { thinkingBudget: 1024, includeThoughts: true } } },
      ['thinking_budget=1024'],
    ],
    [
      'gemini',
      'reasoningEffort=low',
      { generationConfig: { thinkingConfig: { thinkingLevel: 'HIGH' } } },
      { generationConfig: { thinkingConfig: { thinkingLevel: 'LOW' } } },
      ['reasoning_effort=low'],
    ],
    [
      'gemini',
      'reasoningEffort=medium',
      { generationConfig: { thinkingConfig: { thinkingLevel: 'high', thinkingBudget: 0 } } },
      { generationConfig: { thinkingConfig: { thinkingLevel: 'high', thinkingBudget: 0 } } },
      [],
    ],
    [
      'gemini',
      'logprobs=off',
      { generationConfig: { responseLogprobs: true, logprobs: 3, topK: 1 } },
      { generationConfig: { topK: 1 } },
      ['logprobs=off'],
    ],
  ])('%s: %s of %j', (route, rule, body, expected, changed) => {
    const given = give(`level=1,${rule}`, body, { route: { format: routes[route] } });
    expect(given.body).toEqual(expected);
    expect(given.changed).toEqual(changed);
  });

  test('another provider with an API of OpenAI is asked by the name that all of them know', () => {
    const provider = { name: 'local', api: 'openai', url: 'http://127.0.0.1:8000/v1' } as const;
    expect(give('level=1,maxTokens=100', {}, { provider }).body).toEqual({ max_tokens: 100 });
  });

  test('a cap never raises, an edit is always told, and thinking keeps what Anthropic asks of it', () => {
    const tokens = fc.oneof(fc.integer({ min: 1, max: 70_000 }), fc.constantFrom(1024, 2048, null, -1, 'x'));
    const word = fc.constantFrom(
      'none',
      'minimal',
      'low',
      'medium',
      'high',
      'xhigh',
      'max',
      'LOW',
      'HIGH',
      null,
      7,
    );
    const some = fc.record(
      {
        max_tokens: tokens,
        max_completion_tokens: tokens,
        max_output_tokens: tokens,
        reasoning_effort: word,
        reasoning: fc.record({ effort: word, summary: fc.string() }, { requiredKeys: [] }),
        output_config: fc.record({ effort: word }, { requiredKeys: [] }),
        thinking: fc.record(
          { type: fc.constantFrom('enabled', 'disabled', 'adaptive'), budget_tokens: tokens },
          { requiredKeys: [] },
        ),
        logprobs: fc.constantFrom(true, false, 3, null),
        top_logprobs: fc.constantFrom(2, null),
        include: fc.subarray(['a', logprobsInclude]),
        generationConfig: fc.record(
          {
            maxOutputTokens: tokens,
            responseLogprobs: fc.boolean(),
            logprobs: fc.nat(5),
            thinkingConfig: fc.record({ thinkingBudget: tokens, thinkingLevel: word }, { requiredKeys: [] }),
          },
          { requiredKeys: [] },
        ),
        messages: fc.array(fc.string()),
      },
      { requiredKeys: ['messages'] },
    );
    const rule = fc
      .tuple(fc.integer({ min: 16, max: 30_000 }), fc.constantFrom('low', 'medium', 'high'), fc.boolean())
      .map(
        ([cap, effort, drops]) =>
          `level=1,maxTokens=${cap},reasoningEffort=${effort}${drops ? ',logprobs=off' : ''}`,
      );
    fc.assert(
      fc.property(fc.constantFrom(...Object.values(routes)), some, rule, (format, body, text) => {
        const given = give(text, body, { route: { format } });
        const isOther = JSON.stringify(given.body) !== JSON.stringify(body);
        expect(given.changed.length > 0).toBe(isOther);
        const [was, is] = [leavesOf(body), leavesOf(given.body)];
        for (const path of new Set([...was.keys(), ...is.keys()])) {
          if (was.get(path) === is.get(path)) continue;
          expect(given.changed.map((told) => told.split('=')[0])).toContain(nameOf(path));
        }
        expect(given.body['messages']).toEqual(body.messages);
        const [before, after] = [numbersIn(body), numbersIn(given.body)];
        for (const [name, value] of after) {
          const asked = before.get(name) ?? Infinity;
          if (asked !== -1) expect(value).toBeLessThanOrEqual(asked);
          if (value !== asked) expect(given.changed.join()).toMatch(`=${value}`);
        }
        if (format !== anthropicMessages) return;
        const budgetOf = ({ max_tokens: max, thinking }: Json): boolean => {
          const { budget_tokens: budget, type } = (thinking ?? {}) as Json;
          return type !== 'enabled' || (Number(budget) >= 1024 && Number(budget) < Number(max));
        };
        if (budgetOf(body)) expect(budgetOf(given.body)).toBe(true);
      }),
      { numRuns: 2000 },
    );
  });
});

/** All values in a body that have no members, as JSON, by their paths. */
function leavesOf(value: unknown, path = '', found = new Map<string, string>()): Map<string, string> {
  if (typeof value !== 'object' || value === null) found.set(path, JSON.stringify(value));
  else for (const [name, inner] of Object.entries(value)) leavesOf(inner, `${path}.${name}`, found);
  return found;
}

/** How the change of a member is told. */
function nameOf(path: string): string {
  if (/logprobs|\.include/i.test(path)) return 'logprobs';
  if (/budget/i.test(path)) return 'thinking_budget';
  return /effort|level/i.test(path) ? 'reasoning_effort' : 'max_tokens';
}

/** All numbers in a body, by their paths. */
function numbersIn(
  value: unknown,
  path = '',
  found = new Map<string, number>(),
): ReadonlyMap<string, number> {
  if (typeof value === 'number') found.set(path, value);
  else if (typeof value === 'object' && value !== null) {
    for (const [name, inner] of Object.entries(value)) numbersIn(inner, `${path}.${name}`, found);
  }
  return found;
}

describe('for whom', () => {
  const text =
    'level=1,models=gpt-4*,maxTokens=1000 level=2,tenants=shop+clinic,maxTokens=500 level=2,priorities=low,mergeMs=100 level=3,refuse=low';

  test('all rules up to the level count, and of several caps the lowest', () => {
    const at = (level: Level, more: Partial<PressedRequest> = {}): unknown =>
      give(text, {}, { level, ...more }).changed;
    expect(at(0)).toEqual([]);
    expect(at(1)).toEqual(['max_tokens=1000']);
    expect(at(2)).toEqual(['max_tokens=500']);
    expect(at(2, { tenant: 'other' })).toEqual(['max_tokens=1000']);
    expect(at(2, { model: 'o3', tenant: 'other' })).toEqual([]);
    expect(at(1, { model: undefined })).toEqual([]);
    expect(at(2, { priority: 'low' })).toEqual(['merge_ms=100', 'max_tokens=500']);
    expect(at(3)).toEqual(['max_tokens=500']);
  });

  test('a pattern without the name of a provider means the models of the first one', () => {
    const other = {
      isFirstProvider: false,
      provider: { name: 'azure', api: 'openai', url: 'http://a/v1' },
    } as const;
    expect(give('level=1,models=gpt-4*,maxTokens=99', {}, { ...other }).changed).toEqual([]);
    expect(give('level=1,models=azure/gpt-4*,maxTokens=99', {}, { ...other }).changed).toEqual([
      'max_tokens=99',
    ]);
    expect(give('level=1,models=openai/gpt-4o,maxTokens=99', {}).changed).toEqual(['max_tokens=99']);
  });

  test('a request of a low priority is refused before anything else, and can be tried again', () => {
    const given = giveWay(3, rules(text), { ...request, priority: 'low', body: undefined });
    expect(given).toMatchObject({
      changed: ['refused'],
      refusal: { code: 'overloaded', status: 503, retryAfterS: 5 },
    });
    expect(given?.refusal?.message).toMatch(/level 3 of 3.*priority low/);
    expect(give('level=1,refuse=normal', {}, { priority: 'high' }).refusal).toBeUndefined();
    expect(give('level=1,refuse=normal', {}, { priority: 'low' }).refusal).toMatch(/priority low/);
  });

  test('writes are merged for those who ask for no pace of their own', () => {
    const rule = 'level=1,mergeMs=50 level=2,mergeMs=20';
    expect(give(rule, {})).toMatchObject({ mergeMs: 50, changed: ['merge_ms=50'] });
    expect(give(rule, {}, { mergeMs: 10 })).toMatchObject({ mergeMs: 10, changed: [] });
    expect(give(rule, {}, { wantsEvents: false })).toMatchObject({ mergeMs: 0, changed: [] });
  });

  test('another model answers, if it is another one', () => {
    const rule = 'level=1,model=openai/gpt-4o-mini level=2,model=gpt-4.1-nano';
    expect(give(rule, {}, { level: 1 })).toMatchObject({
      model: 'openai/gpt-4o-mini',
      changed: ['model=openai/gpt-4o-mini'],
    });
    expect(give(rule, {})).toMatchObject({ model: 'gpt-4.1-nano' });
    expect(give(rule, {}, { mayBe: () => false })).toMatchObject({ model: undefined, changed: [] });
    // Vectors of another model are no cheaper ones.
    expect(give(rule, {}, { route: { format: undefined } })).toMatchObject({ model: undefined, changed: [] });
    expect(give(rule, {}, { level: 1, model: 'gpt-4o-mini' })).toMatchObject({
      model: undefined,
      changed: [],
    });
  });

  test('nothing gives way where no model is asked, and bodies that cannot be read stay as they are', () => {
    expect(give('level=1,refuse=high,maxTokens=16', {}, { method: 'GET' })).toMatchObject({ changed: [] });
    const unread = giveWay(3, rules('level=1,maxTokens=100,mergeMs=9'), { ...request, body: undefined });
    expect(unread?.changed).toEqual(['merge_ms=9']);
    expect(unread?.editsFor(request.provider)).toEqual([]);
    const large = { generationConfig: { responseSchema: 'x'.repeat(4_200_000), maxOutputTokens: 5000 } };
    const given = give('level=1,maxTokens=100', large, { route: { format: gemini } });
    expect(given.changed).toEqual([]);
    expect(given.body['generationConfig']).toMatchObject({ maxOutputTokens: 5000 });
    // It is no way around for another member.
    const other = { max_tokens: 5000, thinking: { type: 'enabled', x: 'x'.repeat(4_200_000) } };
    const capped = give('level=1,maxTokens=100,reasoningEffort=low', other, {
      route: { format: anthropicMessages },
    });
    expect(capped.changed).toEqual(['max_tokens=100']);
  });
});
