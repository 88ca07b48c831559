import type { JSX } from 'preact';
import type {
  DemonstrationInterruption,
  Lane,
  LaneSample,
} from '../../../packages/gateway/src/voice/demonstration-lines.ts';
import { Hint } from '../hint.tsx';
import { type Loudness, shownMs } from './call-run.ts';

/** The axis of what waits: as long as the longest answer. */
const axisMs = 14_000;
const tickMs = 2000;
const traceHeight = 60;

/** In the order in which they are shown. */
export const lanes = ['spillway', 'naive'] as const satisfies readonly Lane[];

export const laneNames: Readonly<Record<Lane, string>> = {
  spillway: 'Spillway',
  naive: 'A naive bridge',
};
const laneTexts: Readonly<Record<Lane, string>> = {
  spillway: 'At most 800 ms are on their way to the ear. The rest waits where it can be taken back.',
  naive:
    'All that the model makes goes to the carrier at once, as in samples of fifty lines. It can stop an answer only while that is still being made: here the first tenth of it.',
};

/** One bridge: how much of the answer waits and where, what was heard, and what an interruption has done. */
export function LaneView({
  lane,
  now,
  loudness,
  interruption,
  isRunning,
  windowMs,
}: {
  readonly lane: Lane;
  readonly now: LaneSample | undefined;
  readonly loudness: readonly Loudness[];
  readonly interruption: DemonstrationInterruption | undefined;
  readonly isRunning: boolean;
  readonly windowMs: number;
}): JSX.Element {
  const unwantedMs = isRunning ? (now?.unwantedMs ?? 0) : 0;
  const id = `lane-${lane}`;
  return (
    <section class="call-lane" data-lane={lane} aria-labelledby={id}>
      <div class="call-head">
        <h3 id={id}>{laneNames[lane]}</h3>
        <p class="hint">{laneTexts[lane]}</p>
        <p class="unwanted-figure" data-level={unwantedMs > 0 ? 'bad' : 'ok'}>
          <b>{msText(unwantedMs)}</b>
          <span>words nobody wants, still in buffers</span>
        </p>
      </div>
      <div class="call-course">
        <Buffers lane={lane} now={now} unwantedMs={unwantedMs} windowMs={windowMs} />
        <Trace lane={lane} loudness={loudness} />
        <p class="result" data-state={lane === 'naive' && interruption !== undefined ? 'failed' : 'ok'}>
          {resultText(lane, unwantedMs, interruption, now)}
        </p>
        <Facts lane={lane} now={now} windowMs={windowMs} />
      </div>
    </section>
  );
}

/** What waits between the model and the ear, in milliseconds of speech. */
function Buffers({
  lane,
  now,
  unwantedMs,
  windowMs,
}: {
  readonly lane: Lane;
  readonly now: LaneSample | undefined;
  readonly unwantedMs: number;
  readonly windowMs: number;
}): JSX.Element {
  const { atEarMs = 0, inBridgeMs = 0 } = now ?? {};
  const x = (ms: number): string => `${Math.min(100, (ms / axisMs) * 100)}%`;
  const label = `${msText(atEarMs)} at the ear, ${msText(inBridgeMs)} in the bridge, of these ${msText(unwantedMs)} that nobody wants`;
  return (
    <div class="call-row">
      <span aria-hidden="true">waits</span>
      <svg class="buffers" width="100%" height="26" role="img" aria-label={label}>
        <defs>
          <pattern id={`hatch-${lane}`} width="8" height="8" patternUnits="userSpaceOnUse">
            <path class="hatch" d="M-2 10 10 -2M-2 2 2 -2M6 10 10 6" />
          </pattern>
        </defs>
        <rect class="at-ear" width={x(atEarMs)} height="26" />
        <rect
          class="in-bridge"
          x={x(atEarMs)}
          width={x(Math.min(inBridgeMs, Math.max(0, axisMs - atEarMs)))}
          height="26"
        />
        <rect class="unwanted-part" width={x(unwantedMs)} height="26" />
        <rect fill={`url(#hatch-${lane})`} width={x(unwantedMs)} height="26" />
        {lane === 'spillway' && <line class="bound" x1={x(windowMs)} x2={x(windowMs)} y1="0" y2="26" />}
      </svg>
      <div class="axis ms-axis" aria-hidden="true">
        {Array.from({ length: axisMs / tickMs }, (_, index) => (
          <span key={index} style={{ left: x(index * tickMs) }}>
            {(index * tickMs).toLocaleString('en')}
            {index === 0 && ' ms'}
          </span>
        ))}
      </div>
    </div>
  );
}

