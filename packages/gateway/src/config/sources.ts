import { existsSync } from 'node:fs';
import { readSmallFile, whyNoFile } from '../process/small-file.ts';
import { ConfigError } from './config-error.ts';
import { isServiceLink } from './kubernetes.ts';
import { configOptions } from './schema.ts';
import { yaml } from './yaml.ts';

/** Where settings come from. */
export interface ConfigSources {
  /** The values of the command line by their keys in camel case. */
  readonly flags: Readonly<Record<string, unknown>>;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** The text of the configuration file, if there is one, and its path for messages. */
  readonly file: { readonly path: string; readonly text: string } | undefined;
}

/** Where each setting was set: the path of the file, a variable or a flag, by the setting's key. */
export type Origins = ReadonlyMap<string, string>;

/** Joins the file, the environment and the flags, which are not checked yet. A later one wins. */
export function joinSources({ env, file, flags }: ConfigSources): {
  values: Record<string, unknown>;
  origins: Origins;
} {
  // The file may have any key: without a prototype `__proto__` is one as others are, and unknown.
  const values = Object.create(null) as Record<string, unknown>;
  const origins = new Map<string, string>();
  for (const [key, value] of Object.entries(fileValues(file))) {
    values[key] = value;
    origins.set(key, file?.path ?? '');
  }
  for (const { key, variable } of configOptions) {
    const value = env[variable];
    if (value === undefined || value === '' || isServiceLink(variable, value)) continue;
    values[key] = value;
    origins.set(key, variable);
  }
  for (const { key, flag } of configOptions) {
    const value = flags[key];
    if (value === undefined) continue;
    values[key] = value;
    origins.set(key, flag);
  }
  return { values, origins };
}

function fileValues(file: ConfigSources['file']): Record<string, unknown> {
  if (file === undefined) return {};
  let value: unknown;
  try {
    value = yaml().parse(file.text, { logLevel: 'error' });
  } catch (error) {
    // Besides errors of syntax: aliases that multiply, and lists inside each other that exhaust the stack.
    throw new ConfigError(`${file.path}: expected YAML, got ${yamlProblem(error)}`);
  }
  if (value === null || value === undefined) return {};
  if (typeof value !== 'object' || Array.isArray(value)) {
    throw new ConfigError(`${file.path}: expected settings as key: value, got something else`);
  }
  return value as Record<string, unknown>;
}

/** What is wrong, and where. Not the parser's own words: these quote the file, which may have a secret by mistake. */
function yamlProblem(error: unknown): string {
  if (!(error instanceof yaml().YAMLParseError))
    return `a text that cannot be read (${(error as Error).name})`;
  const [at] = error.linePos ?? [];
  const what = error.code.toLowerCase().replaceAll('_', ' ');
  return at === undefined ? what : `${what} at line ${at.line}, column ${at.col}`;
}

/** The name of the configuration file that is read where no other is asked for. */
const defaultPath = 'spillway.yaml';
/** Names that users give to the file by mistake. */
const similarPaths = ['spillway.yml', 'spillway.json', '.spillway.yaml', '.spillway.yml', 'spillway.toml'];

/**
 * Reads the configuration file. If no path was given, the file may be missing.
 *
 * @throws {ConfigError} if the file cannot be read, with the names of files that may be meant.
 */
export function readConfigFile(asked: string | undefined): ConfigSources['file'] {
  const path = asked ?? defaultPath;
  try {
    return { path, text: readSmallFile(path) };
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'ENOENT')
      throw new ConfigError(`${path}: expected a file that can be read, got ${whyNoFile(error)}`);
    if (asked === undefined) return undefined;
    const near = [defaultPath, ...similarConfigFiles()].filter((each) => each !== path && existsSync(each));
    const hint = near.length === 0 ? '' : `; there is ${near.join(' and ')} in the working directory`;
    throw new ConfigError(`--config: expected a file that can be read, got no file at ${path}${hint}`);
  }
}

/** The files of the working directory that look like a configuration file and are not read. */
export function similarConfigFiles(): string[] {
  return similarPaths.filter((path) => existsSync(path));
}
