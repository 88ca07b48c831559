import type { JSX } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import type { UsageFigures } from '../../packages/gateway/src/limit/usage-figures.ts';
import type { ConfiguredLimit } from '../../packages/gateway/src/limit/configured-limits.ts';
import type { LimitUse, TenantReport } from '../../packages/gateway/src/limit/usage-report.ts';
import { type Feed, FeedError } from './feed.ts';
import { Hint } from './hint.tsx';
import { Meter } from './meter.tsx';
import { moneyText } from './money.ts';
import { docHref } from './route.ts';
import { countText, durationText, plural } from './units.ts';

const refreshEveryMs = 2000;

/** Who may use how much, and has: each tenant against its limits, in tokens and in money. */
export function TenantsPage({
  feed,
  onRefused,
}: {
  readonly feed: Feed;
  readonly onRefused: () => void;
}): JSX.Element {
  const [tenants, setTenants] = useState<readonly TenantReport[]>();
  const [problem, setProblem] = useState('');
  useEffect(() => {
    const stop = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const read = async (): Promise<void> => {
      try {
        // Nobody looks at a hidden tab.
        if (!document.hidden)
          setTenants(await feed.readJson<readonly TenantReport[]>('tenants', stop.signal));
        setProblem('');
      } catch (error) {
        if (stop.signal.aborted) return;
        if (error instanceof FeedError && error.status === 401) {
          onRefused();
          return;
        }
        setProblem(error instanceof Error ? error.message : String(error));
      }
      if (!stop.signal.aborted) timer = setTimeout(() => void read(), refreshEveryMs);
    };
    void read();
    return () => {
      stop.abort();
      clearTimeout(timer);
    };
  }, [feed]);

  return (
    <>
      <h1>Tenants</h1>
      <p class="explain">
        What each tenant may use and has used. Days and months are those of UTC. Where a provider reported no
        tokens, they are estimated. <a href={docHref('operating', 'limits-and-tenants')}>What is counted</a>
      </p>
      <p role="alert" class="problem">
        {problem}
      </p>
      {tenants === undefined ? (
        problem === '' && <p class="empty">Waiting for the gateway…</p>
      ) : tenants.length === 0 ? (
        <p class="empty">
          Nobody has limits and nothing has a price, or nobody has asked yet. A limit is a line of
          configuration: <code>--tenant name=clinic,tokensPerDay=200000,streams=20</code>
        </p>
      ) : (
        tenants.map((report) => <TenantPanel key={report.tenant} report={report} />)
      )}
    </>
  );
}

