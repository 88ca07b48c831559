/** What a line of an event stream begins with; a comment has no name. */
const fields = ['data', 'event', 'id', 'retry', ''].map((name) => Buffer.from(`${name}:`));
const BOM = Buffer.from([0xef, 0xbb, 0xbf]);
const LF = 0x0a;
const CR = 0x0d;
/** Of empty lines in front. Whoever sends more of them keeps a body alive that is no stream. */
const maxLineEnds = 4;

/** Whether a body that begins so is an event stream; `undefined`: more of it has to come. No JSON and no HTML begins so. */
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
