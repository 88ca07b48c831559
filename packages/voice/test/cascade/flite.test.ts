import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { levelOf } from '@spillway/core/audio';
import { fliteMissing, openFlite } from '@spillway/voice';
import { expect, onTestFinished, test } from 'vitest';
import { needs } from '../../../core/test/support/needs.ts';

const missing = await fliteMissing();

/** What a program does that speaks with this `PATH` alone. */
async function speakWithPath(path: string, options = {}): Promise<string> {
  const source = fileURLToPath(new URL('../../src/cascade/speak/flite.ts', import.meta.url));
  const program = `
    import { fliteMissing, openFlite } from ${JSON.stringify(source)};
    const speaker = openFlite(${JSON.stringify(options)});
    const told = [String(await fliteMissing())];
    try {
      for await (const { kind } of speaker.speak('Hello.', { signal: new AbortController().signal })) told.push(kind);
    } catch (error) { told.push(error.code, error.message); }
    console.log(told.join('|'));`;
  return new Promise((resolve, reject) => {
    execFile(
      process.execPath,
      ['--conditions=spillway-source', '--input-type=module', '-e', program],
      { env: { PATH: path }, timeout: 60_000 },
      (error, stdout) => (error ? reject(error) : resolve(stdout.trim())),
    );
  });
}

/** A folder with a program `flite` that does this. */
async function fakeFlite(script: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'spillway-flite-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  await writeFile(join(folder, 'flite'), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  return folder;
}

test('where Flite is not there, it is said how to install it', async () => {
  const hint = 'The program flite is not there: apt-get install flite.';
  expect(await speakWithPath('/nowhere')).toBe(`${hint}|unreachable|${hint}`);
});

test.each([
  ['exits with an error', 'exit 3', 'lost|Flite ended with 3.'],
  ['is killed', 'kill -9 $$', 'lost|Flite ended with SIGKILL.'],
  ['writes nothing', 'exit 0', 'lost|Flite ended in the middle.'],
  ['writes no WAV file', "printf '%05000d' 0", 'bad_message|It made no WAV file of the expected format.'],
  ['never ends', '[ "$1" = --version ] || exec sleep 1000', 'late|There was no audio within 300 ms.'],
])('a program that %s', async (_name, script, told) => {
  const path = `${await fakeFlite(script)}:/usr/bin:/bin`;
  expect(await speakWithPath(path, { firstAudioTimeoutMs: script.includes('sleep') ? 300 : 10_000 })).toBe(
    `undefined|${told}`,
  );
});

test.for(['-voice slt', '--help', 'a; touch x', '$(id)', 'a\0b', `it's "quoted"`])(
  'a text is a text, whatever it begins with: %j',
  async (text, context) => {
    needs(context, missing === undefined, missing ?? '');
    const speaker = openFlite();
    let level = 0;
    for await (const event of speaker.speak(text, { signal: new AbortController().signal }))
      if (event.kind === 'audio') level = Math.max(level, levelOf(speaker.output, event.audio));
    expect(level).toBeGreaterThan(0.005);
  },
);

test('each voice has its rate', async (context) => {
  needs(context, missing === undefined, missing ?? '');
  for (const [voice, sampleRateHz] of [
    ['kal', 8000],
    ['slt', 16_000],
  ] as const) {
    const speaker = openFlite({ voice });
    expect(speaker.output).toEqual({ encoding: 'pcm16', sampleRateHz });
    let bytes = 0;
    for await (const event of speaker.speak('Hello.', { signal: new AbortController().signal }))
      if (event.kind === 'audio') bytes += event.audio.byteLength;
    expect(bytes).toBeGreaterThan(sampleRateHz / 2);
  }
  expect(() => openFlite({ voice: 'other' })).toThrow('voice: expected awb, kal, kal16, rms, slt');
});
