import { type Assault, chat } from '../assault.ts';
import { faults } from '../evil-faults.ts';

/** Asks for what a hostile provider answers, and reads it for as long as it comes. */
export function evilProviders(assault: Assault): void {
  const names = Object.keys(faults);
  let count = 0;
  assault.keep(48, 8, () => {
    const name = names[count % names.length] ?? '';
    const path = `/v1beta/models/evil%2F${name}:streamGenerateContent?alt=sse`;
    count += 1;
    // Each over a connection of its own, which ends with the answer.
    const last = { connection: 'close' };
    const ask = name.startsWith('gemini')
      ? chat(assault, name, { ...last, path, body: '{"contents":[]}' })
      : chat(assault, `evil/${name}`, last);
    return assault.connect(ask, { reads: true });
  });
}
