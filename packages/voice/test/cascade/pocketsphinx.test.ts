import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openPocketsphinx, pocketsphinxMissing, type PocketsphinxOptions } from '@spillway/voice';
import { describe, expect, onTestFinished, type TestContext, test } from 'vitest';
import { needs } from '../../../core/test/support/needs.ts';
import { until } from '../../../core/test/support/until.ts';
import { OpenedRecogniser } from '../support/opened-recogniser.ts';
import { clipIn, wideband } from '../support/recogniser-engines.ts';

const missing = await pocketsphinxMissing();
const packages = 'apt-get install pocketsphinx-en-us python3-pocketsphinx';
const fliteProgram = '/usr/bin/flite';
const hasFlite = existsSync(fliteProgram);

function needsPocketsphinx(context: TestContext): void {
  needs(context, missing === undefined, missing ?? '');
}

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), 'spillway-sphinx-'));
  onTestFinished(() => rmSync(path, { recursive: true }));
  return path;
}

/** A program that stands in for Python. */
function script(text: string): string {
  const path = join(folder(), 'python');
  writeFileSync(path, `#!/bin/sh\n${text}\n`);
  chmodSync(path, 0o755);
  return path;
}

/** Python, and the process that it is. */
function watched(): { readonly python: string; readonly pid: () => number } {
  const file = join(folder(), 'pid');
  const python = script(`echo $$ > ${file}\nexec /usr/bin/python3 "$@"`);
  return { python, pid: () => Number(readFileSync(file, 'utf8')) };
}

/** Speech that a machine makes: 16 bits, 16,000 samples a second. */
function flite(text: string): Uint8Array {
  const file = join(folder(), 'speech.wav');
  execFileSync(fliteProgram, ['-voice', 'rms', '-t', text, '-o', file]);
  // A header of 44 bytes, and 16,000 samples a second with this voice.
  const wav = readFileSync(file);
  expect(wav.readUInt32LE(24)).toBe(16_000);
  return wav.subarray(44);
}

async function opened(options: PocketsphinxOptions = {}): Promise<OpenedRecogniser> {
  const heard = new OpenedRecogniser(openPocketsphinx(options));
  await heard.next('ready');
  return heard;
}

describe('words of synthetic speech', () => {
  test('with a grammar: each sentence, and where its words are', async (context) => {
    needsPocketsphinx(context);
    needs(context, hasFlite, 'flite');
    const sentences = [
      'please transfer two hundred dollars',
      'what time do you open on saturday',
      'call me back tomorrow morning',
    ];
    const grammar = `#JSGF V1.0; grammar bank; public <said> = ${sentences.join(' | ')} | good bye;`;
    const heard = await opened({ grammar });
    for (const [index, sentence] of sentences.entries()) {
      const audio = flite(sentence);
      heard.say(audio);
      const { text, words } = await heard.next('final', index + 1);
      expect(text).toBe(sentence);
      expect(words.map((word) => word.text).join(' ')).toBe(sentence);
      for (const [place, { fromMs, toMs }] of words.entries()) {
        expect(fromMs).toBeGreaterThanOrEqual(words[place - 1]?.toMs ?? 0);
        expect(toMs - fromMs).toBeGreaterThan(50);
      }
      expect(words.at(-1)?.toMs).toBeGreaterThan(audio.byteLength / 32 - 500);
      expect(words.at(-1)?.toMs).toBeLessThanOrEqual(audio.byteLength / 32);
    }
    expect(heard.of('partial').length).toBeGreaterThan(0);
  });

  test('with all words of the language', async (context) => {
    needsPocketsphinx(context);
    needs(context, hasFlite, 'flite');
    const heard = await opened();
    const sentence = 'please transfer two hundred dollars to my savings account tomorrow morning';
    heard.say(flite(sentence));
    const { text } = await heard.next('final');
    expect(text).toBe(sentence);
  });

  test('a silence in front moves the words, and no other', async (context) => {
    needsPocketsphinx(context);
    const { audio, text } = clipIn('caller-hello', wideband);
    const grammar =
      '#JSGF V1.0; grammar library; public <said> = hello when are you open | thank you goodbye;';
    const heard = await opened({ grammar });
    heard.say(audio);
    const { words } = await heard.next('final');
    heard.say(Buffer.concat([new Uint8Array(32_000), audio]));
    const { words: later } = await heard.next('final', 2);
    expect(later.map((word) => word.text).join(' ')).toBe(text.toLowerCase().replaceAll(/[,?]/g, ''));
    // The first word may take some of the silence before it.
    for (const [index, { toMs }] of later.entries())
      expect(Math.abs(toMs - 1000 - (words[index]?.toMs ?? 0))).toBeLessThanOrEqual(60);
  });
});

