/** What the API knows of a schema, beside `type` and what has schemas in it. Anything else is refused by it. */
const knownFields = [
  'format',
  'title',
  'description',
  'nullable',
  'enum',
  'required',
  'pattern',
  'minimum',
  'maximum',
  'minItems',
  'maxItems',
  'minLength',
  'maxLength',
  'minProperties',
  'maxProperties',
] as const;

/** Schemas within schemas, at most. */
const maxDepth = 32;

/**
 * A JSON Schema in the API's own kind. It takes JSON Schema, too, but a live model then asks for tools without arguments. What the
 * API does not know is left out, so that it is told less, and never something else: arguments are checked against the
 * whole schema by who runs the tool.
 */
export function geminiSchema(schema: unknown, depth = 0): object {
  if (typeof schema !== 'object' || schema === null || depth > maxDepth) return {};
  const fields = schema as Readonly<Record<string, unknown>>;
  const made: Record<string, unknown> = {};
  for (const name of knownFields) if (fields[name] !== undefined) made[name] = fields[name];
  const { anyOf = fields['oneOf'], const: only, items, properties, type } = fields;
  if (only !== undefined) made['enum'] = [only];
  // The API knows words alone.
  const values: unknown = made['enum'];
  if (!Array.isArray(values) || !values.every((one) => typeof one === 'string')) delete made['enum'];
  const types = (Array.isArray(type) ? type : [type]).filter((one) => typeof one === 'string');
  if (types.includes('null')) made['nullable'] = true;
  const [first, ...others] = types.filter((one) => one !== 'null').map((one) => one.toUpperCase());
  if (others.length > 0) made['anyOf'] = [first, ...others].map((one) => ({ type: one }));
  else if (first !== undefined) made['type'] = first;
  else if (types.length > 0) made['type'] = 'NULL';
  if (Array.isArray(anyOf)) made['anyOf'] = anyOf.map((one) => geminiSchema(one, depth + 1));
  if (items !== undefined) made['items'] = geminiSchema(items, depth + 1);
  if (typeof properties === 'object' && properties !== null)
    made['properties'] = Object.fromEntries(
      Object.entries(properties).map(([name, one]) => [name, geminiSchema(one, depth + 1)]),
    );
  return made;
}
