import { type Command, Option } from 'commander';
import { adminKeyVariable, askReload, defaultAdminUrl, type ReloadOptions } from './ask-reload.ts';

/** Where the gateway is that is asked. */
export function reloadOptions(): Option[] {
  return [
    new Option('--url <url>', 'the admin listener of the gateway').default(defaultAdminUrl),
    new Option('--key-env <name>', 'the environment variable with an admin key, if it needs one').default(
      adminKeyVariable,
    ),
  ];
}

/** Adds `spillway reload`. */
export function addReload(program: Command): void {
  const command = program
    .command('reload')
    .description(
      'Ask a running gateway to load its configuration again: keys, limits, prices, providers, taps. Running streams go on. Exits with 78 if the configuration is refused, which changes nothing.',
    );
  for (const option of reloadOptions()) command.addOption(option);
  command.action(async (options: ReloadOptions) => askReload(options));
}
