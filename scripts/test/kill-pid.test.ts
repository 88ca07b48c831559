import { once } from 'node:events';
import { spawn } from 'node:child_process';
import { expect, test } from 'vitest';
import { killPid } from '../../packages/core/test/support/kill-pid.ts';

test('a process is ended by the number that a text has', async () => {
  const child = spawn('sleep', ['60']);
  killPid(`${child.pid}\n`);
  expect(await once(child, 'exit')).toEqual([null, 'SIGTERM']);
});

test.each(['', '\n', '0', '1', '-5', '12 13', 'none'])(
  'no process and no group is ended by a text without one: %j',
  (text) => {
    expect(() => killPid(text)).toThrow(RangeError);
  },
);
