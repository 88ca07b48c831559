import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { replyText } from '../packages/gateway/src/simulate/tokens.ts';
import { openBadLink } from '../packages/gateway/test/support/bad-link.ts';
import { quantile, startGateway, startSimulator, statsOf } from './programs.ts';

const links = [
  { name: '100 ms round trip', filter: ['-d', '50'] },
  { name: '100 ms round trip, 5 % loss', filter: ['-d', '50', '-l', '5'] },
  { name: '300 ms round trip, 2 % loss, 50 kbit/s', filter: ['-d', '150', '-l', '2', '-b', '6250'] },
] as const;

const tps = 50;
const tokens = 1000;

/**
 * How old text is when it arrives over a link that delays and loses, with the client's `fetch`. Needs Linux, root, and
 * Debian's `vde2` and `vde-wirefilter`.
 */
export async function badLink(): Promise<void> {
  const simulator = await startSimulator();
  for (const { filter, name } of links) {
    const network = await openBadLink(filter);
    try {
      const gateway = await startGateway(simulator.url, ['--host', network.address], {
        env: { SPILLWAY_API_KEYS: 'key' },
      });
      const program = fileURLToPath(
        new URL('../packages/gateway/test/support/session-client.ts', import.meta.url),
      );
      const model = `sim:tps=${tps},ttft=0,tokens=${tokens}`;
      const [command, ...inside] = network.inside;
      const args = [...inside, process.execPath, '--conditions=spillway-source', program, gateway.url, model];
      const child = spawn(command, args);
      let output = '';
      child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text));
      child.stderr.pipe(process.stderr);
      await once(child, 'exit');
      const lines = output
        .trim()
        .split('\n')
        .map(
          (line) => JSON.parse(line) as { atMs: number; characters?: number; text?: string; event?: string },
        );
      const startedMs = (await statsOf(simulator)).at(-1)?.startedMs ?? Number.NaN;
      console.log(`${name.padEnd(40)} ${report(lines, startedMs)}`);
    } finally {
      network.close();
    }
  }
}

function report(
  lines: readonly { atMs: number; characters?: number; text?: string; event?: string }[],
  startedMs: number,
): string {
  const ages: number[] = [];
  let token = 0;
  let expected = '';
  for (const { atMs, characters = 0 } of lines) {
    for (; token < tokens; token += 1) {
      const next = replyText(token + 1, 0);
      if (next.length > characters) break;
      expected = next;
      ages.push(atMs - (startedMs + (token * 1000) / tps));
    }
  }
  const isWhole = lines.at(-1)?.text === replyText(tokens, 0) && expected.length > 0;
  const lost = lines.filter(({ event }) => event === 'disconnected').length;
  return (
    `text is p50 ${quantile(ages, 0.5).toFixed(0)} ms, p99 ${quantile(ages, 0.99).toFixed(0)} ms old; ` +
    `${isWhole ? 'every character, once' : 'NOT WHOLE'}; connections lost: ${lost}`
  );
}
