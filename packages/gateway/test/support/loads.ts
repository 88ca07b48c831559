/** Tells on standard error each module that a program loads, but for Node's own. For `node --import`. */
import { registerHooks } from 'node:module';

registerHooks({
  load: (url, context, next) => {
    if (!url.startsWith('node:')) process.stderr.write(`loads ${url}\n`);
    return next(url, context);
  },
});
