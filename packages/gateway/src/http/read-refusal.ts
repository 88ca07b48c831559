import type { ProviderRefusal } from '@spillway/server/stream/provider-refusal';

/** A longer body is no error message, and is not parsed. */
const maxBodyChars = 8192;
const maxNameChars = 64;
const maxMessageChars = 200;
/** Longer words are names of models, ids, or keys: what a key begins with is enough to know it. */
const maxWordChars = 24;

/**
 * The statuses at which providers speak of the account, its limits or their own state. At others, such as 400 and 422,
 * their messages may quote the request: a prompt would be shown to whoever looks after the gateway.
 */
const statusesOfAccounts: ReadonlySet<number> = new Set([401, 402, 403, 404, 429, 503, 529]);

/** What an operator may see of a provider's error: its names, and its message if that cannot quote the request. */
export function readRefusal(status: number, body: string): ProviderRefusal {
  const error = errorIn(body);
  return {
    status,
    code: nameIn(error, 'code') || nameIn(error, 'status'),
    type: nameIn(error, 'type'),
    message: statusesOfAccounts.has(status) ? messageIn(error) : '',
  };
}

function errorIn(body: string): Readonly<Record<string, unknown>> {
  if (body.length > maxBodyChars) return {};
  try {
    const value: unknown = JSON.parse(body);
    // Gemini's way.
    const first: unknown = Array.isArray(value) ? value[0] : value;
    const { error = first } = (first ?? {}) as { readonly error?: unknown };
    if (typeof error === 'string') return { message: error };
    return typeof error === 'object' && error !== null ? (error as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}

/** A code or a type: a short word. What else stands there is left out. */
function nameIn(error: Readonly<Record<string, unknown>>, key: string): string {
  const value = error[key];
  if (typeof value === 'number') return String(value);
  return typeof value === 'string' && value.length <= maxNameChars && /^[\w./-]+$/.test(value) ? value : '';
}

function messageIn({ message }: Readonly<Record<string, unknown>>): string {
  if (typeof message !== 'string') return '';
  const words = message.replaceAll(/\S+/g, (word) =>
    word.length > maxWordChars ? `${word.slice(0, 6)}…` : word,
  );
  return words.length > maxMessageChars ? `${words.slice(0, maxMessageChars - 1)}…` : words;
}
