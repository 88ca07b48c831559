import type { JSX } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import type { About } from '../../../packages/server/src/console/snapshot.ts';
import type { Feed } from '../feed.ts';
import { bytesText, countText, plural } from '../units.ts';
import {
  boundsBytes,
  type Fault,
  faults,
  faultTexts,
  lengths,
  modelSpeeds,
  type Plan,
  presetPipeSpeed,
  presetPlan,
  presetReaders,
  type ReaderPlan,
} from './plan.ts';
import { PipeCard, ReaderCard } from './reader-card.tsx';
import { Run } from './run.ts';
import { windowBytes } from './run-reader.ts';
import { StepSlider } from './step-slider.tsx';
import { Track } from './track.tsx';

const drawEveryMs = 100;
const maxReaders = 8;

/** Backpressure to watch: one simulated model, readers of any speed and policy, and a plain pipe beside them. */
export function Playground({ about, feed }: { readonly about: About; readonly feed: Feed }): JSX.Element {
  if (!about.isSimulated) return <NotHere />;
  return <Simulation feed={feed} />;
}

function NotHere(): JSX.Element {
  return (
    <section class="panel not-here">
      <h1>Playground</h1>
      <p>
        It plays with the simulated model, and this gateway serves real ones. Start one without a provider,
        and open its console:
      </p>
      <pre>
        <code>npx spillway serve --port 8090 --admin-port 8091</code>
      </pre>
    </section>
  );
}

function Simulation({ feed }: { readonly feed: Feed }): JSX.Element {
  const [plan, setPlan] = useState(presetPlan);
  const [readers, setReaders] = useState(presetReaders);
  const [pipeSpeed, setPipeSpeed] = useState(presetPipeSpeed);
  const [run, setRun] = useState<Run>();
  const names = useRef(readers.length);
  const isRunning = run !== undefined && !run.isOver;
  useTicks(run, isRunning);
  useEffect(() => {
    // A tab that is closed leaves no model running.
    const stop = (): void => run?.stop();
    addEventListener('pagehide', stop);
    return () => {
      removeEventListener('pagehide', stop);
      stop();
    };
  }, [run]);

  const start = (): void => {
    run?.stop();
    setRun(new Run(feed, plan, readers, pipeSpeed));
  };
  const change = (at: number, changed: ReaderPlan): void => {
    setReaders(readers.with(at, changed));
    const reader = run?.readers[at];
    if (reader !== undefined) reader.pace.eventsPerSecond = changed.eventsPerSecond;
  };
  const add = (): void => {
    names.current += 1;
    const added: ReaderPlan = { name: `Reader ${names.current}`, policy: 'coalesce', eventsPerSecond: 12 };
    setReaders([...readers, added]);
    if (isRunning) run.attach(added);
  };
  return (
    <>
      <div class="intro">
        <h1>Playground</h1>
        <p>
          One model, several readers. Each says what may happen to it when it falls behind, and nothing else
          happens to it. What waits for it is bounded. Slow one down and watch.
        </p>
      </div>
      <ModelPanel plan={plan} run={run} onPlan={setPlan} onStart={start} onStop={() => run?.stop()} />
      <section class="readers" aria-labelledby="readers-heading">
        <div class="readers-head">
          <h2 id="readers-heading">Readers</h2>
          <Legend />
          <button type="button" class="plain" disabled={readers.length >= maxReaders} onClick={add}>
            Add a reader
          </button>
        </div>
        {readers.map((reader, at) => (
          <ReaderCard
            key={reader.name}
            plan={reader}
            maxBytes={plan.maxBytes}
            run={run}
            reader={run?.readers.find((candidate) => candidate.plan.name === reader.name)}
            onPlan={(changed) => change(at, changed)}
            onRemove={() => setReaders(readers.toSpliced(at, 1))}
          />
        ))}
        <PipeCard
          run={run}
          boundBytes={(run?.plan.maxBytes ?? plan.maxBytes) + windowBytes}
          speed={pipeSpeed}
          onSpeed={(speed) => {
            setPipeSpeed(speed);
            if (run !== undefined) run.pipe.pace.eventsPerSecond = speed;
          }}
        />
      </section>
      <p class="visually-hidden" role="status">
        {run === undefined ? '' : isRunning ? 'The model runs.' : 'All readers are done.'}
      </p>
    </>
  );
}

