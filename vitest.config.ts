import { existsSync } from 'node:fs';
import { playwright } from '@vitest/browser-playwright';
import { defineConfig, type TestProjectInlineConfiguration } from 'vitest/config';
import { RetriedTests } from './scripts/retried-tests.ts';

const chromiumPath = process.env['CHROMIUM_PATH'] ?? '/usr/bin/chromium';
const propertyRuns = process.env['PROPERTY_RUNS'];

const node: TestProjectInlineConfiguration = {
  extends: true,
  test: {
    name: 'node',
    include: [
      'packages/*/test/**/*.test.ts',
      'examples/test/**/*.test.ts',
      'console/test/**/*.test.ts',
      'bench/test/*.test.ts',
      'mutants/test/*.test.ts',
      'scripts/test/*.test.ts',
      'siege/test/*.test.ts',
    ],
    provide: { keepsSeeds: true },
  },
};

/** The tests of `core` that do not need Node: it runs in browsers too. What is in folders needs Node. */
const chromium: TestProjectInlineConfiguration = {
  extends: true,
  test: {
    name: 'chromium',
    include: ['packages/core/test/*.test.ts'],
    exclude: ['bundle-size', 'leak', 'node-streams'].map((name) => `packages/core/test/${name}.test.ts`),
    // There is no file to write to.
    provide: { keepsSeeds: false },
    browser: {
      enabled: true,
      headless: true,
      ui: false,
      screenshotFailures: false,
      traceView: false,
      instances: [{ browser: 'chromium', name: 'chromium' }],
      provider: playwright({
        launchOptions: {
          executablePath: chromiumPath,
          args: [
            // Chromium's sandbox does not start as root, and the only code in it is this repository's.
            '--no-sandbox',
            '--disable-gpu',
            '--disable-quic',
            '--no-first-run',
            '--disable-background-networking',
            '--disable-component-update',
            '--disable-sync',
          ],
        },
      }),
    },
  },
};

export default defineConfig({
  resolve: { conditions: ['spillway-source'] },
  ssr: { resolve: { conditions: ['spillway-source'] } },
  test: {
    projects: hasChromium() ? [node, chromium] : [node],
    // Tests run real processes and sockets: a deadline is there to end a hang, not to time anything.
    testTimeout: 60_000,
    // Tests mostly wait, for processes of their own and for times that these have: four at once fit on two cores.
    maxWorkers: 4,
    // The checks try once more what a busy machine fails, and the second reporter names it: it is a fault of its test all the same.
    retry: Number(process.env['TEST_RETRIES'] ?? 0),
    reporters: ['default', new RetriedTests()],
    hookTimeout: 60_000,
    setupFiles: ['packages/core/test/support/long-properties.ts'],
    env: { NO_COLOR: '1' },
    provide: { propertyRuns: propertyRuns === undefined ? undefined : Number(propertyRuns) },
  },
});

/** The tests have to pass on a machine without Chromium too, but never without a word. */
function hasChromium(): boolean {
  if (existsSync(chromiumPath)) return true;
  const missing = `There is no Chromium at ${chromiumPath}: set CHROMIUM_PATH to where it is.`;
  if (process.env['CHROMIUM_REQUIRED'] !== undefined) throw new Error(missing);
  console.warn(`The tests run in Node only, not in a browser. ${missing}`);
  return false;
}
