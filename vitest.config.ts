import { defineConfig } from 'vitest/config';

export default defineConfig({
  resolve: { conditions: ['spillway-source'] },
  ssr: { resolve: { conditions: ['spillway-source'] } },
  test: {
    include: ['packages/*/test/**/*.test.ts', 'examples/test/**/*.test.ts'],
    // Tests run real processes and sockets: a deadline is there to end a hang, not to time anything.
    testTimeout: 60_000,
    hookTimeout: 60_000,
    env: { NO_COLOR: '1' },
  },
});
