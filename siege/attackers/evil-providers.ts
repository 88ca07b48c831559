import { type Assault, chat } from '../assault.ts';
import { faults } from '../evil-faults.ts';

/** Asks for what a hostile provider answers, and reads it for as long as it comes. */
export function evilProviders(assault: Assault): void {
  const names = Object.keys(faults);
  let count = 0;
  assault.keep(24, 8, () => {
    const name = names[count % names.length] ?? '';
    const gemini = `/v1beta/models/evil%2F${name}:streamGenerateContent?alt=sse`;
    count += 1;
    const ask = name.startsWith('gemini')
      ? chat(assault, name, { contents: [] }, gemini)
      : chat(assault, `evil/${name}`);
    return assault.connect(ask, { reads: true });
  });
}
