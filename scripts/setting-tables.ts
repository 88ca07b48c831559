import { configOptions } from '../packages/gateway/src/config/schema.ts';
import { describeRange, writeValue } from '../packages/gateway/src/config/units.ts';
import { cascadeOptions, recogniseOptions, speakOptions } from '../packages/gateway/src/config/cascade.ts';
import { pressureOptions } from '../packages/gateway/src/config/pressure-rule.ts';
import { priceOptions } from '../packages/gateway/src/config/price.ts';
import { modelOptions } from '../packages/gateway/src/config/model.ts';
import { tapOptions } from '../packages/gateway/src/config/tap.ts';
import { tenantOptions } from '../packages/gateway/src/config/tenant.ts';
import { upstreamOptions } from '../packages/gateway/src/config/upstream.ts';
import { toolOptions, voiceOptions } from '../packages/gateway/src/config/voice.ts';

/** A page, with the tables between its markers (`<!-- settings -->`, `<!-- /settings -->`) made anew. */
export function settingTables(page: string): string {
  const tables = {
    settings: settings(),
    providers: keys(upstreamOptions),
    models: keys(modelOptions),
    taps: keys(tapOptions),
    tenants: keys(tenantOptions),
    prices: keys(priceOptions),
    pressure: keys(pressureOptions),
    calls: keys(voiceOptions),
    cascade: keys(cascadeOptions),
    recognise: keys(recogniseOptions),
    speak: keys(speakOptions),
    tools: keys(toolOptions),
  };
  return Object.entries(tables).reduce((text, [name, table]) => within(text, name, table), page);
}

function within(page: string, name: string, table: readonly string[]): string {
  const [before, rest] = page.split(`<!-- ${name} -->\n`);
  const [, after] = rest?.split(`<!-- /${name} -->\n`) ?? [];
  if (before === undefined || after === undefined) throw new Error(`the page has no place for ${name}`);
  return `${before}<!-- ${name} -->\n${table.join('\n')}\n<!-- /${name} -->\n${after}`;
}

function settings(): string[] {
  const rows = configOptions.map(({ defaultValue, description, key, range }) => {
    const text = writeValue(defaultValue, range);
    const takes = range === undefined ? '' : describeRange(range);
    return `| \`${key}\` | ${text} | ${takes} | ${cell(description)} |`;
  });
  return ['| setting | default | takes | |', '|---|---|---|---|', ...rows];
}

/** The keys of an entry. */
function keys(options: readonly { readonly key: string; readonly description: string }[]): string[] {
  const rows = options.map(({ description, key }) => `| \`${key}\` | ${cell(description)} |`);
  return ['| key | |', '|---|---|', ...rows];
}

/** A description in a cell of Markdown. */
function cell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('<', '\\<').replaceAll('*', '\\*');
}
