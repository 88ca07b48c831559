import type { JSX } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import type {
  ModelGateRow,
  ModelNameRow,
  ProviderRow,
  ProvidersSnapshot,
} from '../../packages/gateway/src/telemetry/providers-snapshot.ts';
import { breakerTexts, standingOf } from './breaker-texts.ts';
import type { Feed } from './feed.ts';
import { Hint } from './hint.tsx';
import { Meter } from './meter.tsx';
import { docHref } from './route.ts';
import { clockText, countText, durationText, plural } from './units.ts';

/** What stands before providers: who is asked and who is not, how many streams run there, and who waits. */
export function ProvidersPage({
  feed,
  onRefused,
}: {
  readonly feed: Feed;
  readonly onRefused: () => void;
}): JSX.Element {
  const [snapshot, setSnapshot] = useState<ProvidersSnapshot>();
  useEffect(() => feed.followProviders({ onSnapshot: setSnapshot, onEnd: onRefused }), [feed]);
  if (snapshot === undefined) return <p class="empty">Waiting for the gateway…</p>;
  const { allModels, events, models, names, providers } = snapshot;
  const owners = [
    ...new Set([...models.map(({ provider }) => provider), ...providers.map(({ name }) => name)]),
  ];
  return (
    <>
      <h1>Providers</h1>
      <p class="explain">
        Which models of providers are asked, how many streams run there, and who waits.{' '}
        <a href={docHref('providers')}>What all of it means</a>
      </p>
      {names.length + owners.length === 0 && (
        <p class="empty">
          Nothing stands before a provider, or nobody has asked yet. A model with a second target is a line of
          configuration: <code>--model name=fast,targets=openai/gpt-4o-mini,fallback=groq/llama-3.3-70b</code>
        </p>
      )}
      {names.length > 0 && <Names names={names} models={models} />}
      {owners.toSorted().map((name) => (
        <ProviderPanel
          key={name}
          name={name}
          counts={providers.find((provider) => provider.name === name)}
          models={models
            .filter(({ provider }) => provider === name)
            .toSorted((one, other) => one.model.localeCompare(other.model))}
        />
      ))}
      {allModels > models.length && (
        <p class="sub">
          The {models.length} of {countText(allModels)} models with most to see.
        </p>
      )}
      {events.length > 0 && <Events events={events} />}
    </>
  );
}

/** The models by the operator's own names: where each goes, and whether that is asked now. */
function Names({
  models,
  names,
}: {
  readonly names: readonly ModelNameRow[];
  readonly models: readonly ModelGateRow[];
}): JSX.Element {
  return (
    <section class="panel" aria-labelledby="names-heading">
      <h2 id="names-heading">Models by your names</h2>
      <dl class="configured names">
        {names.map(({ name, targets }) => (
          <div key={name}>
            <dt>
              <code>{name}</code>
            </dt>
            <dd>
              {targets.map((target, index) => {
                const { model, provider, weight } = target;
                const gate = models.find((row) => row.provider === provider && row.model === model);
                const standing = gate && standingOf(gate);
                const before = targets[index - 1];
                return (
                  <span key={`${provider}/${model} ${index}`}>
                    {weight === 0 && before !== undefined && <span class="sub">then </span>}
                    {weight > 1 && <span class="sub">{weight} × </span>}
                    <code>
                      {provider}/{model}
                    </code>
                    {standing !== undefined && standing !== 'asked' && (
                      <span class="late" data-level={breakerTexts[standing].level}>
                        {' '}
                        {breakerTexts[standing].label}
                      </span>
                    )}
                  </span>
                );
              })}
            </dd>
          </div>
        ))}
      </dl>
    </section>
  );
}

