// An application that reads with the `openai` SDK and serialises every event anew.
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { json } from 'node:stream/consumers';
import OpenAI from 'openai';

const [upstream = '', host = '127.0.0.1'] = process.argv.slice(2);
const client = new OpenAI({ baseURL: `${upstream}/v1`, apiKey: 'none', maxRetries: 0 });

const server = createServer((incoming, outgoing) => {
  answer(incoming, outgoing).catch(() => outgoing.destroy());
});
server.listen({ port: 0, host, backlog: 4096 }, () => {
  console.log(`listening on http://${host}:${(server.address() as AddressInfo).port}`);
});

async function answer(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
  const body = (await json(incoming)) as OpenAI.Chat.ChatCompletionCreateParamsStreaming;
  const chunks = await client.chat.completions.create(body);
  outgoing.writeHead(200, { 'content-type': 'text/event-stream' });
  outgoing.flushHeaders();
  for await (const chunk of chunks) outgoing.write(`data: ${JSON.stringify(chunk)}\n\n`);
  outgoing.end('data: [DONE]\n\n');
}
