import { describe, expect, test } from 'vitest';
import { LogDestination } from '../src/process/log-destination.ts';
import type { Output } from '../src/process/output.ts';

/** An output that takes what it is told to, when it is told to. */
function slowOutput(): {
  readonly output: Output;
  readonly text: () => string;
  readonly writes: () => number;
  readonly take: (bytes?: number, code?: string) => Promise<void>;
} {
  let text = '';
  let writes = 0;
  let pending: { readonly bytes: Buffer; readonly done: Parameters<Output>[1] } | undefined;
  return {
    output: (bytes, done) => {
      writes += 1;
      pending = { bytes, done };
    },
    text: () => text,
    writes: () => writes,
    async take(bytes = Infinity, code) {
      await new Promise(setImmediate);
      const write = pending;
      pending = undefined;
      if (write === undefined) throw new Error('nothing is written');
      const taken = write.bytes.subarray(0, bytes);
      text += taken.toString();
      const error = code === undefined ? null : Object.assign(new Error(code), { code });
      write.done(error, taken.length);
    },
  };
}

const linesOf = (text: string): string[] => text.split('\n').slice(0, -1);
const dropped = (line = ''): unknown => (JSON.parse(line) as { droppedLines?: number }).droppedLines;

describe('the log', () => {
  test('lines of one turn are one write', async () => {
    const { output, take, text, writes } = slowOutput();
    const log = new LogDestination(output);
    for (const line of ['1\n', '2\n', '3\n']) log.write(line);
    await take();
    expect(text()).toBe('1\n2\n3\n');
    expect(writes()).toBe(1);
    expect(log.waitingBytes).toBe(0);
  });

  test('a write has 64 KiB and the rest of a line at most, whatever characters that is', async () => {
    const { output, take, text } = slowOutput();
    const log = new LogDestination(output);
    const line = `${'ä'.repeat(4000)}\n`;
    for (let count = 0; count < 40; count += 1) log.write(line);
    await take();
    expect(Buffer.byteLength(text())).toBeLessThanOrEqual(65_536 + Buffer.byteLength(line));
  });

  test('holds 1 MiB for a reader that takes nothing, and tells it later what it missed', async () => {
    const { output, take, text } = slowOutput();
    const log = new LogDestination(output);
    const line = `${JSON.stringify({ text: 'ä'.repeat(500) })}\n`;
    const total = 5000;
    for (let count = 0; count < total; count += 1) log.write(line);
    await new Promise(setImmediate);
    expect(log.waitingBytes).toBeLessThanOrEqual(1_048_576);
    expect(log.waitingBytes).toBeGreaterThan(1_000_000);
    const { droppedLines } = log;
    expect(droppedLines).toBe(total - Math.floor(1_048_576 / Buffer.byteLength(line)));
    while (log.waitingBytes > 0) await take();
    log.write(line);
    await take();
    const lines = linesOf(text());
    const told = lines.filter((each) => dropped(each) !== undefined);
    expect(told.map(dropped)).toEqual([droppedLines]);
    expect(lines.length - told.length).toBe(total - droppedLines + 1);
  });

  test.each(['ENOSPC', 'EIO', 'EDQUOT', 'EFBIG', 'EPIPE'])(
    '%s: drops, and goes on with the next line',
    async (code) => {
      const { output, take, text } = slowOutput();
      const log = new LogDestination(output);
      log.write('{"a":1}\n');
      log.write('{"a":2}\n');
      await take(0, code);
      log.write('{"a":3}\n');
      await take(0, code);
      log.write('{"a":4}\n');
      await take();
      expect(log.droppedLines).toBe(3);
      const [first, ...rest] = linesOf(text());
      expect(dropped(first)).toBe(3);
      expect(rest).toEqual(['{"a":4}']);
    },
  );

  test('a write that ends within a line: the line counts as dropped, and the next one begins at its own', async () => {
    const { output, take, text } = slowOutput();
    const log = new LogDestination(output);
    log.write('{"a":1}\n');
    log.write('{"a":2}\n');
    log.write('{"a":3}\n');
    await take(11);
    await take(0, 'ENOSPC');
    expect(log.droppedLines).toBe(2);
    log.write('{"a":4}\n');
    await take();
    const [whole, torn, told, next] = linesOf(text());
    expect([whole, torn, dropped(told), next]).toEqual(['{"a":1}', '{"a', 2, '{"a":4}']);
  });

  test('a terminal that is stopped is tried again, from where it stopped', async () => {
    const { output, take, text, writes } = slowOutput();
    const log = new LogDestination(output);
    log.write('{"a":1}\n');
    await take(3, 'EAGAIN');
    while (writes() < 2) await new Promise((resolve) => setTimeout(resolve, 5));
    await take();
    expect(text()).toBe('{"a":1}\n');
    expect(log.droppedLines).toBe(0);
  });

  test('whoever exits waits for it until it is written, or for a time', async () => {
    const { output, take } = slowOutput();
    const log = new LogDestination(output);
    await log.flushed(3_600_000);
    log.write('1\n');
    let isFlushed = false;
    const flushed = log.flushed(3_600_000).then(() => (isFlushed = true));
    await new Promise(setImmediate);
    expect(isFlushed).toBe(false);
    await take();
    await flushed;
    log.write('2\n');
    await log.flushed(1);
    expect(log.waitingBytes).toBe(2);
  });
});
