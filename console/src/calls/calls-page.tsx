import type { CallEndReason } from '@spillway/voice';
import type { JSX } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import type {
  CallRow,
  CallsSnapshot,
  EndedCallRow,
} from '../../../packages/gateway/src/voice/calls-snapshot.ts';
import { ActionButton } from '../action-button.tsx';
import type { Feed } from '../feed.ts';
import { Hint } from '../hint.tsx';
import { clockText, countText, durationText, plural } from '../units.ts';
import { DemonstrationPanel } from './demonstration-panel.tsx';
import { StageTable } from './stage-table.tsx';

const reasonTexts: Readonly<Record<CallEndReason, string>> = {
  hangup: 'the caller hung up',
  carrier_lost: 'the carrier’s connection was lost',
  carrier_refused: 'the carrier sent what is not allowed',
  model_failed: 'the model failed',
  ear_stalled: 'the ear confirmed nothing',
  limit: 'a limit of its tenant is reached',
  max_duration: 'as long as a call may last',
  closed: 'ended here',
};

/** Calls by telephone: one to hear, those that run, and those that have ended. */
export function CallsPage({
  feed,
  isLost,
  onRefused,
}: {
  readonly feed: Feed;
  /** Whether the gateway is not connected: what is shown is old, and nothing can be done. */
  readonly isLost: boolean;
  readonly onRefused: () => void;
}): JSX.Element {
  const snapshot = useCalls(feed, onRefused);
  if (snapshot === undefined) return <p class="empty">Waiting for the gateway…</p>;
  const { calls, ended, hasDemonstrations, isServed } = snapshot;
  return (
    <>
      <div class="intro">
        <h1>Calls</h1>
        <p>
          A model makes four seconds of speech in 0.6, and a telephone plays them in four. What was made and
          not heard waits somewhere. Speak into the answer, and see who can take it back.
        </p>
      </div>
      {hasDemonstrations ? <DemonstrationPanel feed={feed} /> : <NotHere />}
      <section class="panel calls" aria-labelledby="calls-heading">
        <h2 id="calls-heading">Calls that run</h2>
        {calls.length === 0 && <p class="explain">{isServed ? 'None.' : 'This gateway takes no calls.'}</p>}
        {calls.map((call) => (
          <RunningCall key={call.callId} call={call} feed={feed} isLost={isLost} />
        ))}
      </section>
      {ended.length > 0 && <EndedCalls ended={ended} />}
    </>
  );
}

function NotHere(): JSX.Element {
  return (
    <section class="panel not-here">
      <h2>A call to hear</h2>
      <p>
        It is made with the simulated model, on loopback, without keys and without TLS. Start a gateway of
        that kind, and open its console:
      </p>
      <pre>
        <code>npx spillway serve --port 8090 --admin-port 8091</code>
      </pre>
    </section>
  );
}

function RunningCall({
  call,
  feed,
  isLost,
}: {
  readonly call: CallRow;
  readonly feed: Feed;
  readonly isLost: boolean;
}): JSX.Element {
  const { ageMs, callId, carrier, figures } = call;
  const path = `calls/${encodeURIComponent(callId)}`;
  return (
    <article class="running-call" aria-label={`Call ${callId}`}>
      <div class="title">
        <h3 class="mono">{callId}</h3>
        <span class="sub">
          {carrier}, for {durationText(Math.floor(ageMs / 1000) * 1000)}
        </span>
        <div class="actions">
          <ActionButton
            label="Interrupt"
            question="Interrupt the answer?"
            isDangerous={false}
            isDisabled={isLost}
            act={() => feed.act(`${path}/interrupt`)}
          >
            What the model says is dropped, as if the caller spoke into it. The call goes on.
          </ActionButton>
          <ActionButton
            label="End"
            question="End this call?"
            isDisabled={isLost}
            act={() => feed.act(`${path}/end`)}
          >
            The caller hears nothing more, and the call is over.
          </ActionButton>
        </div>
      </div>
      <dl class="facts">
        {factsOf(figures).map(({ hint, label, level = 'ok', value }) => (
          <div key={label} data-level={level}>
            <dt>
              <Hint text={hint}>{label}</Hint>
            </dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
      {figures.stages.length > 0 && <StageTable stages={figures.stages} />}
    </article>
  );
}

interface Fact {
  readonly label: string;
  readonly hint: string;
  readonly value: string;
  readonly level?: 'bad' | 'ok';
}

function factsOf(figures: CallRow['figures']): readonly Fact[] {
  const { droppedMs, interruptions, lostMs, marksOut, underruns } = figures;
  return [
    {
      label: 'Caller to model',
      hint: 'What the caller has said and the model has not got: it waits here, or in the socket.',
      value: `${Math.round(figures.inWaitingMs)} + ${Math.round(figures.inSocketMs)} ms`,
    },
    {
      label: 'Model to ear',
      hint: 'What the model has made and the ear has not got: it waits here, or in the socket.',
      value: `${countText(figures.outWaitingMs)} + ${Math.round(figures.outSocketMs)} ms`,
    },
    {
      label: 'On its way to the ear',
      hint: 'What was sent and is not confirmed as played: at most the window.',
      value: `${Math.round(figures.outUnconfirmedMs)} ms, ${plural(marksOut, 'mark')} out`,
    },
    {
      label: 'Interruptions',
      hint: 'How often the caller spoke into an answer, and how much of it was dropped.',
      value: `${countText(interruptions)}, ${durationText(droppedMs)} dropped`,
    },
    {
      label: 'Underruns',
      hint: 'How often the ear had nothing to play in the middle of an answer.',
      value: countText(underruns),
      level: underruns === 0 ? 'ok' : 'bad',
    },
    {
      label: 'Lost',
      hint: 'What the caller said and the model was too late for.',
      value: lostMs === 0 ? 'nothing' : durationText(lostMs),
      level: lostMs === 0 ? 'ok' : 'bad',
    },
  ];
}

function EndedCalls({ ended }: { readonly ended: readonly EndedCallRow[] }): JSX.Element {
  return (
    <section class="panel calls" aria-labelledby="ended-calls-heading">
      <h2 id="ended-calls-heading">Ended lately</h2>
      <div class="doc-table" tabIndex={0} role="group" aria-label="Calls that ended">
        <table class="calls-table">
          <thead>
            <tr>
              <th scope="col">Ended</th>
              <th scope="col">Call</th>
              <th scope="col">Why</th>
              <th scope="col" class="number">
                Lasted
              </th>
              <th scope="col" class="number">
                Interrupted
              </th>
              <th scope="col" class="number">
                Dropped
              </th>
            </tr>
          </thead>
          <tbody>
            {ended.map((call) => (
              <tr key={`${call.callId} ${call.endedAtMs}`}>
                <td>{clockText(call.endedAtMs)}</td>
                <td class="mono">{call.callId}</td>
                <td>{reasonTexts[call.reason]}</td>
                <td class="number">{durationText(call.durationMs)}</td>
                <td class="number">{countText(call.interruptions)}</td>
                <td class="number">{durationText(call.droppedMs)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}

function useCalls(feed: Feed, onRefused: () => void): CallsSnapshot | undefined {
  const [snapshot, setSnapshot] = useState<CallsSnapshot>();
  useEffect(() => feed.followCalls({ onSnapshot: setSnapshot, onEnd: onRefused }), [feed]);
  return snapshot;
}
