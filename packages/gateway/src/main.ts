import { ignoreEarlySignals } from './process/early-signals.ts';
import { restartWithSmallNewSpace } from './memory/new-space.ts';

// Whoever serves holds memory for hours; for any other command it would only be a slower start.
if (process.argv[2] === 'serve') restartWithSmallNewSpace();

ignoreEarlySignals();
const { program } = await import('./cli/cli.ts');
await program.parseAsync();
