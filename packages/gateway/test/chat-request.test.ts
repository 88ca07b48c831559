import { describe, expect, test } from 'vitest';
import { readChatRequest } from '../src/chat-request.ts';

const providers = [
  { name: 'first', url: 'http://first/v1', apiKey: undefined },
  { name: 'second', url: 'http://second/v1', apiKey: undefined },
];

function read(text: string): ReturnType<typeof readChatRequest> {
  return readChatRequest(Buffer.from(text), providers);
}

describe('readChatRequest', () => {
  test('1.2 keeps the bytes when nothing has to change', () => {
    const text = '{ "model": "x/y",  "seed": 1.0 }';
    const { body, provider } = read(text);
    expect(body.toString()).toBe(text);
    expect(provider.name).toBe('first');
  });

  test('1.2 takes the prefix away and nothing else, large numbers included', () => {
    const { body, provider } = read(
      '{"seed": 9223372036854775807, "model": "second/org/model", "nested": {"model": "second/x"}, "__proto__": {"a": 1}}',
    );
    expect(provider.name).toBe('second');
    expect(body.toString()).toBe(
      '{"seed":9223372036854775807,"model":"org/model","nested":{"model":"second/x"},"__proto__":{"a":1}}',
    );
  });

  test.each([
    ['', 'The body is not valid JSON.'],
    ['{"secret prompt', 'The body is not valid JSON.'],
    ['[]', 'The body: expected a JSON object, got an array.'],
    ['{}', 'model: expected a string of 1 to 512 characters, got nothing.'],
    ['{"model": 7}', 'model: expected a string of 1 to 512 characters, got a number.'],
    ['{"model": "m", "stream": "yes"}', 'stream: expected a boolean, got a string of 3 characters.'],
  ])('refuses %j', (text, message) => {
    expect(() => read(text)).toThrow(
      expect.objectContaining({ code: 'invalid_request', status: 400, message }),
    );
  });
});
