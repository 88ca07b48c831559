/** The names that begin a line of an event stream. A comment has the empty name. */
const fields = ['data', 'event', 'id', 'retry', ''].map((name) => Buffer.from(`${name}:`));
const BOM = Buffer.from([0xef, 0xbb, 0xbf]);
const LF = 0x0a;
const CR = 0x0d;
/**
 * The most line ends before the first field. A provider that sends more only keeps a connection alive: its
 * body is no event stream.
 */
const maxLineEnds = 4;

/**
 * Whether a body with these first bytes is an event stream; `undefined`: too few bytes to tell. No JSON and
 * no HTML begins like an event stream.
 */
export function beginsEvents(bytes: Buffer): boolean | undefined {
  let at = bytes.subarray(0, BOM.length).equals(BOM) ? BOM.length : 0;
  const textAt = at;
  while ((bytes[at] === LF || bytes[at] === CR) && at - textAt <= maxLineEnds) at += 1;
  const rest = bytes.subarray(at);
  if (fields.some((field) => rest.subarray(0, field.length).equals(field))) return true;
  const couldBe = [...fields, ...(at === 0 ? [BOM] : [])].some((start) =>
    start.subarray(0, rest.length).equals(rest),
  );
  return couldBe ? undefined : false;
}
