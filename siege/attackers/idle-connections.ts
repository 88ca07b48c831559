import type { Assault } from '../assault.ts';

/** Opens connections and says nothing. */
export function idleConnections(assault: Assault): void {
  assault.keep(1000, 100, () => assault.connect());
}
