import type { ServerResponse } from 'node:http';
import { z } from 'zod';
import { AnswerServer } from './answer-server.ts';

const name = z.string().regex(/^[a-z_][\w.-]{0,63}$/iu);
const part = z.union([
  z.strictObject({ text: z.string().min(1) }),
  z.strictObject({
    functionCall: z.strictObject({
      id: z.string().optional(),
      name,
      args: z.record(z.string(), z.unknown()),
    }),
    thoughtSignature: z.string().min(1).optional(),
  }),
  z.strictObject({
    functionResponse: z.strictObject({
      id: z.string().optional(),
      name,
      response: z.record(z.string(), z.unknown()),
    }),
  }),
]);

/** What a request may have. */
const requestShape = z.strictObject({
  contents: z.array(z.strictObject({ role: z.enum(['user', 'model']), parts: z.array(part).min(1) })).min(1),
  systemInstruction: z
    .strictObject({ parts: z.array(z.strictObject({ text: z.string().min(1) })).min(1) })
    .optional(),
  generationConfig: z.strictObject({ maxOutputTokens: z.int().min(1) }).optional(),
  tools: z
    .array(
      z.strictObject({
        functionDeclarations: z
          .array(
            z.strictObject({
              name,
              description: z.string(),
              parameters: z
                .looseObject({
                  type: z.literal('OBJECT'),
                  properties: z
                    .record(z.string(), z.looseObject({ type: z.string().regex(/^[A-Z]+$/u) }))
                    .refine(
                      (fields) => Object.keys(fields).length > 0,
                      'should be non-empty for OBJECT type',
                    ),
                })
                .refine((schema) => !('additionalProperties' in schema), 'Unknown name')
                .optional(),
            }),
          )
          .min(1),
      }),
    )
    .min(1)
    .optional(),
});

export type ContentRequest = z.infer<typeof requestShape>;

/** A server of Gemini's API. `signs`: it wants signatures of thoughts, as Gemini 3 does. */
export function contentServer(
  answer: (response: ServerResponse, request: ContentRequest) => void,
  { model = 'gemini-3-flash', signs = false }: { readonly model?: string; readonly signs?: boolean } = {},
): AnswerServer<ContentRequest> {
  return new AnswerServer(
    {
      path: `/v1beta/models/${model}:streamGenerateContent?alt=sse`,
      headersStatus: 400,
      refuseHeaders: (headers) =>
        headers['x-goog-api-key'] === 'sk-test'
          ? undefined
          : `API key not valid: ${String(headers['x-goog-api-key'])}.`,
      read: (body) => {
        const parsed = requestShape.safeParse(body);
        if (!parsed.success) return { wrong: parsed.error.message };
        const wrong = wrongIn(parsed.data) ?? (signs ? unsignedIn(parsed.data) : undefined);
        return wrong === undefined ? { request: parsed.data } : { wrong };
      },
      errorBody: (code, message, isForHeaders) => ({
        error: {
          code,
          message,
          status: 'INVALID_ARGUMENT',
          details: isForHeaders
            ? [{ '@type': 'type.googleapis.com/google.rpc.ErrorInfo', reason: 'API_KEY_INVALID' }]
            : [],
        },
      }),
    },
    answer,
  );
}

/** What is wrong with the order of contents. */
function wrongIn({ contents }: ContentRequest): string | undefined {
  if (contents[0]?.role !== 'user' || contents.at(-1)?.role !== 'user')
    return 'Please ensure that multiturn requests begin and end with a user role.';
  for (const [at, { parts, role }] of contents.entries()) {
    if (role === contents[at - 1]?.role) return 'Please ensure that multiturn requests alternate.';
    const asked = (contents[at - 1]?.parts ?? []).flatMap((one) =>
      'functionCall' in one ? [one.functionCall] : [],
    );
    const given = parts.flatMap((one) => ('functionResponse' in one ? [one.functionResponse] : []));
    const isMatching = asked.every(
      (call, index) => call.name === given[index]?.name && call.id === given[index].id,
    );
    if (asked.length !== given.length || !isMatching)
      return 'Please ensure that the function responses are equal to the function calls of the turn before.';
    if (role === 'user' ? parts.some((one) => 'functionCall' in one) : given.length > 0)
      return 'Please ensure that function calls are of the model.';
  }
  return undefined;
}

/** The first call of a turn has a signature, as it was given or in place of one. */
function unsignedIn({ contents }: ContentRequest): string | undefined {
  const isUnsigned = contents.some(({ parts }) => {
    const first = parts.find((one) => 'functionCall' in one);
    return first !== undefined && first.thoughtSignature === undefined;
  });
  return isUnsigned ? 'Function call is missing a thought_signature in functionCall parts.' : undefined;
}

/** An event of an answer. The API ends lines with CRLF. */
export function chunkOf(parts: readonly object[], more: object = {}, fields: object = {}): string {
  const candidate = { content: { role: 'model', parts }, index: 0, ...more };
  return `data: ${JSON.stringify({ candidates: [candidate], modelVersion: 'gemini-3-flash', ...fields })}\r\n\r\n`;
}
