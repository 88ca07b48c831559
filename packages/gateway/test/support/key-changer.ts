/** Adds keys to a store, one a change: `PLACE NAME COUNT`, as `NAME/0`, `NAME/1` and so on. */
import { openKeyFile } from '../../src/keys/key-file.ts';
import { openRedisKeyStore } from '../../src/keys/redis-key-store.ts';
import { digest } from '../../src/config/api-key.ts';
import { ConfigError } from '../../src/config/config-error.ts';

const [place = '', name = '', count = ''] = process.argv.slice(2);
const store = place.startsWith('redis:')
  ? openRedisKeyStore({ url: place, password: undefined })
  : openKeyFile(place);
/** On a busy machine somebody may come too late, is told so, and asks again. */
const maxTries = 20;

for (let index = 0; index < Number(count); index += 1) {
  const own = `${name}/${index}`;
  for (let tries = 1; ; tries += 1) {
    try {
      await store.update(() => [{ name: own, digest: digest(own), limits: {} }]);
      break;
    } catch (error) {
      if (!(error instanceof ConfigError) || tries === maxTries) throw error;
    }
  }
}
