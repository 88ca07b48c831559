import { BodyScanner } from '../http/body-scanner.ts';

const names = ['type'];

/**
 * The type of an event of the realtime API, found without a parse: the member of the event itself, whatever stands inside of its others.
 * `undefined`: it has none, or two, of which a provider may read either, or it is no JSON.
 */
export function eventTypeOf(bytes: Buffer): string | undefined {
  const scanner = new BodyScanner({ names });
  scanner.push(bytes);
  try {
    const found = scanner.end().object?.members.get('type');
    if (found === undefined) return undefined;
    const type: unknown = JSON.parse(bytes.toString('utf8', found.start, found.end));
    return typeof type === 'string' ? type : undefined;
  } catch {
    return undefined;
  }
}