function TenantPanel({ report }: { readonly report: TenantReport }): JSX.Element {
  const { configured, currency, limits, streamsNow, tenant, usage } = report;
  const id = `tenant-${tenant}`;
  return (
    <section class="panel tenant" aria-labelledby={id}>
      <div class="title">
        <h2 id={id}>{tenant === '' ? 'Without a key' : tenant}</h2>
        <span class="sub">{streamsNow === 0 ? 'no stream now' : `${plural(streamsNow, 'stream')} now`}</span>
      </div>
      {limits === null ? (
        <p class="late">The store of limits does not answer: what is used of them is not known now.</p>
      ) : limits.length + configured.length === 0 ? (
        <p class="sub">It has no limits.</p>
      ) : (
        limits.length > 0 && (
          <ul class="limits">
            {limits.map((limit) => (
              <LimitRow key={`${limit.key} ${limit.name}`} limit={limit} currency={currency} />
            ))}
          </ul>
        )
      )}
      {configured.length > 0 && <ConfiguredLimits limits={configured} />}
      <table class="use">
        <thead>
          <tr>
            <th scope="col">Used</th>
            <th scope="col">today</th>
            <th scope="col">this month</th>
          </tr>
        </thead>
        <tbody>
          {rowsOf(usage.month).map(({ hint, label, read }) => (
            <tr key={label}>
              <th scope="row">
                <Hint text={hint}>{label}</Hint>
              </th>
              <td>{lines(read(usage.today, currency))}</td>
              <td>{lines(read(usage.month, currency))}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

/** A text that breaks behind its commas alone. */
function lines(text: string): JSX.Element[] {
  const parts = text.split(', ');
  return parts.map((part, index) => (
    <span key={index} class="part">
      {part}
      {index < parts.length - 1 && ', '}
    </span>
  ));
}

/** One limit as a bar: what is used, and behind it what running streams have reserved. */
function LimitRow({
  limit: { key, limit, name, rate, reserved, resetMs, used },
  currency,
}: {
  readonly limit: LimitUse;
  readonly currency: string;
}): JSX.Element {
  const amount = (count: number): string =>
    name.startsWith('cost') ? moneyText(count, currency) : countText(count);
  const of = `${amount(used)}${reserved > 0 ? ` and ${amount(reserved)} reserved` : ''} of ${amount(limit)}`;
  const text = rate === undefined ? of : `${of} at once`;
  return (
    <li>
      <span class="limit-name">
        <code>{rate === undefined ? name : `${name} ${rate.text}`}</code>
        {key !== '' && <span class="sub"> of key {key}</span>}
      </span>
      <Meter
        label={`${name} of ${key === '' ? 'the tenant' : key}`}
        value={used + reserved}
        max={limit}
        inner={used}
        text={text}
      />
      <span class="limit-text">
        {text}
        {resetMs !== null && resetMs > 0 && <span class="sub"> · again in {durationText(resetMs)}</span>}
      </span>
    </li>
  );
}

/** Whom the limits are for that the gateway does not add up for a tenant, in this order. */
const configuredFor = [
  { scope: 'answer', words: 'Each answer' },
  { scope: 'user', words: 'Each end user' },
  { scope: 'session', words: 'Each conversation' },
  { scope: 'tenant', words: 'The tenant' },
  { scope: 'key', words: 'Keys' },
] as const;

/** Limits as they are configured: what is used of them is not shown, or cannot be. */
function ConfiguredLimits({ limits }: { readonly limits: readonly ConfiguredLimit[] }): JSX.Element {
  return (
    <dl class="configured">
      {configuredFor.map(({ scope, words }) => {
        const own = limits.filter((limit) => limit.scope === scope);
        if (own.length === 0) return null;
        return (
          <div key={scope}>
            <dt>{words}</dt>
            <dd>
              {own.map(({ key, name, value }) => (
                <span key={`${key} ${name}`}>
                  <code>
                    {name}: {typeof value === 'number' ? value.toLocaleString('en') : value}
                  </code>
                  {key !== '' && <span class="sub"> of key {key}</span>}
                </span>
              ))}
            </dd>
          </div>
        );
      })}
    </dl>
  );
}

interface Row {
  readonly label: string;
  readonly hint: string;
  readonly read: (figures: UsageFigures, currency: string) => string;
}

/** Those that say something, by the month: a day is in its month. */
function rowsOf(month: UsageFigures): readonly Row[] {
  const { cost, cut, estimatedTokens, overshootTokens, refused, savedTokens, unpricedTokens, wastedTokens } =
    month;
  const withCost = (tokens: number, money: number, currency: string): string =>
    `${countText(tokens)} tokens${cost > 0 ? `, ${moneyText(money, currency)}` : ''}`;
  const rows: readonly (Row & { readonly isShown: boolean })[] = [
    {
      isShown: true,
      label: 'Requests',
      hint: 'Requests that have ended, whatever became of them.',
      read: ({ requests }) => countText(requests),
    },
    {
      isShown: true,
      label: 'Tokens',
      hint: 'Of prompts and of answers.',
      read: ({ inputTokens, outputTokens }) => `${countText(inputTokens)} in, ${countText(outputTokens)} out`,
    },
    {
      isShown: estimatedTokens > 0,
      label: 'of these estimated',
      hint: 'No provider reported them. They are counted by what came: an event with data is one token.',
      read: (figures) => countText(figures.estimatedTokens),
    },
    {
      isShown: cost > 0,
      label: 'Cost',
      hint: 'By the table of prices, with the price that was in force when each stream ended.',
      read: (figures, currency) => moneyText(figures.cost, currency),
    },
    {
      isShown: unpricedTokens > 0 && cost > 0,
      label: 'Without a price',
      hint: 'Tokens of models that no row of the table fits: they are not in the cost.',
      read: (figures) => countText(figures.unpricedTokens),
    },
    {
      isShown: savedTokens > 0,
      label: 'Saved by cancelling',
      hint: 'Estimate: what cancelled answers would still have had, if each were as long as the mean completed one.',
      read: (figures, currency) => withCost(figures.savedTokens, figures.savedCost, currency),
    },
    {
      isShown: wastedTokens > 0,
      label: 'Wasted by leaving',
      hint: 'Tokens that came from the provider and that no reader was written.',
      read: (figures, currency) => withCost(figures.wastedTokens, figures.wastedCost, currency),
    },
    {
      isShown: refused + cut > 0,
      label: 'At a limit',
      hint: 'Requests that a limit refused, and answers that a limit ended.',
      read: (figures) => `${countText(figures.refused)} refused, ${countText(figures.cut)} ended`,
    },
    {
      isShown: overshootTokens > 0,
      label: 'Beyond a limit',
      hint: 'Tokens that the provider counted and did not stream, of which no more was left of a limit.',
      read: (figures) => countText(figures.overshootTokens),
    },
  ];
  return rows.filter(({ isShown }) => isShown);
}
