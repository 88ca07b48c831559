import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { EngineSink, EngineSinkOptions } from '@spillway/core/engine';
import { ConfigError } from '../config/config-error.ts';
import type { EngineKind } from '../config/engine-url.ts';

/** Opens the sink of an engine. */
export type OpenEngine = (options: EngineSinkOptions) => Promise<EngineSink>;

/**
 * Loads the package of an engine: from where the gateway is, or else from the working directory, where whoever runs a gateway
 * of `npx` or a global one installs it.
 *
 * @throws {ConfigError} when it is in neither, or is another package than was expected.
 */
export async function loadEngine({ open, package: name }: EngineKind): Promise<OpenEngine> {
  const path = pathOf(name, import.meta.url) ?? pathOf(name, join(process.cwd(), 'package.json'));
  if (path === undefined) {
    throw new ConfigError(
      `expected the package ${name}, got none beside the gateway and none in ${process.cwd()}: npm install ${name}`,
    );
  }
  const module = (await import(pathToFileURL(path).href)) as Readonly<Record<string, unknown>>;
  const found = module[open];
  if (typeof found !== 'function') {
    throw new ConfigError(
      `expected a package ${name} with ${open}, got one without it in ${path}: npm install ${name}@latest`,
    );
  }
  return found as OpenEngine;
}

/** Where a package is for whoever is at that place; `undefined`: there is none. */
function pathOf(name: string, from: string): string | undefined {
  try {
    return createRequire(from).resolve(name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'MODULE_NOT_FOUND') return undefined;
    throw error;
  }
}
