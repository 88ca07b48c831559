import { describe, expect, test } from 'vitest';
import { levelOf, msOfBytes, telephoneAudio } from '@spillway/core/audio';
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { speech, speechNames } from '../../src/simulate/speech.ts';

const folder = fileURLToPath(new URL('../../speech/', import.meta.url));

describe('the clips', () => {
  test('are as many as their names, small, and loud enough for a telephone', () => {
    const files = readdirSync(folder).filter((name) => name.endsWith('.ulaw'));
    expect(files.map((name) => name.replace('.ulaw', '')).toSorted()).toEqual([...speechNames].toSorted());
    const clips = speechNames.map((name) => speech(name));
    expect(clips.reduce((sum, { audio }) => sum + audio.byteLength, 0)).toBeLessThan(600_000);
    for (const { audio } of clips) {
      expect(levelOf(telephoneAudio, audio)).toBeGreaterThan(0.05);
      expect(levelOf(telephoneAudio, audio)).toBeLessThan(0.3);
    }
    expect(msOfBytes(telephoneAudio, speech('model-events').audio.byteLength)).toBeGreaterThan(8000);
  });

  test('say what their script says', () => {
    const script = readFileSync(`${folder}make.sh`, 'utf8');
    for (const name of speechNames) {
      const voice = name.startsWith('model') ? 'slt' : 'rms';
      expect(script).toContain(`say ${name} ${voice} '${speech(name).text}'\n`);
    }
  });

  test('are in the package that is published, with their notice', () => {
    const packed = execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], {
      cwd: fileURLToPath(new URL('../..', import.meta.url)),
      encoding: 'utf8',
    });
    const [{ files }] = JSON.parse(packed) as [{ files: { path: string }[] }];
    const paths = files.map(({ path }) => path);
    for (const name of speechNames) expect(paths).toContain(`speech/${name}.ulaw`);
    expect(paths).toContain('speech/NOTICE');
  });
});
