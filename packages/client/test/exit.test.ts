import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { expect, test } from 'vitest';
import { startFakeGateway } from './support/fake-gateway.ts';

const entry = import.meta.resolve('../src/index.ts');

/** A script that ends when its last line has run, unless something keeps it alive. */
const script = (url: string): string => `
  import { createFetch } from ${JSON.stringify(entry)};
  const fetch = createFetch({ url: ${JSON.stringify(url)} });
  const response = await fetch('/v1/chat/completions', { method: 'POST', body: '{"stream":true}' });
  process.stdout.write(await response.text());
`;

test('a script that has read its stream ends by itself', async () => {
  const gateway = await startFakeGateway();
  const child = spawn(
    process.execPath,
    ['--conditions=spillway-source', '--input-type=module', '--eval', script(gateway.url)],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  const output: Buffer[] = [];
  child.stdout.on('data', (part: Buffer) => output.push(part));
  const exit = once(child, 'exit');
  const session = await gateway.session();
  await session.frame('request');
  session.respond(1);
  session.data(1, 0, 1, 'part ');
  session.cut();
  // Between two connections nothing but a timer keeps it alive.
  const next = await gateway.session();
  const { offset } = await next.frame('resume');
  next.respond(1);
  if (offset === 0) next.data(1, 0, 1, 'part ');
  next.data(1, 1, 2, 'and end');
  next.end(1);
  expect(await exit).toEqual([0, null]);
  expect(Buffer.concat(output).toString()).toBe('part and end');
});