function ProviderPanel({
  counts,
  models,
  name,
}: {
  readonly name: string;
  readonly counts: ProviderRow | undefined;
  readonly models: readonly ModelGateRow[];
}): JSX.Element {
  const { fellBack = 0, refused = 0 } = counts ?? {};
  const id = `provider-${name}`;
  return (
    <section class="panel tenant" aria-labelledby={id}>
      <div class="title">
        <h2 id={id}>{name}</h2>
        {refused + fellBack > 0 && (
          <span class="sub">
            <Hint text="Since the gateway started. Refused: it was not asked for them, because too many waited, the wait was too long, or it is left alone. Gone on: another target was asked instead.">
              {`${plural(refused, 'request')} refused, ${countText(fellBack)} gone on to another target`}
            </Hint>
          </span>
        )}
      </div>
      {models.map((model) => (
        <ModelGate key={`${model.api} ${model.model}`} row={model} />
      ))}
    </section>
  );
}

function ModelGate({ row }: { readonly row: ModelGateRow }): JSX.Element {
  const { api, closedMs, firstToken, model, provider, streams, why } = row;
  const standing = standingOf(row);
  const { hint, label, level, sign, state } = breakerTexts[standing];
  return (
    <div class="gate">
      <div class="title">
        <h3 class="mono">{model || 'no model named'}</h3>
        <span class="sub">{api}</span>
        <span class="state" data-state={state} title={hint}>
          <span aria-hidden="true">{sign}</span> {label}
          {closedMs > 0 && ` for ${durationText(closedMs)}`}
        </span>
        {standing === 'broken' && <a href={docHref('runbook', 'spillwayproviderbroken')}>What to do</a>}
      </div>
      {level !== 'ok' && why !== '' && standing !== 'paused' && <p class="late">The last failure: {why}</p>}
      {streams !== null && (
        <ul class="limits">
          <Bar
            name="streams"
            hint="Streams that run there, of those that may run now. That limit finds itself between two bounds, by the time to the first token."
            label={`Streams at ${provider}/${model}`}
            value={streams.taken}
            max={streams.limit}
            isCalm
            text={`${countText(streams.taken)} of ${countText(streams.limit)}${
              streams.min < streams.max
                ? `, found between ${countText(streams.min)} and ${countText(streams.max)}`
                : ''
            }`}
          />
          <Bar
            name="waiting"
            hint="Requests that wait for a place. One more than may wait is refused, and so is one whose wait would be too long."
            label={`Waiting for ${provider}/${model}`}
            value={streams.waiting}
            max={streams.maxWaiting}
            text={`${countText(streams.waiting)} of ${countText(streams.maxWaiting)}`}
          />
        </ul>
      )}
      {firstToken !== null && (
        <p class="sub">
          <Hint text="The median of the latest seconds, against the median while the provider is not slow. Where it is a third longer, fewer streams run at once.">
            First token
          </Hint>{' '}
          after {durationText(firstToken.latestMs)}, at its best {durationText(firstToken.bestMs)}
        </p>
      )}
    </div>
  );
}

function Bar({
  hint,
  isCalm = false,
  label,
  max,
  name,
  text,
  value,
}: {
  readonly name: string;
  readonly hint: string;
  readonly label: string;
  readonly value: number;
  readonly max: number;
  /** Whether it may be full without that being trouble. */
  readonly isCalm?: boolean;
  readonly text: string;
}): JSX.Element {
  return (
    <li>
      <span class="limit-name">
        <Hint text={hint}>{name}</Hint>
      </span>
      <Meter label={label} value={value} max={max} text={text} isCalm={isCalm} />
      <span class="limit-text">{text}</span>
    </li>
  );
}

const eventTexts = {
  closed: 'is well, and is asked as before',
  'half-open': 'is tried again',
  open: 'fails too often, and is not asked',
} as const;

function Events({ events }: Pick<ProvidersSnapshot, 'events'>): JSX.Element {
  return (
    <section class="panel events" aria-labelledby="provider-events-heading">
      <h2 id="provider-events-heading">What happened</h2>
      <ul class="gone">
        {events.map(({ atMs, model, provider, state, why }, at) => (
          <li key={events.length - at}>
            <code>
              {provider}/{model}
            </code>
            <span class="sub"> at {clockText(atMs)}</span>
            <div>
              {eventTexts[state]}
              {state === 'open' && why !== '' && `: ${why}`}
            </div>
          </li>
        ))}
      </ul>
    </section>
  );
}
