import { Command } from 'commander';
import { type Logger, pino } from 'pino';
import { addAudit } from './audit/audit-commands.ts';
import { banner } from './banner.ts';
import { addCall } from './call/call-command.ts';
import { exitCodes } from './exit-codes.ts';
import { fail } from './fail.ts';
import { addKeys } from './keys/keys-commands.ts';
import { addReload } from './reload/reload-command.ts';
import { check } from './check/check.ts';
import { findingsAsJson, findingsAsText } from './check/finding.ts';
import { addSettings, settingsFrom } from './settings.ts';
import { configAsJson, configAsYaml } from './show-config.ts';
import { onSignals } from './signals.ts';
import { ConfigError } from '../config/config-error.ts';
import type { Settings } from '../config/load.ts';
import { type Gateway, openGateway } from '../gateway.ts';
import { ownVersion } from '../process/own-version.ts';
import { endNow, endProcess } from '../process/end-process.ts';
import { reportError } from '../process/error-report.ts';
import { LogDestination } from '../process/log-destination.ts';
import { openOutput } from '../process/output.ts';
import { ListenFailure } from '../server/listen-at.ts';
import { openSimulator } from '../simulate/simulator.ts';

/** The command line: `spillway serve` and what helps to run it. */
export const program = new Command('spillway')
  .description('Flow control for AI streams: stands between a model and everyone who reads its stream.')
  .version(ownVersion())
  // The commands below inherit it. Commander's own code for its errors is 1.
  .exitOverride(({ exitCode }) => process.exit(exitCode === 0 ? exitCodes.done : exitCodes.usage));

addSettings(program.command('serve'))
  .description('Run the gateway. Without a provider it serves simulated models, on loopback.')
  .action(async (flags: Record<string, unknown>) => {
    await runGateway(flags);
  });

addSettings(program.command('config'))
  .description('Print the settings that are in force, and where each was set, as a configuration file.')
  .option('--json', 'print JSON, with numbers in bytes and milliseconds')
  .action((flags: Record<string, unknown>) => {
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
  .action(async ({ host, port, recordings }: { host: string; port: string; recordings?: string }) => {
    if (!/^\d{1,5}$/.test(port) || Number(port) > 65_535) {
      fail(exitCodes.usage, `--port: expected a number from 0 to 65535, got ${JSON.stringify(port)}`);
    }
    const simulator = await openSimulator({ host, port: Number(port), recordings }).catch(failToStart);
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

/** Reads the settings, or ends the process with what is wrong. */
function settingsOrFail(
  flags: Readonly<Record<string, unknown>>,
  tell?: (message: string) => void,
): ReturnType<typeof settingsFrom> {
  try {
    return settingsFrom(flags);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    if (tell === undefined) fail(exitCodes.config, error.message);
    tell(error.message);
    return process.exit(exitCodes.config);
  }
}

async function runGateway(flags: Readonly<Record<string, unknown>>): Promise<void> {
  const destination = new LogDestination(openOutput(2));
  const { advice, file, settings } = settingsOrFail(flags);
  // Standard output may be a tap's: then only its records are there.
  const isTapped = settings.config.tap.some(({ to }) => to === 'stdout:');
  const words = isTapped ? destination : new LogDestination(openOutput(1));
  const end = (code: number): Promise<never> => endProcess(code, [destination, words]);
  const log = pino({ level: settings.config.logLevel, serializers: { err: reportError } }, destination);
  for (const { message, ...about } of advice) log.warn(about, message);
  const load = settingsLoader(flags, file);
  const gateway = await openGateway(settings, log, destination, load).catch(failToStart);
  // Node's own listener writes warnings to stderr, and blocks until they are read.
  process.removeAllListeners('warning');
  process.on('warning', ({ message, name }) => log.warn({ name, reason: message }, 'warning of Node'));
  onCrash(gateway, log, end);
  const say = (sentence: string): void => words.write(`${sentence}\n`);
  onSignals({ stop: () => gateway.stop(say), reload: () => void gateway.reload(load), end });
  words.write(banner(gateway, settings.config, advice));
}

/**
 * Loads the settings anew with each call: of the flags and the environment, which stay, and of the files. `known`: the
 * file of the start.
 */
function settingsLoader(flags: Readonly<Record<string, unknown>>, known: string | undefined): () => Settings {
  let before = known;
  return () => {
    const { file, settings } = settingsFrom(flags);
    // Without its file a gateway would have none of its providers: somebody is just writing it, or moved it.
    if (before !== undefined && file === undefined)
      throw new ConfigError(`${before}: expected the file, got none`);
    before = file;
    return settings;
  };
}

/** How much longer than `shutdownMs` a process may take to end after a defect. */
const crashGraceMs = 2000;

/**
 * The last handler, for errors that nothing else caught. The state of the process may be wrong from then on.
 * So it accepts no new streams, lets running ones finish as SIGTERM does, and exits with 1. A second such
 * error ends it at once.
 */
function onCrash(gateway: Gateway, log: Logger, end: (code: number) => Promise<never>): void {
  let isCrashing = false;
  const handle = (thrown: unknown): void => {
    if (isCrashing) endNow(1);
    isCrashing = true;
    log.fatal({ err: thrown }, 'a defect of the gateway that nothing contains: it stops');
    const exit = (): void => void end(1);
    setTimeout(exit, gateway.shutdownMs + crashGraceMs);
    gateway.stop().then(exit, exit);
  };
  process.on('uncaughtException', handle);
  process.on('unhandledRejection', handle);
}

interface ListenError extends NodeJS.ErrnoException {
  readonly address?: string;
  readonly port?: number;
}

/** Ends the process with the reason why it cannot start, and the flag that chooses another port. */
function failToStart(error: unknown): never {
  if (error instanceof ConfigError) fail(exitCodes.config, error.message);
  const isAdmin = error instanceof ListenFailure && error.setting === 'adminPort';
  const cause = error instanceof ListenFailure ? error.cause : error;
  const { address, code, message, port, syscall } = cause as ListenError;
  if (code === 'EADDRINUSE') {
    const flag = isAdmin ? '--admin-port' : '--port';
    const where = `${address}:${port} is in use`;
    fail(exitCodes.portInUse, `${where}: choose another with ${flag} (0 takes a free one)`);
  }
  // Of an address that is none, that belongs to another machine, or that needs more rights.
  if (syscall === 'listen' || syscall === 'getaddrinfo' || code === 'ERR_INVALID_ARG_VALUE') {
    const flags = isAdmin ? '--admin-host, --admin-port' : '--host, --port';
    fail(exitCodes.config, `cannot listen (${flags}): ${message}`);
  }
  throw cause;
}

/** Prints the result of a command. Whoever reads it may have enough of it: `spillway config | head -3`. */
function print(text: string): void {
  process.stdout.once('error', () => undefined);
  process.stdout.write(text);
}
