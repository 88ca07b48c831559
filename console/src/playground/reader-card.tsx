import type { ComponentChildren, JSX, TargetedPointerEvent } from 'preact';
import { useState } from 'preact/hooks';
import { Meter } from '../meter.tsx';
import { bytesText, countText, durationText, plural } from '../units.ts';
import type { ModelTrace } from './model-trace.ts';
import { type Policy, policies, policyTexts, readingSpeeds, type ReaderPlan } from './plan.ts';
import type { Run } from './run.ts';
import { type RunReader, windowBytes } from './run-reader.ts';
import { StepSlider } from './step-slider.tsx';
import { Track } from './track.tsx';

/** One reader: what it asked for, what became of it. */
export function ReaderCard({
  plan,
  maxBytes,
  run,
  reader,
  onPlan,
  onRemove,
}: {
  readonly plan: ReaderPlan;
  readonly maxBytes: number;
  readonly run: Run | undefined;
  readonly reader: RunReader | undefined;
  readonly onPlan: (plan: ReaderPlan) => void;
  readonly onRemove: () => void;
}): JSX.Element {
  const isRunning = run !== undefined && !run.isOver;
  const bound = (run?.plan.maxBytes ?? maxBytes) + windowBytes;
  return (
    <Card
      name={plan.name}
      state={reader?.state}
      choice={
        <label class="policy-select">
          <span class="visually-hidden">What happens to {plan.name} when it falls behind</span>
          <select
            value={plan.policy}
            disabled={isRunning}
            onChange={({ currentTarget }) => onPlan({ ...plan, policy: currentTarget.value as Policy })}
          >
            {policies.map((policy) => (
              <option key={policy}>{policy}</option>
            ))}
          </select>
        </label>
      }
      settings={
        <>
          <p class="hint">{policyTexts[plan.policy]}</p>
          <StepSlider
            label="Reads"
            steps={readingSpeeds}
            value={plan.eventsPerSecond}
            text={speedText}
            onValue={(eventsPerSecond) => onPlan({ ...plan, eventsPerSecond })}
          />
        </>
      }
      remove={
        !isRunning && (
          <button type="button" class="link" aria-label={`Remove ${plan.name}`} onClick={onRemove}>
            Remove
          </button>
        )
      }
      memory={<Memory name={plan.name} waited={reader?.waited} run={run} boundBytes={bound} />}
    >
      <Track
        label={`${plan.name}: ${plural(reader?.tokens ?? 0, 'token')} read, ${reader?.lostTokens ?? 0} lost`}
        total={run?.plan.tokens ?? 1}
        made={run?.trace.tokens ?? 0}
        stretches={reader?.stretches ?? []}
        {...(run === undefined ? {} : { trace: run.trace })}
      />
      <div class="waiting">
        <span>Waits for it</span>
        <Meter
          label={`What waits for ${plan.name}`}
          value={reader?.lagBytes ?? 0}
          max={bound}
          text={`${bytesText(reader?.lagBytes ?? 0)} of at most ${bytesText(bound)}`}
        />
        <span class="amount">
          <b>{bytesText(reader?.lagBytes ?? 0)}</b> of {bytesText(bound)}
        </span>
      </div>
      {reader !== undefined && run !== undefined && (
        <>
          <Now reader={reader} />
          <p class="result" data-state={reader.state}>
            {resultOf(reader, run.trace, run.startedAtMs)}
          </p>
        </>
      )}
    </Card>
  );
}

