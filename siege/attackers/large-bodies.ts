import { type Assault, chat } from '../assault.ts';

const megabyte = 1_000_000;

/** Sends real bodies with a key: numbers that no double holds, a million of nothing, what is deep, the same key again. */
export function largeBodies(assault: Assault): void {
  const fill = (piece: string, bytes: number): string => piece.repeat(Math.floor(bytes / piece.length));
  const values = (bytes: number): string[] => [
    `[${fill('1234567890123456,', bytes)}0]`,
    `"${fill('1234567890123456', bytes)}"`,
    `[${fill('[],', bytes)}0.12345678901234567]`,
    `${fill('[', bytes / 2)}12345678901234567${fill(']', bytes / 2)}`,
    `${fill('{"a":', bytes / 2)}12345678901234567${fill('}', bytes / 12)}`,
    `"${fill('\\u0041\\"', bytes)}"`,
    `{${fill('"model":"x",', bytes)}"n":12345678901234567}`,
  ];
  // The model is what has to be found and changed, in front of the rest and behind it.
  const bodies = [...values(megabyte), ...values(8 * megabyte)].flatMap((value) => [
    `{"model":"evil/swallow","stream":true,"x":${value}}`,
    `{"x":${value},"stream":true,"model":"evil/swallow"}`,
  ]);
  let count = 0;
  assault.keep(24, 3, () => {
    // Mostly small ones, so that all sizes and shapes have their turn.
    const body = bodies[(count * 5) % bodies.length] ?? '';
    count += 1;
    return assault.connect(chat(assault, '', { body, connection: 'close' }), { reads: true });
  });
}
