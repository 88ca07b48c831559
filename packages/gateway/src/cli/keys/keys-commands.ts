import type { Command } from 'commander';
import { scopeShape } from '../../config/limit-values.ts';
import { reloadOptions } from '../reload/reload-command.ts';
import type * as Changes from './key-changes.ts';
import type { ChangeOptions, CreateOptions, KeysOptions, ListOptions } from './key-changes.ts';

const whichKey =
  'its name, as clinic/front, for all keys of that name, or sha256: with 8 or more digits, for one';

/** Adds `spillway keys`, with a command for each thing that is done with keys of clients. */
export function addKeys(program: Command): void {
  const keys = program
    .command('keys')
    .description(
      'Make, list, change, expire and revoke the keys of clients, in a file or in a store that several gateways have. Only their hashes are kept.',
    );
  withLimits(
    withPlace(
      keys
        .command('create')
        .description('Make a key, and print it: once, because only its hash is kept.')
        .requiredOption('--tenant <name>', 'the tenant that it belongs to')
        .option('--name <name>', 'its name within the tenant; keys of one name are one caller')
        .option(
          '--expires <time>',
          'its last day, as 2026-12-31, a time, as 2026-12-31T12:00:00Z, or 12h or 30d from now',
        ),
    ),
  ).action(async (options: CreateOptions) => (await changes()).createCommand(options));
  withPlace(keys.command('list').description('List keys, the oldest first, and what they may use.'), false)
    .option('--tenant <name>', 'only of this tenant')
    .option('--json', 'print JSON')
    .action(async (options: ListOptions) => (await changes()).listCommand(options));
  withLimits(
    withPlace(
      keys
        .command('change')
        .description('Change what a key may use, or when it expires. What is not named stays.')
        .argument('<key>', whichKey)
        .option('--expires <time>', 'as with create; none: it does not expire'),
    ),
    '; none: without this limit',
  ).action(async (key: string, options: ChangeOptions) => (await changes()).changeCommand(key, options));
  withPlace(
    keys
      .command('expire')
      .description('Let a key expire: now, or later. Who uses it then is told so.')
      .argument('<key>', whichKey)
      .option('--at <time>', 'when, as --expires of create; default: now'),
  ).action(async (key: string, options: KeysOptions & { readonly at?: string }) =>
    (await changes()).expireCommand(key, options),
  );
  withPlace(
    keys
      .command('revoke')
      .description('Revoke a key for good. Its hash stays, so that who uses it is told so.')
      .argument('<key>', whichKey),
  ).action(async (key: string, options: KeysOptions) => (await changes()).revokeCommand(key, options));
}

function withPlace(command: Command, canReload = true): Command {
  command
    .option('--file <path>', 'the file of keys (default: apiKeysFile of the configuration)')
    .option(
      '--store <url>',
      'the Redis of keys, instead of a file (default: apiKeysStore of the configuration)',
    )
    .option('--store-password-env <name>', 'environment variable with the password of --store')
    .option('--store-password-file <path>', 'file with the password of --store')
    .option('--config <path>', 'configuration file (default: spillway.yaml, if it exists)');
  if (!canReload) return command;
  command.option(
    '--reload',
    'ask a running gateway to load its configuration again, as spillway reload does; not needed for a store',
  );
  for (const option of reloadOptions()) command.addOption(option);
  return command;
}

function withLimits(command: Command, more = ''): Command {
  for (const [key, field] of Object.entries(scopeShape)) {
    const flag = key.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
    command.option(`--${flag} <value>`, `${field.description ?? ''}${more}`);
  }
  return command;
}

/** What reads and writes keys is loaded only by who does. */
async function changes(): Promise<typeof Changes> {
  return await import('./key-changes.ts');
}