/** The pipe beside them, with the same speed of reading. */
export function PipeCard({
  run,
  boundBytes,
  speed,
  onSpeed,
}: {
  /** The readers' bound, for comparison. */
  readonly boundBytes: number;
  readonly run: Run | undefined;
  readonly speed: number;
  readonly onSpeed: (speed: number) => void;
}): JSX.Element {
  const pipe = run?.pipe;
  const waiting = pipe?.waitingBytes ?? 0;
  // There is no bound: the bar is full when all of the reply is outside.
  const most = Math.max(pipe?.peakBytes ?? 0, 65_536);
  const made = run === undefined ? 0 : madeByPipe(run);
  return (
    <Card
      name="Plain pipe"
      isPipe
      state={pipe?.state}
      settings={
        <>
          <p class="hint">
            The same kind of stream without Spillway. It has no bound and no policy: what is not read piles up
            in the process, the kernels and the browser.
          </p>
          <StepSlider label="Reads" steps={readingSpeeds} value={speed} text={speedText} onValue={onSpeed} />
        </>
      }
      memory={<Memory name="Plain pipe" waited={pipe?.waited} run={run} boundBytes={boundBytes} isPipe />}
    >
      <Track
        label={`Plain pipe: ${plural(pipe?.tokens ?? 0, 'token')} read`}
        total={run?.plan.tokens ?? 1}
        made={made}
        stretches={pipe === undefined ? [] : [{ kind: 'got', from: 0, to: pipe.tokens }]}
      />
      <div class="waiting">
        <span>Piles up</span>
        <Meter
          label="What piles up for the plain pipe"
          value={waiting}
          max={most}
          text={`${bytesText(waiting)}, without a bound`}
        />
        <span class="amount">
          <b>{bytesText(waiting)}</b> no bound
        </span>
      </div>
      {run !== undefined && pipe !== undefined && (
        <>
          <p class="now">
            {plural(pipe.tokens, 'token')} read, none merged
            {pipe.state === 'reading' && made - pipe.tokens > 2 && (
              <>
                , <b>{durationText(((made - pipe.tokens) / run.plan.tokensPerSecond) * 1000)} behind</b>
              </>
            )}
          </p>
          <p class="tail" aria-hidden="true">
            <span>{pipe.tail}</span>
          </p>
          <p class="result" data-state={pipe.state}>
            {pipeResultOf(run)}
          </p>
        </>
      )}
    </Card>
  );
}

function Card({
  name,
  state,
  isPipe = false,
  choice,
  settings,
  remove,
  memory,
  children,
}: {
  readonly name: string;
  readonly state: string | undefined;
  readonly isPipe?: boolean;
  readonly choice?: ComponentChildren;
  readonly settings: ComponentChildren;
  readonly remove?: ComponentChildren;
  readonly memory: ComponentChildren;
  readonly children: ComponentChildren;
}): JSX.Element {
  return (
    <article class={isPipe ? 'reader-card pipe' : 'reader-card'} data-state={state} aria-label={name}>
      <div class="settings">
        <div class="name">
          <h3>{name}</h3>
          {remove}
          {choice}
        </div>
        {settings}
      </div>
      <div class="course">
        <div class="live">{children}</div>
        {memory}
      </div>
    </article>
  );
}

/** What waited over time, and the bound: of a reader on the scale of its bound, so that policies differ to the eye. */
function Memory({
  name,
  waited = [],
  run,
  boundBytes,
  isPipe = false,
}: {
  readonly name: string;
  readonly waited: readonly number[] | undefined;
  readonly run: Run | undefined;
  /** The readers' bound. For a pipe it is none, and shows how far beyond it is. */
  readonly boundBytes: number;
  readonly isPipe?: boolean;
}): JSX.Element {
  const [pointed, setPointed] = useState<number>();
  const most = Math.max(boundBytes, isPipe ? (run?.pipe.peakBytes ?? 0) : 0);
  const samples = Math.max(
    50,
    run?.pipe.waited.length ?? 0,
    ...(run?.readers.map((reader) => reader.waited.length) ?? []),
  );
  const yOf = (bytes: number): number => Math.round((1 - bytes / most) * 880) / 10 + 4;
  const points = waited.map((bytes, at) => `${Math.round((at / (samples - 1)) * 1000) / 10} ${yOf(bytes)}`);
  // Of the width, so that it stays right while the picture grows.
  const point = ({ currentTarget, offsetX }: TargetedPointerEvent<SVGSVGElement>): void =>
    setPointed(offsetX / currentTarget.clientWidth);
  const pointedBytes = pointed === undefined ? undefined : waited[Math.round(pointed * (samples - 1))];
  return (
    <div class="memory">
      <svg
        viewBox="0 0 100 92"
        preserveAspectRatio="none"
        role="img"
        aria-label={`What waited for ${name} over time`}
        onPointerMove={point}
        onPointerDown={point}
        onPointerLeave={() => setPointed(undefined)}
      >
        {points.length > 1 && (
          <path d={`M0 92L${points.join('L')}L${((waited.length - 1) / (samples - 1)) * 100} 92Z`} />
        )}
        <line class="bound" x1="0" x2="100" y1={yOf(boundBytes)} y2={yOf(boundBytes)} />
      </svg>
      {pointedBytes !== undefined
        ? `${bytesText(pointedBytes)} ${isPipe ? 'had piled up' : 'waited'} there`
        : isPipe
          ? 'Piles up over time; the line is the bound above'
          : 'Waits over time, and its bound'}
    </div>
  );
}

