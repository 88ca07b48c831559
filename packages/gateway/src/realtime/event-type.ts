import { BodyScanner } from '../http/body-scanner.ts';

/**
 * The type of an event of the realtime API, found without a parse: the member of the event itself, whatever stands inside of its others.
 * `undefined`: it has none, or two, of which a provider may read either, or it is no JSON.
 */
export function eventTypeOf(bytes: Buffer): string | undefined {
  const type = memberOf(bytes, 'type');
  return typeof type === 'string' ? type : undefined;
}

/** The name that a client has given to an event. `undefined`: none. `null`: two, or what cannot be read. */
export function eventNameOf(bytes: Buffer): string | null | undefined {
  // Sound, which is most of what a client sends, is not looked at twice where it has no name.
  if (!bytes.includes('event_id') && !bytes.includes('\\u')) return bytes[0] === openBrace ? undefined : null;
  const name = memberOf(bytes, 'event_id');
  return name === undefined || typeof name === 'string' ? name || undefined : null;
}

const openBrace = 0x7b;

/** `undefined`: it is not there. `null`: it is there twice, or cannot be read. */
function memberOf(bytes: Buffer, name: string): unknown {
  const scanner = new BodyScanner({ names: [name] });
  scanner.push(bytes);
  try {
    const found = scanner.end().object?.members.get(name);
    return found === undefined ? undefined : JSON.parse(bytes.toString('utf8', found.start, found.end));
  } catch {
    return null;
  }
}
