/**
 * Benchmarks: figures for this machine, and ratios between programs measured in the same run.
 *
 *     npm run bench                  the workloads, W1 to W8
 *     npm run bench -- W1 W3         some of them
 *     npm run bench -- --no-peers    Spillway and the bare Node pipe only
 *     npm run bench -- --json        as JSON
 *     npm run bench -- cancel        one of the other cases
 *     npm run bench -- engines --short    one that takes long, with less of everything
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { audit } from './audit.ts';
import { badLink } from './bad-link.ts';
import { callsCapacity } from './calls-capacity.ts';
import { callsWindows } from './calls-windows.ts';
import { calls } from './calls.ts';
import { cancel } from './cancel.ts';
import { coalesce } from './coalesce.ts';
import { cascade } from './cascade.ts';
import { cascadeSentences } from './cascade-sentences.ts';
import { channelMemory } from './channel-memory.ts';
import { channelRates } from './channel.ts';
import { content } from './content.ts';
import { engines } from './engines.ts';
import { limits } from './limits.ts';
import { observation } from './observation.ts';
import { overload } from './overload.ts';
import { paces } from './paces.ts';
import { picture } from './picture.ts';
import { stopAll } from './programs.ts';
import { realtime } from './realtime.ts';
import { requestsUnderFaults } from './requests-under-faults.ts';
import { session } from './session.ts';
import { slowSink } from './slow-sink.ts';
import { spill } from './spill.ts';
import { stalledPage } from './stalled-page.ts';
import { measure, presentSystems, withoutPeers, workloads } from './suite.ts';
import { taps } from './taps.ts';
import { tokenEstimates } from './token-estimates.ts';

/** What no workload covers. */
const cases: Readonly<Record<string, (isShort: boolean) => Promise<void>>> = {
  audit,
  'bad-link': badLink,
  calls,
  'calls-capacity': callsCapacity,
  'calls-windows': callsWindows,
  cancel,
  cascade,
  'cascade-sentences': cascadeSentences,
  channel: channelRates,
  'channel-memory': channelMemory,
  coalesce,
  content,
  engines,
  limits,
  observation,
  overload,
  paces,
  realtime,
  'requests-under-faults': requestsUnderFaults,
  session,
  'slow-sink': slowSink,
  spill,
  'stalled-page': stalledPage,
  taps,
  'token-estimates': tokenEstimates,
};

const { positionals: asked, values } = parseArgs({
  allowPositionals: true,
  allowNegative: true,
  options: {
    json: { type: 'boolean', default: false },
    peers: { type: 'boolean', default: true },
    short: { type: 'boolean', default: false },
  },
});
const names = [...workloads.map(({ name }) => name), ...Object.keys(cases)];
const unknown = asked.filter((name) => !names.includes(name));
if (unknown.length > 0) {
  console.error(`bench: expected ${names.join(', ')}, got ${unknown.join(', ')}`);
  process.exit(1);
}
try {
  for (const name of asked.filter((candidate) => candidate in cases)) {
    console.log(`\n# ${name}`);
    await cases[name]?.(values.short);
  }
  const chosen = workloads.filter(({ name }) => asked.length === 0 || asked.includes(name));
  if (chosen.length > 0) await runWorkloads();

  async function runWorkloads(): Promise<void> {
    const rounds = { quick: 3, slow: 1 };
    const among = values.peers ? presentSystems() : withoutPeers;
    const report = await measure(chosen, among, rounds, ({ name, title }, figures) => {
      if (values.json) return;
      console.log(`\n# ${name}: ${title}. In parentheses: as ratio to the bare Node pipe.`);
      figures.print();
    });
    if (values.json) console.log(JSON.stringify(report, undefined, 2));
    const folder = new URL('results/', import.meta.url);
    mkdirSync(folder, { recursive: true });
    const file = fileURLToPath(new URL('latest.svg', folder));
    writeFileSync(file, picture(report));
    console.error(`\n${report.machine}. A picture: ${file}`);
  }
} finally {
  await stopAll();
}
