/**
 * The official SDK with Spillway's `fetch`: a connection that is lost is a pause, and a second reader comes later.
 *
 *     npm start                                     in one terminal
 *     node examples/03-a-fetch-that-survives.ts     in another; see it connect
 */
import { createFetch } from '@spillway/client';
import OpenAI from 'openai';

const url = process.env['SPILLWAY_URL'] ?? 'http://127.0.0.1:8080';
const fetch = createFetch({ url, onEvent: ({ type }) => console.error(`[${type}]`) });
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'none', fetch });

const { data: stream, response } = await client.chat.completions
  .create({
    model: 'simulated/sim:tokens=23',
    messages: [{ role: 'user', content: 'What is a spillway?' }],
    stream: true,
  })
  .withResponse();
for await (const chunk of stream) process.stdout.write(chunk.choices[0]?.delta.content ?? '');

// Another tab, another device: whoever has the URL and the key.
const location = response.headers.get('content-location') ?? '';
const again = await fetch(new URL(location, url));
console.log(`\n${location.slice(0, 9)}… has ${(await again.text()).split('\n\n').length - 1} events`);
await fetch.close();