function ModelPanel({
  plan,
  run,
  onPlan,
  onStart,
  onStop,
}: {
  readonly plan: Plan;
  readonly run: Run | undefined;
  readonly onPlan: (plan: Plan) => void;
  readonly onStart: () => void;
  readonly onStop: () => void;
}): JSX.Element {
  const isRunning = run !== undefined && !run.isOver;
  return (
    <section class="panel model-panel" aria-labelledby="model-heading">
      <h2 id="model-heading">Model</h2>
      <div class="model-settings">
        <StepSlider
          label="Speed"
          steps={modelSpeeds}
          value={plan.tokensPerSecond}
          text={(tokensPerSecond) => `${plural(tokensPerSecond, 'token')} a second`}
          isDisabled={isRunning}
          onValue={(tokensPerSecond) => onPlan({ ...plan, tokensPerSecond })}
        />
        <StepSlider
          label="Length"
          steps={lengths}
          value={plan.tokens}
          text={(tokens) => plural(tokens, 'token')}
          isDisabled={isRunning}
          onValue={(tokens) => onPlan({ ...plan, tokens })}
        />
        <label>
          Fault
          <select
            value={plan.fault}
            disabled={isRunning}
            onChange={({ currentTarget }) => onPlan({ ...plan, fault: currentTarget.value as Fault })}
          >
            {faults.map((fault) => (
              <option key={fault} value={fault}>
                {faultTexts[fault]}
              </option>
            ))}
          </select>
        </label>
        <label>
          May wait for each reader, with 1 KiB on its way
          <select
            value={plan.maxBytes}
            disabled={isRunning}
            onChange={({ currentTarget }) => onPlan({ ...plan, maxBytes: Number(currentTarget.value) })}
          >
            {boundsBytes.map((bytes) => (
              <option key={bytes} value={bytes}>
                {bytesText(bytes)}
              </option>
            ))}
          </select>
        </label>
        <div class="actions">
          <button type="button" class="primary" onClick={onStart}>
            {run === undefined ? 'Start' : 'Start again'}
          </button>
          <button type="button" class="plain" disabled={!isRunning} onClick={onStop}>
            Stop
          </button>
        </div>
      </div>
      <Track
        label={`The model has made ${plural(run?.trace.tokens ?? 0, 'token')} of ${run?.plan.tokens ?? plan.tokens}`}
        total={run?.plan.tokens ?? plan.tokens}
        made={run?.trace.tokens ?? 0}
        stretches={run === undefined ? [] : [{ kind: 'got', from: 0, to: run.trace.tokens }]}
      />
      <p class="now">
        {run === undefined ? 'It has not begun.' : modelText(run)}
        {run !== undefined && run.url !== '' && (
          <>
            {' '}
            <a href="#/" target="_blank" rel="noopener">
              See it in the overview
            </a>
          </>
        )}
      </p>
    </section>
  );
}

function modelText({ isStopped, plan, problem, startedAtMs, trace }: Run): string {
  if (problem !== '') return `It did not begin: ${problem}.`;
  const made = `${countText(trace.tokens)} of ${countText(plan.tokens)} tokens made`;
  if (isStopped) return `${made}, and then it was stopped.`;
  if (trace.isOver) {
    if (trace.problem !== '') return `${made}, and then it ended with ${trace.problem}.`;
    return `All ${countText(trace.tokens)} tokens made, in ${((trace.lastAtMs - startedAtMs) / 1000).toFixed(1)} s.`;
  }
  if (trace.tokens === 0) return 'It thinks.';
  const silentMs = performance.now() - trace.lastAtMs;
  const isSilent = silentMs > Math.max(400, 4000 / plan.tokensPerSecond);
  if (!isSilent) return `${made}.`;
  const why = plan.fault === 'stall' ? 'it has stopped half way' : 'it waits for a reader';
  return `${made}; ${why}.`;
}

function Legend(): JSX.Element {
  return (
    <ul class="legend">
      <li>
        <i class="key got" /> read
      </li>
      <li>
        <i class="key made" /> made, and waits
      </li>
      <li>
        <i class="key lost" /> lost
      </li>
    </ul>
  );
}

/** Renders again and again while something runs. */
function useTicks(run: Run | undefined, isRunning: boolean): void {
  const [, setTick] = useState(0);
  useEffect(() => {
    if (!isRunning) return undefined;
    const timer = setInterval(() => {
      run?.sample();
      setTick((tick) => tick + 1);
    }, drawEveryMs);
    return () => clearInterval(timer);
  }, [run, isRunning]);
}
