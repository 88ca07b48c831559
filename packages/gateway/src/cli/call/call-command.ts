import type { Command } from 'commander';
import type * as RunCall from './run-call.ts';
import type { CallOptions } from './run-call.ts';

/** Adds `spillway call`: a telephone for tests. */
export function addCall(program: Command): void {
  program
    .command('call')
    .description(
      'Call a voice bridge as Twilio does, without Twilio: a WAV file, or a script with a conversation and what has to be true of it. Exits with 1 if that is not so.',
    )
    .argument('[url]', 'its socket (ws:, wss:) or its webhook (http:, https:)')
    .option('--wav <file>', 'say this: 8000 samples a second, mono, µ-law or linear with 16 bits')
    .option('--script <file>', 'YAML or JSON: see docs/voice-doubles.md')
    .option('--sign', "sign the requests as Twilio does, with the account's token in TWILIO_AUTH_TOKEN")
    .option('--json', 'print the report as JSON')
    .action(async (url: string | undefined, options: CallOptions) =>
      (await runCall()).callCommand(url, options),
    );
}

/** Sockets are loaded only by who calls. */
async function runCall(): Promise<typeof RunCall> {
  return await import('./run-call.ts');
}
