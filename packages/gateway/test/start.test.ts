import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { run, startGateway } from './support/processes.ts';

const loads = fileURLToPath(new URL('support/loads.ts', import.meta.url));

/** The modules that a program says it has loaded, by what is behind `node_modules/`, or behind `packages/` for its own. */
function loadedBy(told: string): ReadonlySet<string> {
  const paths = told.matchAll(/^loads file:\S*\/(?:node_modules|packages)\/(\S+)$/gm);
  return new Set(Array.from(paths, ([, path = '']) => path));
}

const parts: Readonly<Record<string, RegExp>> = {
  'calls, and doubles of models': /^voice\//,
  'engines, and Redis': /^(?:aws|kafka|nats|postgres|redis)\//,
  'records of streams': /^gateway\/src\/tap\/open-tap\.ts$/,
  limits: /^gateway\/src\/limit\/limiter\.ts$/,
  'simulated models': /^gateway\/src\/simulate\//,
  'other commands': /^gateway\/src\/cli\/(?:check\/|show-config\.ts$)/,
  'other transports': /^undici\//,
  'spans, and metrics that are pushed': /^@opentelemetry\/(?:sdk-trace|exporter-\w+-otlp)/,
  YAML: /^yaml\//,
  'schemas of Fastify': /^ajv\//,
};

test('who does not use a part does not load it, and a start stays light', async () => {
  const args = ['--upstream', 'http://127.0.0.1:1/v1'];
  const gateway = await startGateway(args, { nodeArgs: ['--import', loads] });
  // What tells them is loaded behind the start.
  expect((await fetch(`${gateway.adminUrl}/metrics`)).status).toBe(200);
  const loaded = loadedBy(gateway.stderr());
  const unused = Object.entries(parts).filter(([, part]) => [...loaded].some((path) => part.test(path)));
  expect(unused.map(([name]) => name)).toEqual([]);
  expect(loaded).toContain('gateway/src/gateway.ts');
  // They were 1154 before parts waited to be used, and 814 then; what stands before providers and what gives way to pressure are 44, and the
  // settings of cascades and what is counted of them are a dozen.
  // Each costs a quarter of a millisecond of CPU.
  expect(loaded.size).toBeLessThanOrEqual(885);
});

test('a command does not load the gateway', async () => {
  const command = run(['version'], { nodeArgs: ['--import', loads] });
  expect(await command.exited).toBe(0);
  const loaded = loadedBy(command.stderr());
  expect(loaded).toContain('gateway/src/cli/cli.ts');
  expect(loaded).not.toContain('gateway/src/gateway.ts');
});
