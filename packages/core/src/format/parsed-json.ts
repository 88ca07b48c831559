const decoder = new TextDecoder();

/** Returns what a text says as JSON; `undefined` if it is none. Bytes are UTF-8; a mark of it at their beginning is passed over. */
export function parsedJson(text: string | Uint8Array): unknown {
  try {
    return JSON.parse(typeof text === 'string' ? text : decoder.decode(text));
  } catch {
    return undefined;
  }
}
