import type { Socket } from 'node:net';
import { type Assault, chat } from '../assault.ts';

const connections = 700;
const holdMs = 3000;

/** Opens more connections at once than the gateway has descriptors, lets them go after a while, and begins again. */
export function descriptorFloods(assault: Assault): void {
  let count = 0;
  let held: Socket[] = [];
  const flood = (): void => {
    for (let index = 0; index < connections; index += 1) {
      count += 1;
      // Each stream needs a connection to the provider as well.
      held.push(assault.connect(count % 20 === 0 ? chat(assault, 'sim:tps=1,tokens=5') : ''));
    }
    setTimeout(() => {
      for (const socket of held) assault.drop(socket);
      held = [];
    }, holdMs);
  };
  flood();
  assault.every(1000 / (2 * holdMs), flood);
}
