/**
 * Makes a process one of a gateway beside which no package of an engine is installed. Such packages are found in its working
 * directory alone. For `node --import`.
 */
import Module from 'node:module';

interface Resolving {
  _resolveFilename(
    request: string,
    parent: { readonly filename?: string } | undefined,
    ...more: unknown[]
  ): string;
}

const resolving = Module as unknown as Resolving;
const resolve = resolving._resolveFilename.bind(Module);

resolving._resolveFilename = (request, parent, ...more) => {
  const isEngine = /^@spillway\/(?:aws|kafka|nats|postgres|redis)$/.test(request);
  if (isEngine && parent?.filename?.endsWith('load-engine.ts') === true)
    throw Object.assign(new Error(`Cannot find module '${request}'`), { code: 'MODULE_NOT_FOUND' });
  return resolve(request, parent, ...more);
};
