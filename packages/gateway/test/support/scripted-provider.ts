import type { ServerResponse } from 'node:http';
import { openStrictProvider, type ReadRequest, type StrictProvider } from './strict-provider.ts';

/** What a provider does with a request. */
export type Script = (response: ServerResponse, request: ReadRequest) => void;

/** A provider that does for each model what its script says, and that can be told another while it runs. */
export interface ScriptedProvider extends StrictProvider {
  /** By the model in the body or the path. A model without one gets an answer. */
  readonly scripts: Map<string, Script>;
  /** The requests for one model, in order. */
  readonly requestsFor: (model: string) => readonly ReadRequest[];
  readonly close: () => void;
}

export async function openScriptedProvider(name: string): Promise<ScriptedProvider> {
  const scripts = new Map<string, Script>();
  const provider = await openStrictProvider((request, response) => {
    (scripts.get(modelOf(request)) ?? answers(name))(response, request);
  });
  return {
    ...provider,
    scripts,
    requestsFor: (model) => provider.requests.filter((request) => modelOf(request) === model),
  };
}

function modelOf({ fields, path }: ReadRequest): string {
  const inPath = /\/models\/([^:]+):|\/deployments\/([^/]+)\//.exec(path);
  return decodeURIComponent(inPath?.[1] ?? inPath?.[2] ?? String(fields['model']));
}

const events = { 'content-type': 'text/event-stream' } as const;

/** Writes an event of a chat. */
export function writeToken(response: ServerResponse, content: string): void {
  if (!response.headersSent) response.writeHead(200, events);
  response.write(
    `data: ${JSON.stringify({ choices: [{ index: 0, delta: { content }, finish_reason: null }] })}\n\n`,
  );
}

/** Answers a chat in two tokens, the provider's name and a full stop. */
export function answers(name: string): Script {
  return (response, { fields }) => {
    if (fields['stream'] !== true) {
      response.writeHead(200, { 'content-type': 'application/json' });
      response.end(
        JSON.stringify({
          choices: [{ index: 0, message: { role: 'assistant', content: `${name}.` }, finish_reason: 'stop' }],
        }),
      );
      return;
    }
    writeToken(response, name);
    writeToken(response, '.');
    response.write(
      `data: ${JSON.stringify({ choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] })}\n\n`,
    );
    response.end('data: [DONE]\n\n');
  };
}

/** Refuses with a status and these headers. */
export function refuses(status: number, headers: Readonly<Record<string, string>> = {}): Script {
  return (response) => {
    response.writeHead(status, { 'content-type': 'application/json', ...headers });
    response.end(
      JSON.stringify({ error: { message: `refused with ${status}`, type: 'server_error', code: null } }),
    );
  };
}

export const hangsUp: Script = (response) => void response.socket?.destroy();

/** The first token comes so much later than the head. */
export function isLate(ms: number, name: string): Script {
  return (response, request) => {
    response.writeHead(200, events).flushHeaders();
    const timer = setTimeout(() => answers(name)(response, request), ms);
    response.on('close', () => clearTimeout(timer));
  };
}
