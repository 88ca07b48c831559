/**
 * What a client sees of limits: an answer that a limit ends, which is a whole message, and a refusal that says which limit it was.
 *
 * Start a gateway with limits first (without a provider it serves simulated models):
 *
 *     npx spillway serve --tenant 'name=*,tokensPerDay=500,answerTokens=40'
 *     node examples/06-limits.ts
 */
import OpenAI, { APIError } from 'openai';

const baseURL = process.env['SPILLWAY_URL'] ?? 'http://127.0.0.1:8080/v1';
const client = new OpenAI({ baseURL, apiKey: process.env['SPILLWAY_KEY'] ?? 'none' });

const { data, response } = await client.chat.completions
  .create({
    model: 'sim:tokens=300,tps=200',
    messages: [{ role: 'user', content: 'Why does water flow over a spillway?' }],
    stream: true,
  })
  .withResponse();
console.log(`tokens left today: ${response.headers.get('x-ratelimit-remaining-tokens')}`);
for await (const { choices } of data) {
  process.stdout.write(choices[0]?.delta.content ?? '');
  const reason = choices[0]?.finish_reason;
  if (reason !== undefined && reason !== null) console.log(`\nended with the reason: ${reason}`);
}

// Until the day's tokens are used up.
try {
  for (;;) {
    await client.chat.completions.create({
      model: 'sim:tokens=30,tps=0',
      messages: [{ role: 'user', content: 'And now?' }],
    });
  }
} catch (error) {
  if (!(error instanceof APIError)) throw error;
  console.log(`${error.status} ${String(error.code)}: ${error.message}`);
}
