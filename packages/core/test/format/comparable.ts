/**
 * What an SDK gives, as plain data that two runs can be compared by: getters read, classes taken
 * apart, errors as `{ error: { name, message, … } }`. Keeps `-0`, `Infinity` and own `__proto__` keys.
 */
export function comparable(value: unknown): unknown {
  if (value instanceof Error) return thrown(value);
  if (value instanceof Date) return value.toISOString();
  if (value instanceof Uint8Array) return Buffer.from(value).toString('base64');
  if (value instanceof Map || value instanceof Set) return comparable([...value]);
  if (Array.isArray(value)) return value.map(comparable);
  if (typeof value === 'function') return undefined;
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.keys(value)
      .map((key): [string, unknown] => [key, comparable(read(value, key))])
      .filter(([, entry]) => entry !== undefined),
  );
}

/** Reads the promise; an error is a result too, since a broken stream has to break the same way. */
export async function settled(work: () => Promise<unknown>): Promise<unknown> {
  try {
    return comparable(await work());
  } catch (error) {
    return thrown(error);
  }
}

/** An error, by what a program or a person can tell it by. */
export function thrown(error: unknown): { error: Record<string, unknown> } {
  if (!(error instanceof Error)) return { error: { thrown: comparable(error) } };
  const known = error as Error & Partial<Record<'status' | 'code' | 'type' | 'param' | 'error', unknown>>;
  return {
    error: comparable({
      name: error.name,
      // These quote the event that they did not like, padding and all.
      message: error.message.replace(/^(Type validation failed|JSON parsing failed)[^]*$/, '$1'),
      status: known.status,
      code: known.code,
      type: known.type,
      param: known.param,
      body: known.error,
    }) as Record<string, unknown>,
  };
}

function read(value: object, key: string): unknown {
  try {
    // A plain read would ask the prototype for `__proto__`; an own key of that name comes first, too.
    return Object.hasOwn(value, key) ? (value as Record<string, unknown>)[key] : undefined;
  } catch (error) {
    // A tool's arguments that are no JSON throw where they are read.
    return thrown(error);
  }
}
