import { shownUrl } from '../../config/shown-url.ts';
import { exitCodes } from '../exit-codes.ts';
import { fail } from '../fail.ts';

export const defaultAdminUrl = 'http://127.0.0.1:8081';
export const adminKeyVariable = 'SPILLWAY_ADMIN_KEY';

/** How long a gateway may take: it opens the files of taps, and reads certificates. */
const timeoutMs = 30_000;
/** So many names are printed of what changed: there may be thousands. */
const maxNames = 20;

export interface ReloadOptions {
  /** Where the admin listener is. Default: {@link defaultAdminUrl}. */
  readonly url?: string | undefined;
  /** The environment variable with an admin key. Default: {@link adminKeyVariable}. */
  readonly keyEnv?: string | undefined;
}

/** What a gateway answers to `POST /reload`, or the error instead. */
interface Answer {
  readonly changes?: readonly Change[];
  readonly needRestart?: readonly string[];
  readonly advice?: readonly { readonly code: string; readonly message: string }[];
  readonly error?: { readonly code?: string; readonly message?: string };
}

type Change = { readonly part: string } & Readonly<
  Record<'added' | 'changed' | 'removed', readonly string[]>
>;

/**
 * Asks a gateway to load its configuration again, and says what came of it. Ends the process where it was not done.
 *
 * @param say gets the text. Default: standard output.
 */
export async function askReload(
  { keyEnv = adminKeyVariable, url = defaultAdminUrl }: ReloadOptions,
  say: (text: string) => void = (text) => void process.stdout.write(text),
): Promise<void> {
  const base = URL.canParse(url) ? new URL(url) : undefined;
  if (base === undefined || !/^https?:$/.test(base.protocol))
    fail(
      exitCodes.usage,
      `--url: expected the http:// or https:// URL of the admin listener, got ${JSON.stringify(shownUrl(url))}`,
    );
  const key = process.env[keyEnv];
  let status: number;
  let answer: Answer;
  try {
    const response = await fetch(new URL('/reload', base), {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...(key ? { authorization: `Bearer ${key}` } : {}) },
      body: '{}',
      redirect: 'error',
      signal: AbortSignal.timeout(timeoutMs),
    });
    ({ status } = response);
    answer = (await response.json()) as Answer;
  } catch (error) {
    const { cause } = error as Error;
    const reason = cause instanceof Error && 'code' in cause ? String(cause.code) : (error as Error).name;
    return fail(
      exitCodes.failed,
      `expected the admin listener of a gateway on ${base.origin}, got ${reason}; where adminHost or adminPort say another place, give it with --url`,
    );
  }
  if (status === 200) return say(textOf(answer));
  const { code, message = 'no reason' } = answer.error ?? {};
  if (code === 'config_invalid')
    fail(exitCodes.config, `the configuration was not loaded, and the old one stays:\n${message}`);
  const hint = status === 401 ? ` (an admin key goes into ${keyEnv}, or the variable of --key-env)` : '';
  return fail(exitCodes.failed, `the gateway on ${base.origin} answered ${status}: ${message}${hint}`);
}

function textOf({ advice = [], changes = [], needRestart = [] }: Answer): string {
  const lines = changes.map((change) => {
    const words = (['added', 'changed', 'removed'] as const).flatMap((how) =>
      change[how].length === 0 ? [] : [`${how} ${named(change[how])}`],
    );
    return `  ${change.part}${words.length === 0 ? '' : `: ${words.join('; ')}`}\n`;
  });
  const restart =
    needRestart.length === 0 ? '' : `In force only after a restart: ${needRestart.join(', ')}\n`;
  // Whether models are simulated is decided at the start, which has said so.
  const notes = advice.filter(({ code }) => code !== 'simulated_models');
  return `The configuration was loaded${lines.length === 0 ? '; nothing in it has changed.' : ', and changed:'}\n${lines.join('')}${restart}${notes.map(({ message }) => `Note: ${message}\n`).join('')}`;
}

function named(names: readonly string[]): string {
  const rest = names.length - maxNames;
  return rest > 0 ? `${names.slice(0, maxNames).join(', ')} and ${rest} more` : names.join(', ');
}
