import { expect, test } from 'vitest';
import { withoutSecret } from '../src/engine/without-secret.ts';

test.each([
  ["unknown command 'p', with args: 'p'", 'p', "unknown command '[password]', with args: '[password]'"],
  ['no permissions to access', 'p', 'no permissions to access'],
  ['user:a$b{2}.*@host', 'a$b{2}.*', 'user:[password]@host'],
  ['AUTH hunter-2, hunter-2', 'hunter-2', 'AUTH [password], [password]'],
  ['größer ist ö', 'ö', 'größer ist [password]'],
  ['as it is', '', 'as it is'],
  ['as it is', undefined, 'as it is'],
])('%s: %s', (text, secret, shown) => {
  expect(withoutSecret(text, secret)).toBe(shown);
});