describe('pressure', () => {
  test('what the program has not worked on is unconfirmed, to 100 ms', async (context) => {
    needsPocketsphinx(context);
    const heard = await opened();
    heard.speak(new Uint8Array(32_000 + 1600));
    expect(heard.recogniser.unconfirmedMs).toBe(1050);
    await until(() => heard.recogniser.unconfirmedMs === 50);
    heard.recogniser.finish();
    await until(() => heard.recogniser.unconfirmedMs === 0);
  });

  test('a program that stands still is the end, before more than 1 MiB waits for it', async (context) => {
    needsPocketsphinx(context);
    const { pid, python } = watched();
    const heard = await opened({ python });
    process.kill(pid(), 'SIGSTOP');
    const second = new Uint8Array(32_000);
    let sentMs = 0;
    await until(() => {
      heard.speak(second);
      if (heard.of('ended').length > 0) return true;
      sentMs += 1000;
      const { bufferedMs, unconfirmedMs } = heard.recogniser;
      expect(unconfirmedMs).toBe(sentMs);
      expect(bufferedMs).toBeLessThanOrEqual(unconfirmedMs);
      expect(bufferedMs).toBeLessThanOrEqual(1_048_576 / 32 + 1);
      return false;
    });
    expect(heard.story).toEqual(['ready', 'ended late']);
    expect(sentMs).toBeGreaterThan(30_000);
    await until(() => !existsSync(`/proc/${pid()}`));
  });

  test('an utterance that takes too long is the end', async (context) => {
    needsPocketsphinx(context);
    const { pid, python } = watched();
    const heard = await opened({ python, finalTimeoutMs: 300 });
    process.kill(pid(), 'SIGSTOP');
    heard.say(new Uint8Array(32_000));
    await heard.next('ended');
    expect(heard.story).toEqual(['ready', 'ended late']);
  });
});

describe('the program', () => {
  test('is not there: what to install is said', async () => {
    for (const options of [
      { python: '/no/python' },
      { model: '/no/model' },
      // A Python without the package, as far as this program can tell.
      { python: script('echo \'{"kind":"missing","what":"python3-pocketsphinx"}\'') },
    ]) {
      if ('model' in options && missing !== undefined) continue;
      expect(await pocketsphinxMissing(options)).toContain(packages);
      const heard = new OpenedRecogniser(openPocketsphinx(options));
      const { message } = await heard.next('ended');
      expect(heard.story).toEqual(['ended unreachable']);
      expect(message).toContain(packages);
    }
  });

  test('does not take a grammar that is none', async (context) => {
    needsPocketsphinx(context);
    const heard = new OpenedRecogniser(openPocketsphinx({ grammar: 'public <nothing' }));
    await heard.next('ended');
    expect(heard.story).toEqual(['ended refused']);
  });

  test('does not load in time', async () => {
    const heard = new OpenedRecogniser(
      openPocketsphinx({ python: script('exec cat > /dev/null'), startTimeoutMs: 200 }),
    );
    await heard.next('ended');
    expect(heard.story).toEqual(['ended late']);
  });

  test('dies: that is told', async (context) => {
    needsPocketsphinx(context);
    const { pid, python } = watched();
    const heard = await opened({ python });
    heard.say(new Uint8Array(32_000));
    process.kill(pid(), 'SIGKILL');
    const { message } = await heard.next('ended');
    expect(heard.story.at(-1)).toBe('ended lost');
    expect(message).toContain('SIGKILL');
    expect(heard.recogniser.unconfirmedMs).toBe(0);
  });

  test('ends when the one who reads it is gone', async (context) => {
    needsPocketsphinx(context);
    const { pid, python } = watched();
    const heard = await opened({ python });
    heard.speak(new Uint8Array(32_000));
    heard.recogniser.close();
    await until(() => !existsSync(`/proc/${pid()}`));
  });

  test('has no environment of this process: the keys there are none of its business', async (context) => {
    needsPocketsphinx(context);
    process.env['SPILLWAY_TEST_KEY'] = 'secret';
    onTestFinished(() => {
      delete process.env['SPILLWAY_TEST_KEY'];
    });
    const { pid, python } = watched();
    await opened({ python });
    const names = readFileSync(`/proc/${pid()}/environ`, 'latin1')
      .split('\0')
      .map((line) => line.split('=', 1)[0]);
    expect(names).toContain('LC_ALL');
    expect(names).not.toContain('SPILLWAY_TEST_KEY');
  });

  test('wrong options are named', () => {
    for (const [name, options] of [
      ['grammar', { grammar: 'x'.repeat(1_048_577) }],
      ['startTimeoutMs', { startTimeoutMs: 99 }],
      ['finalTimeoutMs', { finalTimeoutMs: 600_001 }],
    ] as const)
      expect(() => openPocketsphinx(options)).toThrow(name);
  });
});
