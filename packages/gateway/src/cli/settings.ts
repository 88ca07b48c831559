import { type Command, Option } from 'commander';
import { type Advice, adviceFor } from '../config/advice.ts';
import { loadSettings, type Settings } from '../config/load.ts';
import { type ConfigOption, configOptions } from '../config/schema.ts';
import { readConfigFile, similarConfigFiles } from '../config/sources.ts';
import { writeValue } from '../config/units.ts';

const valueNames = { bytes: 'size', count: 'number', ms: 'duration' } as const;

/** Adds an option for each setting, and `--config`. */
export function addSettings(command: Command): Command {
  command.option('--config <path>', 'configuration file (default: spillway.yaml, if it exists)');
  for (const setting of configOptions) {
    const { defaultValue, description, flag, key, range, variable } = setting;
    const name = range === undefined ? 'value' : valueNames[range.unit];
    const argument = typeof defaultValue === 'boolean' ? '[value]' : `<${name}>`;
    const option = new Option(`${flag} ${argument}`, `${description} (${variable}${defaultText(setting)})`);
    // Several `--upstream` or `--tap` flags add up.
    if (['pressure', 'price', 'tap', 'tenant', 'upstream'].includes(key))
      option.argParser((value: string, before?: string) =>
        before === undefined ? value : `${before} ${value}`,
      );
    command.addOption(option);
  }
  return command.addHelpText(
    'after',
    '\nSizes are written as 65536, 64k, 64KiB or 16MiB, durations as 250ms, 30s, 5m or 1h; a number alone is in bytes or milliseconds.',
  );
}

function defaultText(setting: ConfigOption): string {
  const text = writeValue(setting.defaultValue, setting.range);
  return text === '' ? '' : `, default ${text}`;
}

/** The settings of a command line, this process's environment and the configuration file. */
export function settingsFrom(flags: Readonly<Record<string, unknown>>): {
  readonly settings: Settings;
  readonly advice: readonly Advice[];
  /** The path of the configuration file, if there is one. */
  readonly file: string | undefined;
} {
  const { config: path, ...values } = flags;
  const file = readConfigFile(path as string | undefined);
  const settings = loadSettings({ flags: values, env: process.env, file });
  const unreadFiles = file === undefined ? similarConfigFiles() : [];
  return { settings, advice: adviceFor(settings, process.env, unreadFiles), file: file?.path };
}
