import { Command } from 'commander';
import { addAudit } from './audit/audit-commands.ts';
import { addCall } from './call/call-command.ts';
import { exitCodes } from './exit-codes.ts';
import { fail } from './fail.ts';
import { addKeys } from './keys/keys-commands.ts';
import { addReload } from './reload/reload-command.ts';
import { failToStart } from './fail-to-start.ts';
import { addSettings } from './settings.ts';
import { settingsOrFail } from './settings-or-fail.ts';
import { onSignals } from './signals.ts';
import { endProcess } from '../process/end-process.ts';
import { ownVersion } from '../process/own-version.ts';

// What a command runs is loaded by that command: a gateway has no use for what checks settings, nor they for a gateway.

/** The command line: `spillway serve` and what helps to run it. */
export const program = new Command('spillway')
  .description('Flow control for AI streams: stands between a model and everyone who reads its stream.')
  .version(ownVersion())
  // The commands below inherit it. Commander's own code for its errors is 1.
  .exitOverride(({ exitCode }) => process.exit(exitCode === 0 ? exitCodes.done : exitCodes.usage));

addSettings(program.command('serve'))
  .description('Run the gateway. Without a provider it serves simulated models, on loopback.')
  .action(async (flags: Record<string, unknown>) => {
    const { runGateway } = await import('./run-gateway.ts');
    await runGateway(flags);
  });

addSettings(program.command('config'))
  .description('Print the settings that are in force, and where each was set, as a configuration file.')
  .option('--json', 'print JSON, with numbers in bytes and milliseconds')
  .action(async (flags: Record<string, unknown>) => {
    const { configAsJson, configAsYaml } = await import('./show-config.ts');
    const { advice, settings } = settingsOrFail(flags);
    const text =
      flags['json'] === true
        ? `${JSON.stringify(configAsJson(settings, advice, process.env), undefined, 2)}\n`
        : configAsYaml(settings, advice, process.env);
    print(text);
  });

addSettings(program.command('check'))
  .description(
    'Check the settings and what they need: providers and their keys, free ports, limits of the system. Exits with 1 if something fails.',
  )
  .option('--json', 'print JSON')
  .action(async (flags: Record<string, unknown>) => {
    const { check } = await import('./check/check.ts');
    const { findingsAsJson, findingsAsText } = await import('./check/finding.ts');
    const asText = flags['json'] === true ? findingsAsJson : findingsAsText;
    const { advice, settings } = settingsOrFail(flags, (message) => {
      const problems = message.split('\n');
      print(
        asText(problems.map((problem) => ({ check: 'configuration', status: 'fail', message: problem }))),
      );
    });
    const findings = await check(settings, advice);
    print(asText(findings));
    process.exitCode = findings.some(({ status }) => status === 'fail') ? exitCodes.failed : exitCodes.done;
  });

program
  .command('version')
  .description('Print the versions of Spillway and of Node.')
  .action(() => {
    const { arch, platform, versions } = process;
    print(`spillway ${ownVersion()}\nnode ${versions.node} (${platform}-${arch})\n`);
  });

program
  .command('simulate')
  .description(
    'Run a simulated provider with the APIs of OpenAI, Anthropic and Gemini, for tests, demos and load.',
  )
  .option('--host <value>', 'address to listen on', '127.0.0.1')
  .option('--port <value>', 'port to listen on; 0 takes a free one', '9000')
  .option('--recordings <folder>', 'folder with recorded streams (.jsonl) that requests may replay')
  .option(
    '--capacity <name=value,...>',
    'how much is done at once, as places=50,most=200; may be given again for a model: model=gpt,places=5',
    (text, before: readonly string[]) => [...before, text],
    [],
  )
  .action(async ({ capacity, host, port, recordings }: SimulateFlags) => {
    if (!/^\d{1,5}$/.test(port) || Number(port) > 65_535) {
      fail(exitCodes.usage, `--port: expected a number from 0 to 65535, got ${JSON.stringify(port)}`);
    }
    const { capacityOrFail } = await import('./capacity-or-fail.ts');
    const capacities = capacity.map(capacityOrFail);
    const { openSimulator } = await import('../simulate/simulator.ts');
    const options = { host, port: Number(port), recordings, capacities };
    const simulator = await openSimulator(options).catch(failToStart);
    onSignals({ stop: () => simulator.close(), end: (code) => endProcess(code, []) });
    print(
      `Simulated provider on ${simulator.url}/v1\n\n  curl -N ${simulator.url}/v1/chat/completions \\\n` +
        `    -H 'content-type: application/json' \\\n` +
        `    -d '{"model": "sim:tps=20,tokens=50", "stream": true, "messages": []}'\n\n` +
        `What it wrote, what is pending, who left and when: ${simulator.url}/stats\n`,
    );
  });

addKeys(program);
addReload(program);
addAudit(program);
addCall(program);

interface SimulateFlags {
  readonly capacity: readonly string[];
  readonly host: string;
  readonly port: string;
  readonly recordings?: string;
}

/** Prints the result of a command. Whoever reads it may have enough of it: `spillway config | head -3`. */
function print(text: string): void {
  process.stdout.once('error', () => undefined);
  process.stdout.write(text);
}
