import type { FastifyServerOptions } from 'fastify';

/**
 * For listeners whose routes have no schema of Fastify: what is asked is read by this program's own code. Fastify would load
 * its compilers of schemas with every start, a hundred modules, and use them never.
 */
export const noSchemas: Pick<FastifyServerOptions, 'schemaController'> = {
  schemaController: { compilersFactory: { buildValidator: noCompiler, buildSerializer: noCompiler } },
};

function noCompiler(): never {
  throw new Error('expected a route without a schema, got one: this listener has no compiler for it');
}
