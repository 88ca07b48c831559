import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { expect, onTestFinished, test } from 'vitest';
import { printed, spawnNode } from '../../gateway/test/support/spawn.ts';
import { AuditReader } from '../src/audit/audit-reader.ts';
import { verifyAudit } from '../src/audit/verify-audit.ts';
import { parseRecord } from '../src/tap/tap-record.ts';
import { dataOf } from './support/memory-sink.ts';
import { textIn } from './support/own-streams.ts';

const program = fileURLToPath(new URL('./support/tap-program.ts', import.meta.url));
/** Each is 0.3 s of CPU; every night there are 200. */
const kills = Number(process.env['TAP_KILLS'] ?? 50);
/** So many programs run at once. */
const lanes = 4;

test(`promise 12: killed ${kills} times with channel, tap and log alone: what a reader got is a prefix of the log`, async () => {
  const folder = mkdtempSync(join(tmpdir(), 'tap-kill-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  let words = 0;
  const kill = async (number: number): Promise<void> => {
    const path = join(folder, `${number}.db`);
    const child = spawnNode(program, [path]);
    await printed(child, /(ready)/);
    await sleep((number * 7919) % 150);
    child.process.kill('SIGKILL');
    await child.exited;
    expect(verifyAudit(path)).toMatchObject({ problems: [] });
    const log = new AuditReader(path);
    const kept = new Map<string, string>();
    for (const { model, name } of log.streams()) {
      const records = [...log.recordsOf(name)].map(({ value = new Uint8Array() }) => parseRecord(value));
      kept.set(model ?? '', textIn(dataOf(records)));
    }
    log.close();
    const got = new Map<string, string>();
    // The last line may be cut.
    for (const line of child.stdout().split('\n').slice(0, -1)) {
      const [model = '', text = ''] = line.split(' ');
      if (text !== '') got.set(model, `${got.get(model) ?? ''}${text.replaceAll(',', ' ')} `);
    }
    for (const [model, text] of got) {
      expect(
        kept.get(model)?.startsWith(text),
        `${number}: ${text.length} of ${kept.get(model)?.length}`,
      ).toBe(true);
      words += text.split(' ').length;
    }
  };
  const lane = async (first: number): Promise<void> => {
    for (let number = first; number < kills; number += lanes) await kill(number);
  };
  await Promise.all(Array.from({ length: lanes }, (_, first) => lane(first)));
  expect(words).toBeGreaterThan(kills * 20);
}, 600_000);
