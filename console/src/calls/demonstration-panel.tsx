import type { JSX } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import type { DemonstrationEnd, Lane } from '../../../packages/gateway/src/voice/demonstration-lines.ts';
import type { Feed } from '../feed.ts';
import { Meter } from '../meter.tsx';
import { durationText } from '../units.ts';
import { CallRun } from './call-run.ts';
import { laneNames, lanes, LaneView } from './lane-view.tsx';

const defaultWindowMs = 800;

const endTexts: Readonly<Record<DemonstrationEnd['why'], string>> = {
  over: 'The call is over.',
  failed: 'One of the two calls has ended too soon: an operator ended it, or its connection was lost.',
  stopping: 'The gateway stops.',
  too_long: 'The call was ended: two minutes are over.',
};

/** One call over two bridges at once: to be heard, interrupted, and watched. */
export function DemonstrationPanel({ feed }: { readonly feed: Feed }): JSX.Element {
  const [run, setRun] = useState<CallRun>();
  const [heard, setHeard] = useState<Lane>('spillway');
  const [, setTick] = useState(0);
  useEffect(() => {
    // A tab that is closed leaves no call running.
    const stop = (): void => run?.stop();
    addEventListener('pagehide', stop);
    return () => {
      removeEventListener('pagehide', stop);
      stop();
    };
  }, [run]);

  const isRunning = run !== undefined && !run.isOver;
  const windowMs = run?.begin?.windowMs ?? defaultWindowMs;
  return (
    <section class="panel demonstration" aria-labelledby="demonstration-heading">
      <div class="title">
        <h2 id="demonstration-heading">The same call, twice</h2>
        <div class="actions">
          <button
            type="button"
            class={isRunning ? 'plain' : 'primary'}
            onClick={() => setRun(new CallRun(feed, heard, () => setTick((tick) => tick + 1)))}
          >
            {run === undefined ? 'Call' : 'Call again'}
          </button>
          <button
            type="button"
            class={isRunning ? 'primary' : 'plain'}
            disabled={!isRunning}
            onClick={() => void run?.interrupt()}
          >
            Interrupt
          </button>
          <button
            type="button"
            class="plain"
            disabled={!isRunning}
            onClick={() => {
              run?.stop();
              setTick((tick) => tick + 1);
            }}
          >
            Hang up
          </button>
        </div>
      </div>
      <p class="now" role="status">
        {stateText(run)}
      </p>
      <div class="listen">
        <fieldset>
          <legend>You hear the caller, and</legend>
          {lanes.map((lane) => (
            <label key={lane}>
              <input
                type="radio"
                name="heard"
                checked={heard === lane}
                onChange={() => {
                  setHeard(lane);
                  run?.hear(lane);
                }}
              />{' '}
              {laneNames[lane].toLowerCase().replace('spillway', 'Spillway')}
            </label>
          ))}
        </fieldset>
        <Sound run={run} />
      </div>
      <Legend />
      {lanes.map((lane) => (
        <LaneView
          key={lane}
          lane={lane}
          now={run?.now?.lanes[lane]}
          loudness={run?.loudness ?? []}
          interruption={run?.interruptions[lane]}
          isRunning={isRunning}
          windowMs={windowMs}
        />
      ))}
      <Words run={run} />
    </section>
  );
}

function stateText(run: CallRun | undefined): string {
  if (run === undefined)
    return 'You hear somebody call a library. The model’s answer is long: interrupt it, or the caller does after a while.';
  if (run.problem !== '') return run.problem;
  if (run.end !== undefined) return endTexts[run.end];
  const { naive, spillway } = run.interruptions;
  if (naive !== undefined && spillway !== undefined)
    return `The caller spoke into an answer. Spillway was quiet after ${durationText(spillway.quietAfterMs)}, the naive bridge after ${durationText(naive.quietAfterMs)}.`;
  if (spillway !== undefined)
    return `The caller spoke into an answer. Spillway was quiet after ${durationText(spillway.quietAfterMs)}. The naive bridge still talks.`;
  return run.now === undefined ? 'It rings.' : 'The call runs. Interrupt it while the model speaks.';
}

/** How loud it is: for those who have turned the sound off, too. */
function Sound({ run }: { readonly run: CallRun | undefined }): JSX.Element {
  const level = run === undefined || run.isOver ? 0 : run.level;
  const percent = Math.round(level * 100);
  return (
    <div class="sound">
      <span>Sound</span>
      <Meter label="Sound" value={Math.min(percent, 50)} max={100} text={`${percent} %`} />
    </div>
  );
}

function Words({ run }: { readonly run: CallRun | undefined }): JSX.Element {
  return (
    <ol class="words" aria-label="What is said">
      {(run?.words ?? []).map(({ atMs, text, who }) => (
        <li key={`${who} ${atMs}`}>
          <span class="sub">{durationText(atMs)}</span>
          <b>{who === 'caller' ? 'Caller' : 'Model'}</b>
          <span>{text}</span>
        </li>
      ))}
    </ol>
  );
}

function Legend(): JSX.Element {
  return (
    <ul class="legend">
      <li>
        <i class="key at-ear" /> at the ear, not played yet
      </li>
      <li>
        <i class="key in-bridge" /> waits in the bridge
      </li>
      <li>
        <i class="key unwanted" /> nobody wants it any more
      </li>
    </ul>
  );
}
