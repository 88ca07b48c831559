/** A message of protobuf as it is on the wire: its fields by number, without a schema. */
export class Message {
  readonly #fields = new Map<number, (bigint | Uint8Array)[]>();

  constructor(bytes: Uint8Array) {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    let at = 0;
    const varint = (): bigint => {
      let value = 0n;
      for (let shift = 0n; ; shift += 7n) {
        const byte = view.getUint8(at++);
        value |= BigInt(byte & 0x7f) << shift;
        if (byte < 0x80) return value;
      }
    };
    while (at < bytes.length) {
      const tag = Number(varint());
      const values = this.#fields.get(tag >> 3) ?? [];
      this.#fields.set(tag >> 3, values);
      const wireType = tag & 7;
      if (wireType === 0) {
        values.push(varint());
      } else {
        const length = wireType === 2 ? Number(varint()) : wireType === 1 ? 8 : 4;
        values.push(bytes.subarray(at, at + length));
        at += length;
      }
    }
  }

  messages(field: number): Message[] {
    return this.#bytes(field).map((bytes) => new Message(bytes));
  }

  text(field: number): string {
    return Buffer.from(this.#bytes(field)[0] ?? []).toString();
  }

  hex(field: number): string {
    return Buffer.from(this.#bytes(field)[0] ?? []).toString('hex');
  }

  number(field: number): number {
    return Number(this.#fields.get(field)?.[0] ?? 0);
  }

  #bytes(field: number): Uint8Array[] {
    return (this.#fields.get(field) ?? []).filter((value) => value instanceof Uint8Array);
  }
}
