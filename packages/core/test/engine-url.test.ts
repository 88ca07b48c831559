import { EngineUrlReader, shownHost } from '@spillway/core/engine';
import { expect, test } from 'vitest';

const reader = new EngineUrlReader('Engine', 'engine://HOST:PORT');

const refused = (message: string): unknown => expect.objectContaining({ code: 'invalid_option', message });

test.each([
  ['host', 'host:5'],
  ['host:65535', 'host:65535'],
  ['10.0.0.1:1', '10.0.0.1:1'],
  ['[::1]', '[::1]:5'],
  ['[fe80::1%25eth0]:7', '[fe80::1%25eth0]:7'],
])('the host %s is %s', (text, shown) => {
  expect(shownHost(reader.host(text, 5))).toBe(shown);
});

test.each(['', ':5', 'host:', 'host:65536', 'host:123456', 'host:secret', '::1', '[::1', '[]'])(
  'a host is not %j, and the error does not quote it',
  (text) => {
    expect(() => reader.host(text, 5)).toThrow(refused('url of Engine: expected engine://HOST:PORT.'));
  },
);

test('a login has a user, a password, both or none', () => {
  expect(reader.login('a%40b:c:%2F')).toEqual({ user: 'a@b', password: 'c:/' });
  expect(reader.login('a')).toEqual({ user: 'a', password: undefined });
  expect(reader.login(':c')).toEqual({ user: undefined, password: 'c' });
  expect(reader.login('')).toEqual({ user: undefined, password: undefined });
  expect(() => reader.login('a:secret%')).toThrow(
    refused('url of Engine: expected % to begin a character in base 16, also in user and password.'),
  );
});

test('parameters are known, and there once, with a value', () => {
  const known = ['depth', 'width'];
  expect([...reader.parameters('depth=a%26b=c&&width=+', known)]).toEqual([
    ['depth', 'a&b=c'],
    ['width', '+'],
  ]);
  expect(reader.parameters('', known).size).toBe(0);
  for (const query of ['depth', 'depth=', 'depth=1&depth=2'])
    expect(() => reader.parameters(query, known)).toThrow(
      refused('url of Engine: expected depth=VALUE once.'),
    );
  expect(() => reader.parameters('dept=1', known)).toThrow(
    refused('url of Engine: expected the parameters depth, width, got dept: did you mean depth?.'),
  );
  expect(() => reader.parameters('colour=1', known)).toThrow(
    refused('url of Engine: expected the parameters depth, width, got colour.'),
  );
});

test('a name that may be a part of a password is not shown', () => {
  expect(() => reader.parameters('s3cret', ['depth'])).toThrow(
    refused('url of Engine: expected the parameters depth, got another one.'),
  );
});

test('a number is whole and within its bounds', () => {
  const parameters = new Map([
    ['least', '0'],
    ['most', '9007199254740991'],
    ['above', '9'],
    ['negative', '-1'],
    ['broken', '1.5'],
    ['text', '1e1'],
  ]);
  expect(reader.whole(parameters, 'least', 0, 8)).toBe(0);
  expect(reader.whole(parameters, 'most', 0, Number.MAX_SAFE_INTEGER)).toBe(Number.MAX_SAFE_INTEGER);
  expect(reader.whole(parameters, 'absent', 0, 8)).toBeUndefined();
  for (const [name, shown] of [...parameters].slice(2))
    expect(() => reader.whole(parameters, name, 0, 8)).toThrow(
      refused(`url of Engine: ${name}: expected a whole number from 0 to 8, got "${shown}".`),
    );
});
