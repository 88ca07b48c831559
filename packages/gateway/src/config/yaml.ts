import { createRequire } from 'node:module';
import type * as Yaml from 'yaml';

/** The parser of YAML, loaded when there is a file to read: without one a start has no use for its 70 modules. */
export function yaml(): typeof Yaml {
  return createRequire(import.meta.url)('yaml') as typeof Yaml;
}
