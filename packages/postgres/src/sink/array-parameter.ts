/** The types of elements that are sent, with their numbers in every PostgreSQL. */
const elementTypes = { bytea: 17, int4: 23, int8: 20, text: 25 } as const;

/**
 * An array of one dimension in PostgreSQL's binary format, without nulls: as text, each byte of a `bytea` would be two, and
 * both sides would have to convert them.
 */
export function arrayParameter(type: keyof typeof elementTypes, elements: readonly Uint8Array[]): Buffer {
  const headBytes = 20;
  const bytes = elements.reduce((sum, { byteLength }) => sum + 4 + byteLength, headBytes);
  const array = Buffer.allocUnsafe(bytes);
  // Dimensions, no nulls, the type; the length of the dimension and its first index.
  for (const [index, value] of [1, 0, elementTypes[type], elements.length, 1].entries())
    array.writeInt32BE(value, index * 4);
  let at = headBytes;
  for (const element of elements) {
    at = array.writeInt32BE(element.byteLength, at);
    array.set(element, at);
    at += element.byteLength;
  }
  return array;
}

export function int4(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(4);
  bytes.writeInt32BE(value);
  return bytes;
}

export function int8(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(8);
  bytes.writeBigInt64BE(BigInt(value));
  return bytes;
}
