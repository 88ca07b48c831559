import { type AnySchema, Ajv, type ErrorObject, type ValidateFunction } from 'ajv';
import { SpillwayError } from '@spillway/core';
import type { ModelTool } from '../model/model-tool.ts';

/** The arguments of a tool, or what is wrong with them, in words for the model. */
type CheckedArguments = { readonly input: unknown } | { readonly wrong: string };

/** Reads and checks the arguments of a tool. */
export type ArgumentsCheck = (text: string) => CheckedArguments;

/** The most that a model is told of what is wrong. */
const maxWrong = 3;

/** Schemas of other tools may have keywords that are not known here; formats are the tool's own to check. */
const ajv = new Ajv({
  strict: false,
  validateFormats: false,
  logger: false,
  allErrors: true,
  addUsedSchema: false,
});
/** A schema is compiled once, and not for each call. */
const compiled = new WeakMap<object, ValidateFunction>();

/**
 * The check of a tool's arguments.
 *
 * @throws {SpillwayError} `invalid_option` when `parameters` is no JSON Schema.
 */
export function checkOfArguments({ name, parameters }: ModelTool): ArgumentsCheck {
  const isValid = compiled.get(parameters) ?? compile(name, parameters);
  compiled.set(parameters, isValid);
  return (text) => {
    let input: unknown;
    try {
      input = JSON.parse(text === '' ? '{}' : text);
    } catch {
      return { wrong: 'they are no JSON' };
    }
    if (isValid(input)) return { input };
    return { wrong: (isValid.errors ?? []).slice(0, maxWrong).map(describe).join('; ') };
  };
}

function compile(name: string, schema: AnySchema): ValidateFunction {
  try {
    return ajv.compile(schema);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new SpillwayError(
      'invalid_option',
      `tools: ${name}: parameters: expected a JSON Schema, got one that cannot be used: ${reason}.`,
    );
  }
}

/** Where it is wrong and what is expected. The values themselves are not repeated. */
function describe({ instancePath, keyword, message, params }: ErrorObject): string {
  const allowed: unknown = keyword === 'enum' ? params['allowedValues'] : params['additionalProperty'];
  const detail = allowed === undefined ? '' : ` (${JSON.stringify(allowed)})`;
  return `${instancePath === '' ? 'the arguments' : instancePath} ${message ?? 'are wrong'}${detail}`;
}
