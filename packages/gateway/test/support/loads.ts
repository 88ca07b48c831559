/** Loaded into a process with `--import`: says on stderr what it loads of undici. */
import { registerHooks } from 'node:module';

registerHooks({
  load(url, context, next) {
    if (url.includes('/node_modules/undici/')) process.stderr.write(`loads ${url}\n`);
    return next(url, context);
  },
});
