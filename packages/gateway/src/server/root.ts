import type { FastifyInstance } from 'fastify';
import { pathPrefixes } from '../http/route.ts';

/**
 * Answers `GET /` with what this is, for whoever opens the address in a browser or looks for what listens there.
 * `consoleUrl`: where the console is; `undefined`: not on this machine, and nobody is told.
 */
export function addRoot(server: FastifyInstance, consoleUrl: () => string | undefined): void {
  server.get('/', () => ({
    service: 'spillway',
    what: 'Flow control for AI streams: a gateway between models and those who read them.',
    paths: { providers: pathPrefixes, streams: '/streams/…', health: ['/health/live', '/health/ready'] },
    console: consoleUrl(),
    documentation: 'README.md and docs/ of the package "spillway"',
  }));
}
