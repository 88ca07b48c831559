import { describe, expect, test } from 'vitest';
import type { Provider } from '../src/config/provider.ts';
import { pressureRules } from '../src/config/pressure-rule.ts';
import { ReceivedBody } from '../src/http/received-body.ts';
import { firstNames, openScanner } from '../src/http/request-body.ts';
import { findRoute } from '../src/http/route.ts';
import { boundPaths, wholeAnswer } from '../src/limit/whole-answer.ts';
import { cutMembers } from '../src/pressure/answer-cuts.ts';
import { giveWay } from '../src/pressure/give-way.ts';
import { pressedRequest, type PressedOptions, yieldingRequest } from '../src/relay/pressed-request.ts';
import { bodyWith, readRelayRequest, type RelayRequest } from '../src/relay/relay-request.ts';

function provider(name: string, host: string): Provider {
  return { name, api: 'openai', url: `https://${host}/v1`, apiKey: undefined, detach: undefined };
}

const openai = provider('openai', 'api.openai.com');
const local = provider('local', 'models.example');
const google: Provider = {
  ...provider('google', 'google.example'),
  api: 'gemini',
  url: 'https://google.example',
};
const served = {
  providers: [openai, local, google],
  models: [
    {
      name: 'fast',
      targets: [
        { provider: openai, model: 'gpt', weight: 1 },
        { provider: local, model: 'llama', weight: 0 },
      ],
      budgetMs: undefined,
    },
  ],
};

/** What gives way of a request with that body, and the request with it. */
function press(
  rules: string,
  text: string,
  path = '/v1/chat/completions',
  limits?: PressedOptions['limits'],
): { changed: readonly string[]; request: RelayRequest } {
  const route = findRoute('POST', path, {});
  const contentType = 'application/json';
  const members = limits === undefined ? [] : boundPaths;
  const body = ReceivedBody.whole(
    Buffer.from(text),
    openScanner(route, contentType, firstNames(members), cutMembers),
  );
  const asked = readRelayRequest(
    { route, method: 'POST', contentType, body, members, isEditable: true },
    served,
  );
  const caller = { owner: '', name: '', tenant: '' };
  const pressed = pressedRequest(asked, { caller }, { mergeMs: 0, limits, served });
  const given = giveWay(1, pressureRules.parse(rules), pressed);
  const request = given === undefined ? asked : yieldingRequest(asked, given, served);
  return { changed: given?.changed ?? [], request };
}

function sentTo(request: RelayRequest): string[] {
  const attempts = request.targets?.map(({ edits }) => bodyWith(request, edits)?.body) ?? [request.body];
  return attempts.map((body) => Buffer.concat([...(body?.parts ?? [])]).toString());
}

describe("what gives way is each target's", () => {
  test('a cap has the name that each of them knows', () => {
    const { changed, request } = press('level=1,maxTokens=100', '{"model":"fast","seed":1.0}');
    expect(changed).toEqual(['max_tokens=100']);
    expect(sentTo(request)).toEqual([
      '{"max_completion_tokens":100,"model":"gpt","seed":1.0}',
      '{"max_tokens":100,"model":"llama","seed":1.0}',
    ]);
  });

  test('a cap that the client has written keeps its name', () => {
    const { request } = press('level=1,maxTokens=100', '{"model":"fast","max_tokens":500}');
    expect(sentTo(request)).toEqual([
      '{"model":"gpt","max_tokens":100}',
      '{"model":"llama","max_tokens":100}',
    ]);
  });

  test("another model that answers gets the cap by its own provider's name", () => {
    const rules = 'level=1,maxTokens=100,model=local/small';
    const { changed, request } = press(rules, '{"model":"gpt","seed":1.0}');
    expect(changed).toEqual(['max_tokens=100', 'model=local/small']);
    expect(sentTo(request)).toEqual(['{"max_tokens":100,"model":"small","seed":1.0}']);
    const named = press('level=1,maxTokens=100,model=fast', '{"model":"other"}').request;
    expect(sentTo(named)).toEqual([
      '{"max_completion_tokens":100,"model":"gpt"}',
      '{"max_tokens":100,"model":"llama"}',
    ]);
  });
});