function Now({ reader }: { readonly reader: RunReader }): JSX.Element {
  const { events, lostTokens, mergedEvents, tokens } = reader;
  const behindMs = reader.behindMs(performance.now());
  return (
    <>
      <p class="now">
        {plural(tokens, 'token')} read in {plural(events, 'event')}
        {mergedEvents > 0 && (
          <>
            , <b>{countText(mergedEvents)} merged</b>
          </>
        )}
        {lostTokens > 0 && (
          <>
            , <b class="bad">{countText(lostTokens)} lost</b>
          </>
        )}
        {reader.state === 'reading' && (
          <>
            , <b>{durationText(behindMs)} behind</b>
          </>
        )}
      </p>
      <p class="tail" aria-hidden="true">
        <span>{reader.tail}</span>
      </p>
    </>
  );
}

function speedText(eventsPerSecond: number): string {
  if (eventsPerSecond === 0) return 'nothing';
  if (eventsPerSecond === Infinity) return 'as fast as it comes';
  return `${plural(eventsPerSecond, 'event')} a second`;
}

/** One line at the end. */
function resultOf(reader: RunReader, trace: ModelTrace, startedAtMs: number): string {
  const { bytes, code, lastAtMs, lostTokens, peakBytes, state, tokens } = reader;
  if (state === 'reading') return '';
  const much = `${bytesText(bytes)} received, at most ${bytesText(peakBytes)} waited`;
  const last = lastAtMs === 0 ? '' : `, last token after ${durationText(lastAtMs - startedAtMs)}`;
  const behindMs = lastAtMs - trace.lastAtMs;
  const late = behindMs > 100 ? ` (${durationText(behindMs)} behind the model)` : ' (with the model)';
  const lost = lostTokens === 0 ? 'nothing lost' : `${plural(lostTokens, 'token')} lost`;
  switch (state) {
    case 'whole':
      return `Done: ${much}${last}${late}, ${lost}.`;
    case 'stopped':
      return `Stopped: ${much}, ${lost}.`;
    default:
      return `Ended with ${code} after ${plural(tokens, 'token')}: ${much}${last}, ${lost}.`;
  }
}

function pipeResultOf({ pipe, plan, startedAtMs }: Run): string {
  const { bytes, code, firstAtMs, lastAtMs, peakBytes, state, tokens } = pipe;
  if (state === 'reading') return '';
  const much = `${bytesText(bytes)} received, up to ${bytesText(peakBytes)} piled up`;
  if (state === 'stopped') return `Stopped: ${much}.`;
  if (state === 'failed') return `Ended (${code}) after ${plural(tokens, 'token')}: ${much}.`;
  // Nothing slows its model down, so that its last token was made when the plan says.
  const behindMs = lastAtMs - firstAtMs - ((tokens - 1) / plan.tokensPerSecond) * 1000;
  const late = behindMs > 100 ? ` (${durationText(behindMs)} behind the model)` : ' (with the model)';
  return `Done: ${much}, last token after ${durationText(lastAtMs - startedAtMs)}${late}, nothing lost.`;
}

/** What its model has made by now: nothing slows it down. */
function madeByPipe({ pipe, plan }: Run): number {
  if (pipe.firstAtMs === 0) return 0;
  const made = Math.ceil(((performance.now() - pipe.firstAtMs) / 1000) * plan.tokensPerSecond);
  const most =
    plan.fault === 'none' || plan.fault === 'slow first token' ? plan.tokens : Math.floor(plan.tokens / 2);
  return Math.max(pipe.tokens, Math.min(most, made));
}