/** The last twenty seconds: the caller above, what the ear has played below. */
function Trace({
  lane,
  loudness,
}: {
  readonly lane: Lane;
  readonly loudness: readonly Loudness[];
}): JSX.Element {
  const endMs = Math.max(shownMs, loudness.at(-1)?.toMs ?? 0);
  const half = traceHeight / 2;
  const x = (ms: number): number => ((ms - (endMs - shownMs)) / shownMs) * 1000;
  // One path of each colour: two hundred rectangles a lane would be drawn ten times a second.
  const bars = (heights: (one: Loudness) => number, isUp: boolean): string =>
    loudness
      .map((one) => {
        const height = heights(one) * (half - 3);
        const left = x(one.fromMs);
        const width = Math.max(1, x(one.toMs) - left - 1);
        return height < 0.5
          ? ''
          : `M${left.toFixed(1)} ${half + (isUp ? -1 : 1)}h${width.toFixed(1)}v${((isUp ? -1 : 1) * height).toFixed(1)}h${(-width).toFixed(1)}z`;
      })
      .join('');
  return (
    <div class="call-row">
      <span aria-hidden="true">
        caller
        <br />
        heard
      </span>
      <svg
        class="call-sound"
        viewBox={`0 0 1000 ${traceHeight}`}
        preserveAspectRatio="none"
        width="100%"
        height={traceHeight}
        role="img"
        aria-label={`What the caller said and heard in the last ${shownMs / 1000} s`}
      >
        <line class="floor" x1="0" x2="1000" y1={half} y2={half} />
        <path class="mouth" d={bars(({ mouth }) => mouth, true)} />
        <path class="ear" d={bars(({ ears, unwanted }) => (unwanted[lane] ? 0 : ears[lane]), false)} />
        <path
          class="ear-unwanted"
          d={bars(({ ears, unwanted }) => (unwanted[lane] ? ears[lane] : 0), false)}
        />
      </svg>
    </div>
  );
}

function Facts({
  lane,
  now,
  windowMs,
}: {
  readonly lane: Lane;
  readonly now: LaneSample | undefined;
  readonly windowMs: number;
}): JSX.Element {
  const { atEarMs = 0, inBridgeMs = 0, marksBack = 0, marksOut = 0, toModelMs = 0 } = now ?? {};
  return (
    <dl class="facts call-facts">
      <div>
        <dt>
          <Hint text="Speech that the carrier has and has not played. Nobody can take it back but by telling the carrier to drop all of it.">
            At the ear
          </Hint>
        </dt>
        <dd>
          {msText(atEarMs)}
          {lane === 'spillway' && <span class="sub"> of {msText(windowMs)}</span>}
        </dd>
      </div>
      <div>
        <dt>
          <Hint text="Speech that the model has made and that waits here, until the ear has room.">
            Waits in the bridge
          </Hint>
        </dt>
        <dd>{msText(inBridgeMs)}</dd>
      </div>
      <div>
        <dt>
          <Hint text="What the caller has said and the model has not got.">Caller to model</Hint>
        </dt>
        <dd>{msText(toModelMs)}</dd>
      </div>
      <div>
        <dt>
          <Hint text="A mark goes with every 160 ms of speech, and comes back when that was played. It makes room for more, and says what was heard.">
            Marks
          </Hint>
        </dt>
        <dd>{lane === 'naive' ? 'none are sent' : `${marksOut} out, ${marksBack} came back`}</dd>
      </div>
    </dl>
  );
}

/** What became of the answer that was spoken into, in words. */
function resultText(
  lane: Lane,
  unwantedMs: number,
  interruption: DemonstrationInterruption | undefined,
  now: LaneSample | undefined,
): string {
  if (unwantedMs > 0)
    return lane === 'naive'
      ? `It talks on over the caller, for ${msText(unwantedMs)} more.`
      : 'The caller speaks. It stops.';
  if (interruption === undefined) return now === undefined ? '' : 'Nobody has interrupted yet.';
  const { droppedAtEarMs, droppedInBridgeMs, heardMs, quietAfterMs, toldMs } = interruption;
  if (droppedAtEarMs + droppedInBridgeMs === 0 && toldMs === null)
    return `It talked on for ${msText(quietAfterMs)}. Nothing was dropped, and the model was told nothing: it believes that all of it was heard.`;
  const told = toldMs === null ? 'The model was told nothing' : `The model was told ${msText(toldMs)}`;
  const heard = heardMs === null ? '' : ` ${msText(heardMs)} of the answer were heard.`;
  const early = lane === 'naive' ? ' The answer was still being made: later, it talks on.' : '';
  return `It was quiet after ${msText(quietAfterMs)}. Dropped: ${msText(droppedAtEarMs)} at the ear, ${msText(droppedInBridgeMs)} in the bridge.${heard} ${told}.${early}`;
}

function msText(ms: number): string {
  return `${Math.round(ms).toLocaleString('en')} ms`;
}
