// A chat endpoint as the AI SDK's documentation has it: its own event stream for pages.
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { json } from 'node:stream/consumers';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { streamText } from 'ai';

const [upstream = '', host = '127.0.0.1'] = process.argv.slice(2);
const provider = createOpenAICompatible({ name: 'bench', baseURL: `${upstream}/v1`, apiKey: 'none' });

const server = createServer((incoming, outgoing) => {
  answer(incoming, outgoing).catch(() => outgoing.destroy());
});
server.listen({ port: 0, host, backlog: 4096 }, () => {
  console.log(`listening on http://${host}:${(server.address() as AddressInfo).port}`);
});

async function answer(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
  const { messages, model } = (await json(incoming)) as {
    readonly messages: readonly { readonly content: string }[];
    readonly model: string;
  };
  const prompt = messages[0]?.content ?? 'Hello';
  await streamText({ model: provider(model), prompt, maxRetries: 0 }).pipeUIMessageStreamToResponse(outgoing);
}
