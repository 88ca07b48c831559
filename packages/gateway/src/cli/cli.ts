import { Command, Option } from 'commander';
import { type Logger, pino } from 'pino';
import { banner } from './banner.ts';
import { onSignals } from './signals.ts';
import { ConfigError } from '../config/config-error.ts';
import {
  loadSettings,
  readConfigFile,
  type Settings,
  unreadVariables,
  unusedProxies,
} from '../config/load.ts';
import { configOptions } from '../config/schema.ts';
import { type Gateway, openGateway } from '../gateway.ts';
import { ownVersion } from '../process/own-version.ts';
import { endNow, endProcess } from '../process/end-process.ts';
import { reportError } from '../process/error-report.ts';
import { LogDestination } from '../process/log-destination.ts';
import { openOutput } from '../process/output.ts';
import { openSimulator } from '../simulate/simulator.ts';

/** The command line: `spillway serve` and `spillway simulate`. */
export const program = new Command('spillway')
  .description('Flow control for AI streams: stands between a model and everyone who reads its stream.')
  .version(ownVersion());

const serve = program
  .command('serve')
  .description('Run the gateway. Without a provider it serves simulated models.')
  .option('--config <path>', 'configuration file (default: spillway.yaml, if it exists)')
  .action(async (flags: Record<string, unknown>) => {
    await runGateway(flags);
  });

for (const { key, flag, variable, description, defaultValue } of configOptions) {
  const about = `${description} (${variable}${defaultText(defaultValue)})`;
  const option = new Option(`${flag} ${typeof defaultValue === 'boolean' ? '[value]' : '<value>'}`, about);
  // Several `--upstream` flags add up.
  if (key === 'upstream')
    option.argParser((value: string, before?: string) =>
      before === undefined ? value : `${before} ${value}`,
    );
  serve.addOption(option);
}

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
      fail(`--port: expected a number from 0 to 65535, got ${JSON.stringify(port)}`);
    }
    const simulator = await openSimulator({ host, port: Number(port), recordings }).catch(
      failToListen('--port'),
    );
    onSignals({ stop: () => simulator.close(), end: (code) => endProcess(code, []) });
    process.stdout.write(
      `Simulated provider on ${simulator.url}/v1\n\n  curl -N ${simulator.url}/v1/chat/completions \\\n` +
        `    -H 'content-type: application/json' \\\n` +
        `    -d '{"model": "sim:tps=20,tokens=50", "stream": true, "messages": []}'\n\n` +
        `What it wrote, what is pending, who left and when: ${simulator.url}/stats\n`,
    );
  });

async function runGateway(flags: Readonly<Record<string, unknown>>): Promise<void> {
  const destination = new LogDestination(openOutput(2));
  const stdout = new LogDestination(openOutput(1));
  const end = (code: number): Promise<never> => endProcess(code, [destination, stdout]);
  const load = settingsLoader(flags);
  let gateway: Gateway;
  let log: Logger;
  try {
    const settings = load();
    log = pino({ level: settings.config.logLevel, serializers: { err: reportError } }, destination);
    const unread = unreadVariables(settings, process.env);
    if (unread.length > 0)
      log.warn({ variables: unread }, 'variables of the environment that are no settings');
    for (const unused of unusedProxies(settings, process.env))
      log.warn(unused, 'a proxy of the environment is not used: providers need proxy: env for it');
    gateway = await openGateway(settings, log, destination).catch(failToListen('--port or --admin-port'));
  } catch (error) {
    if (error instanceof ConfigError) fail(error.message);
    throw error;
  }
  // Node's own listener writes warnings to stderr, and blocks until they are read.
  process.removeAllListeners('warning');
  process.on('warning', ({ message, name }) => log.warn({ name, reason: message }, 'warning of Node'));
  onCrash(gateway, log, end);
  const say = (sentence: string): void => stdout.write(`${sentence}\n`);
  onSignals({ stop: () => gateway.stop(say), reload: () => void gateway.reload(load), end });
  stdout.write(banner(gateway));
}

/** Loads the settings anew with each call: of the flags and the environment, which stay, and of the files. */
function settingsLoader({ config: path, ...flags }: Readonly<Record<string, unknown>>): () => Settings {
  let known: string | undefined;
  return () => {
    const file = readConfigFile(path as string | undefined);
    // Without its file a gateway would have none of its providers: somebody is just writing it, or moved it.
    if (known !== undefined && file === undefined)
      throw new ConfigError(`${known}: expected the file, got none`);
    known = file?.path;
    return loadSettings({ flags, env: process.env, file });
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

/** Ends the process with the reason why it cannot listen, and the flags that choose another port. */
function failToListen(flags: string): (error: unknown) => never {
  return (error) => {
    const { code, address, port } = error as NodeJS.ErrnoException & { address?: string; port?: number };
    if (code === 'EADDRINUSE')
      fail(`${address}:${port} is in use: choose another with ${flags} (0 takes a free one)`);
    if (code === 'EACCES' || code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND')
      fail(`cannot listen: ${(error as Error).message}`);
    throw error;
  };
}

function fail(message: string): never {
  process.stderr.write(`spillway: ${message.replaceAll('\n', '\nspillway: ')}\n`);
  process.exit(1);
}

function defaultText(value: unknown): string {
  return Array.isArray(value ?? []) ? '' : `, default ${String(value)}`;
}
