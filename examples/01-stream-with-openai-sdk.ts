/**
 * The official SDK through the gateway: only the base URL is different.
 *
 *     npm start                                          in one terminal
 *     node examples/01-stream-with-openai-sdk.ts         in another
 */
import OpenAI from 'openai';

const client = new OpenAI({
  baseURL: process.env['SPILLWAY_URL'] ?? 'http://127.0.0.1:8080/v1',
  apiKey: 'none',
});

const stream = await client.chat.completions.create({
  model: 'simulated/sim:tokens=23',
  messages: [{ role: 'user', content: 'What is a spillway?' }],
  stream: true,
});

for await (const chunk of stream) process.stdout.write(chunk.choices[0]?.delta.content ?? '');
process.stdout.write('\n');