describe('which of several counts is for the provider to say', () => {
  const rule = 'level=1,maxTokens=100,reasoningEffort=low,logprobs=off';
  const paths = {
    chat: '/v1/chat/completions',
    responses: '/v1/responses',
    gemini: '/v1beta/models/some:generateContent',
  };

  test.each<[keyof typeof paths, string, string, string[]]>([
    [
      'chat',
      '{"model":"gpt","max_tokens":500 , "\\u006dax_tokens":50,"max_tokens":4e3}',
      '{"model":"gpt","max_tokens":100 , "\\u006dax_tokens":50,"max_tokens":100}',
      ['max_tokens=100'],
    ],
    [
      'chat',
      '{"model":"gpt","max_tokens":null,"max_tokens":"400"}',
      '{"model":"gpt","max_tokens":100,"max_tokens":100}',
      ['max_tokens=100'],
    ],
    [
      'chat',
      '{"model":"gpt","max_tokens":9,"max_tokens":8}',
      '{"model":"gpt","max_tokens":9,"max_tokens":8}',
      [],
    ],
    [
      'chat',
      '{"model":"gpt","logprobs":true,"max_tokens":9,"logprobs":false,"top_logprobs":2}',
      '{"model":"gpt","max_tokens":9}',
      ['logprobs=off'],
    ],
    // Some servers read more than JSON.
    ...['0x1000', '+4000', 'NaN', `4000.${'0'.repeat(300_000)}`].map(
      (bound): [keyof typeof paths, string, string, string[]] => [
        'chat',
        `{"model":"gpt","max_tokens":${bound}}`,
        '{"model":"gpt","max_tokens":100}',
        ['max_tokens=100'],
      ],
    ),
    [
      'responses',
      '{"model":"gpt","max_output_tokens":9,"reasoning":{"effort":"high","effort":"none"},"reasoning":{"effort":"max"}}',
      '{"model":"gpt","max_output_tokens":9,"reasoning":{"effort":"low","effort":"none"},"reasoning":{"effort":"low"}}',
      ['reasoning_effort=low'],
    ],
    [
      // What remains of two lists is not the same. What is told is.
      'responses',
      '{"include":["message.output_text.logprobs"],"include":[],"max_output_tokens":900,"model":"gpt"}',
      '{"include":["message.output_text.logprobs"],"include":[],"max_output_tokens":100,"model":"gpt"}',
      ['max_tokens=100'],
    ],
    [
      'gemini',
      '{"generationConfig":{"maxOutputTokens":900},"generationConfig":{"topP":1.0}}',
      '{"generationConfig":{"maxOutputTokens":100},"generationConfig":{"maxOutputTokens":100,"topP":1.0}}',
      ['max_tokens=100'],
    ],
    [
      'gemini',
      '{"generationConfig":{"maxOutputTokens":7,"maxOutputTokens":900},"generationConfig":null}',
      '{"generationConfig":{"maxOutputTokens":7,"maxOutputTokens":7},"generationConfig":{"maxOutputTokens":7}}',
      ['max_tokens=7'],
    ],
  ])('each is lowered: %s %s', (path, text, expected, told) => {
    const { changed, request } = press(rule, text, paths[path]);
    expect(sentTo(request)).toEqual([expected]);
    expect(changed).toEqual(told);
    // What else gives way does so.
    if (path === 'gemini') return;
    const other = press(`${rule},model=local/small`, text, paths[path]);
    expect(other.changed).toEqual([...told, 'model=local/small']);
    expect(sentTo(other.request)).toEqual([expected.replace('gpt', 'small')]);
  });

  test('more than eight of one are refused: each costs memory', () => {
    const bounds = (count: number): string => Array.from({ length: count }, () => '"max_tokens":500').join();
    expect(press(rule, `{"model":"gpt",${bounds(8)}}`).changed).toEqual(['max_tokens=100']);
    expect(() => press(rule, `{"model":"gpt",${bounds(9)}}`)).toThrow(
      'max_tokens: expected one, got several.',
    );
    const within = `{"generationConfig":{${bounds(9).replaceAll('max_tokens', 'maxOutputTokens')}}}`;
    expect(() => press(rule, within, paths.gemini)).toThrow('maxOutputTokens: expected one, got several.');
  });
});

describe('limits look at what is sent', () => {
  const limitsThat = (may: boolean, asks: unknown[] = []): PressedOptions['limits'] => ({
    priorityOf: () => undefined,
    mayCost: (_, asked) => {
      asks.push(asked);
      return may;
    },
  });

  test('a bound that is there twice is refused: one of them would be reserved', () => {
    const text = '{"model":"gpt","max_tokens":50,"max_tokens":4000}';
    const asks = (): unknown => press('level=1,maxTokens=50', text, '/v1/chat/completions', limitsThat(true));
    expect(asks).toThrow('max_tokens: expected one, got several.');
  });

  test.each([
    ['/v1/chat/completions', '{"model":"gpt","max_tokens":40000,"n":2}', 100],
    ['/v1/chat/completions', '{"model":"gpt","max_tokens":40000,"max_completion_tokens":20}', 50],
    ['/v1/chat/completions', '{"model":"fast","max_tokens":30}', 30],
    ['/v1/chat/completions', '{"model":"fast"}', 50],
    ['/v1/responses', '{"model":"gpt","max_output_tokens":40000}', 50],
  ])('a cap is what an answer in one piece may have: %s %s', (path, text, tokens) => {
    const { request } = press('level=1,maxTokens=50', text, path, limitsThat(true));
    const members = [
      ...(request.members ?? []),
      { path: ['n'], text: text.includes('"n"') ? '2' : undefined },
    ];
    const whole = wholeAnswer(
      request,
      (names) => members.find((member) => member.path.join('.') === names.join('.'))?.text,
    );
    expect(whole).toMatchObject({ atLeast: tokens, want: tokens });
  });

  test('a model without a price answers for nobody who has limits of money, and the one that was asked for does', () => {
    const asks: unknown[] = [];
    const rules = 'level=1,model=local/small';
    const kept = press(rules, '{"model":"gpt"}', undefined, limitsThat(false, asks));
    expect(kept.changed).toEqual([]);
    expect(sentTo(kept.request)).toEqual(['{"model":"gpt"}']);
    expect(press(rules, '{"model":"gpt"}', undefined, limitsThat(true, asks)).changed).toEqual([
      'model=local/small',
    ]);
    const replaced = { by: 'local/small', provider: openai };
    expect(asks).toMatchObject([
      { provider: local, replaced },
      { provider: local, replaced },
    ]);
  });
});
