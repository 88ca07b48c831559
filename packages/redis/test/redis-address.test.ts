import { expect, test } from 'vitest';
import { readRedisUrl, shownAddress } from '../src/connection/redis-address.ts';

test.each([
  ['redis://user:secret@redis.example:6380', 'redis://redis.example:6380'],
  ['redis://redis.example:6380/0', 'redis://redis.example:6380'],
  ['rediss://redis.example:6380/5', 'rediss://redis.example:6380/5'],
  ['redis+sentinel://a:1,b:2/main/3', 'redis+sentinel://a:1,b:2/main/3'],
])('%s is shown without who asks, and with its database: %s', (url, shown) => {
  expect(shownAddress(readRedisUrl(url))).toBe(shown);
});
