import { Command, Option } from 'commander';
import { pino } from 'pino';
import { banner } from './banner.ts';
import { ConfigError, loadSettings, readConfigFile } from './config/load.ts';
import { configOptions } from './config/schema.ts';
import { type Gateway, openGateway } from './gateway.ts';
import { ownVersion } from './own-version.ts';
import { openSimulator } from './simulate/simulator.ts';

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
  // Given several times, providers add up.
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
    const simulator = await openSimulator({ host, port: Number(port), recordings }).catch(failToListen);
    onSignal(() => simulator.close());
    process.stdout.write(
      `Simulated provider on ${simulator.url}/v1\n\n  curl -N ${simulator.url}/v1/chat/completions \\\n` +
        `    -H 'content-type: application/json' \\\n` +
        `    -d '{"model": "sim:tps=20,tokens=50", "stream": true, "messages": []}'\n\n` +
        `What it wrote, what is pending, who left and when: ${simulator.url}/stats\n`,
    );
  });

async function runGateway(flags: Readonly<Record<string, unknown>>): Promise<void> {
  let gateway: Gateway;
  try {
    const { config: path, ...values } = flags;
    const file = readConfigFile(path as string | undefined);
    const settings = loadSettings({ flags: values, env: process.env, file });
    const log = pino({ level: settings.config.logLevel }, pino.destination({ fd: 2, sync: false }));
    gateway = await openGateway(settings, log).catch(failToListen);
  } catch (error) {
    if (error instanceof ConfigError) fail(error.message);
    throw error;
  }
  onSignal(() => gateway.stop());
  process.stdout.write(banner(gateway));
}

/** Ends the process when it is asked to; a second signal makes it hurry. */
function onSignal(stop: () => Promise<void>): void {
  const handle = (): void => {
    // oxlint-disable-next-line unicorn/no-process-exit
    void stop().then(() => process.exit(0));
  };
  process.on('SIGTERM', handle);
  process.on('SIGINT', handle);
}

function failToListen(error: unknown): never {
  const { code, address, port } = error as NodeJS.ErrnoException & { address?: string; port?: number };
  if (code === 'EADDRINUSE')
    fail(`${address}:${port} is in use: choose another with --port or --admin-port (0 takes a free one)`);
  if (code === 'EACCES' || code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND')
    fail(`cannot listen: ${(error as Error).message}`);
  throw error;
}

function fail(message: string): never {
  process.stderr.write(`spillway: ${message.replaceAll('\n', '\nspillway: ')}\n`);
  process.exit(1);
}

function defaultText(value: unknown): string {
  return Array.isArray(value) ? '' : `, default ${String(value)}`;
}
