// Runs a checkout that was not built. It is not published: packages have `dist`.
import { registerHooks } from 'node:module';

registerHooks({
  resolve: (specifier, context, next) =>
    next(specifier, { ...context, conditions: [...context.conditions, 'spillway-source'] }),
});
await import('../src/main.ts');
