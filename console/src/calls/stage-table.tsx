import type { StageFigures, StageName } from '@spillway/voice';
import type { JSX } from 'preact';
import { Hint } from '../hint.tsx';
import { countText, durationText } from '../units.ts';

const stageTexts: Readonly<Record<StageName, string>> = {
  recognise: 'Recognise',
  reason: 'Reason',
  speak: 'Speak',
};

/** A stage that takes longer than the speech lasts falls behind. */
const tooSlow = 1;
/** Less speech than this says nothing of how fast a stage is. */
const minDoneMs = 1000;

/** What is in each stage of a cascade, and what has gone through it. */
export function StageTable({ stages }: { readonly stages: readonly StageFigures[] }): JSX.Element {
  return (
    <div class="doc-table" tabIndex={0} role="group" aria-label="Stages of the call">
      <table class="calls-table stages-table">
        <thead>
          <tr>
            <th scope="col">Stage</th>
            <th scope="col">By</th>
            {columns.map(({ hint, label }) => (
              <th key={label} scope="col" class="number">
                <Hint text={hint}>{label}</Hint>
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {stages.map((figures) => (
            <tr key={figures.stage}>
              <th scope="row">{stageTexts[figures.stage]}</th>
              <td class="mono">{figures.api}</td>
              {columns.map(({ isBad, label, valueOf }) => (
                <td key={label} class="number" data-level={isBad?.(figures) === true ? 'bad' : 'ok'}>
                  {valueOf(figures)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

interface Column {
  readonly label: string;
  readonly hint: string;
  readonly valueOf: (figures: StageFigures) => string;
  readonly isBad?: (figures: StageFigures) => boolean;
}

const columns: readonly Column[] = [
  {
    label: 'Waits',
    hint: 'What it was given and has not done, in speech: what the caller said, or what the words take to be spoken.',
    valueOf: ({ depthMs }) => `${countText(depthMs)} ms`,
  },
  {
    label: 'First result',
    hint: 'How long its latest one took: the words of what the caller said, the first words of an answer, the first sound of a sentence.',
    valueOf: ({ waitedMs }) => (waitedMs === undefined ? '–' : `${countText(waitedMs)} ms`),
  },
  {
    label: 'Done',
    hint: 'The speech that has gone through it, and the characters that were given to be spoken.',
    valueOf: ({ characters, doneMs }) =>
      characters === 0
        ? durationText(doneMs)
        : `${durationText(doneMs)}, ${countText(characters)} characters`,
  },
  {
    label: 'Real time',
    hint: 'How long it was at work for a second of speech. Above 1 it falls behind.',
    valueOf: ({ busyMs, doneMs }) => (doneMs === 0 ? '–' : (busyMs / doneMs).toFixed(2)),
    isBad: ({ busyMs, doneMs, stage }) =>
      stage !== 'reason' && doneMs > minDoneMs && busyMs / doneMs > tooSlow,
  },
  {
    label: 'Failed',
    hint: 'How often it has failed. The log’s line of the call has the counts, the metrics have the codes.',
    valueOf: ({ errors }) => countText(errors),
    isBad: ({ errors }) => errors > 0,
  },
  {
    label: 'Dropped',
    hint: 'What it was given, or made, for nobody: the caller spoke into it.',
    valueOf: ({ droppedMs }) => durationText(droppedMs),
  },
];
