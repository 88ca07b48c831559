import { inspect } from 'node:util';
import { openKafkaSink } from '@spillway/kafka';
import { expect, test } from 'vitest';

test.each([
  ['kafka://host:9092', 'kafka://HOST:PORT,HOST:PORT/TOPIC'],
  ['kafka://host:9092/', 'the name of a topic'],
  ['kafka://host:99999/llm', 'kafka://HOST:PORT,HOST:PORT/TOPIC'],
  ['kafka://host/llm?recal=5', 'got recal: did you mean recall?'],
  ['kafka://host/llm?recall=-1', 'recall: expected a whole number from 0 to 1000000, got "-1"'],
  ['kafka://host/llm?sasl=plain', 'USER:PASSWORD@'],
  ['kafka://me:secret-7@host/llm?sasl=kerberos', 'plain, scram-sha-256, scram-sha-512'],
  ['kafka://me@host/llm', 'both a user and a password'],
  ['kafka://me:secret-7@host/llm?ca=/nowhere', 'kafkas:// or tls=1'],
  ['kafkas://host/llm?ca=/nowhere', 'PEM file'],
  ['kafkas://host/llm?tls=0', 'kafka:// with tls=0'],
  ['kafka://me:x/secret-7@host/llm', 'kafka://HOST:PORT,HOST:PORT/TOPIC'],
  ['kafka://me/secret-7@host', '%2F'],
  ['kafka://me:x@host/llm?secret-7', 'another one'],
])('the URL %s is refused, and what is wrong with it is said', async (url, said) => {
  const failure: unknown = await openKafkaSink({ url }).catch((error: unknown) => error);
  expect(failure).toMatchObject({ code: 'invalid_option', message: expect.stringContaining(said) });
  expect(inspect(failure)).not.toContain('secret-7');
});
