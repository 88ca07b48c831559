import {
  alphanumerics,
  codeAt,
  isAlphanumeric,
  isDigit,
  type RedactionRule,
  type SeenText,
} from './redaction-rule.ts';

/** A way in which keys begin. */
interface KeyKind {
  readonly prefix: string;
  /** The characters of a key after its prefix. */
  readonly of: ReadonlySet<number>;
  /** How many of them there have to be. */
  readonly min: number;
  /** Whether a digit has to be among the first `maxUntilDigit`: otherwise it may be words that are joined by `-`. */
  readonly hasDigit?: boolean;
}

/** Of random letters and digits, one key in 5,000 has no digit among so many. */
const maxUntilDigit = 48;
const maxKeyBytes = 16_384;

const characters = (more: string): ReadonlySet<number> =>
  new Set(Array.from(alphanumerics + more, (character) => character.charCodeAt(0)));
const plain = characters('');
const word = characters('_');
const slug = characters('_-');
const token = characters('._~+/=-');

const kinds: readonly KeyKind[] = [
  // OpenAI, Anthropic and many others.
  { prefix: 'sk-', of: slug, min: 16, hasDigit: true },
  // Stripe.
  ...['sk_live_', 'sk_test_', 'rk_live_', 'rk_test_'].map((prefix) => ({ prefix, of: plain, min: 16 })),
  // Amazon.
  ...['AKIA', 'ASIA'].map((prefix) => ({ prefix, of: plain, min: 16 })),
  // GitHub and GitLab.
  ...['ghp_', 'gho_', 'ghu_', 'ghs_', 'ghr_'].map((prefix) => ({ prefix, of: plain, min: 20 })),
  { prefix: 'github_pat_', of: word, min: 20 },
  { prefix: 'glpat-', of: slug, min: 20 },
  // Slack.
  ...Array.from('abeoprs', (kind) => ({ prefix: `xox${kind}-`, of: slug, min: 10 })),
  // Google.
  { prefix: 'AIza', of: slug, min: 30 },
  // Hugging Face, npm.
  { prefix: 'hf_', of: plain, min: 24 },
  { prefix: 'npm_', of: plain, min: 24 },
  // JSON Web Tokens: `{"` in Base64.
  { prefix: 'eyJ', of: characters('_-.'), min: 20 },
  ...['Bearer ', 'bearer '].map((prefix) => ({ prefix, of: token, min: 16, hasDigit: true })),
];

/** By the code of the first character. */
const kindsBy: readonly (readonly KeyKind[])[] = Array.from({ length: 0x80 }, (_, code) =>
  kinds.filter(({ prefix }) => prefix.charCodeAt(0) === code),
);

const armour = '-----BEGIN ';
const privateKey = 'PRIVATE KEY';
const maxLabelLength = 48;

/**
 * Secrets that can be told by how they begin: keys of OpenAI, Anthropic, Amazon, GitHub, GitLab, Slack, Google, Stripe,
 * Hugging Face and npm; JSON Web Tokens; tokens after `Bearer`; private keys in PEM, to their end or for 16,384
 * characters.
 */
export const keyRule: RedactionRule = {
  name: 'key',
  isWord: true,
  first: [...new Set([...kinds.map(({ prefix }) => prefix), armour].map(([first]) => first ?? ''))].join(''),
  maxLength: 80,
  match(seen, at) {
    if (codeAt(seen, at) === HYPHEN) return privateKeyLength(seen, at);
    if (isAlphanumeric(codeAt(seen, at - 1))) return 0;
    for (const kind of kindsBy[codeAt(seen, at)] ?? []) {
      const length = keyLength(seen, at, kind);
      if (length !== 0) return length;
    }
    return 0;
  },
  tail(seen, at) {
    const of = kinds.find(({ prefix }) => seen.text.startsWith(prefix, at))?.of;
    return of === undefined ? createArmourTail() : (code) => of.has(code);
  },
};

/** The characters that are enough to know that a key begins at `at`. */
function keyLength(seen: SeenText, at: number, { hasDigit, min, of, prefix }: KeyKind): number | undefined {
  const begun = startsWith(seen, at, prefix);
  if (begun !== true) return begun === undefined ? undefined : 0;
  const from = at + prefix.length;
  let isKey = hasDigit !== true;
  for (let index = from; index - from < maxUntilDigit; index += 1) {
    if (isKey && index - from >= min) return index - at;
    const code = codeAt(seen, index);
    if (code === -1) return undefined;
    if (!of.has(code)) return 0;
    isKey ||= isDigit(code);
  }
  return 0;
}

/** Whether a prefix stands at `at`; `undefined`: the text ends within it. */
function startsWith({ text }: SeenText, at: number, prefix: string): boolean | undefined {
  if (text.startsWith(prefix, at)) return true;
  return text.length - at < prefix.length && prefix.startsWith(text.slice(at)) ? undefined : false;
}

function privateKeyLength(seen: SeenText, at: number): number | undefined {
  const begun = startsWith(seen, at, armour);
  if (begun !== true) return begun === undefined ? undefined : 0;
  const from = at + armour.length;
  const label = /^[A-Z0-9 ]*/.exec(seen.text.slice(from, from + maxLabelLength))?.[0] ?? '';
  const found = label.indexOf(privateKey);
  if (found !== -1) return armour.length + found + privateKey.length;
  return from + label.length === seen.text.length && label.length < maxLabelLength ? undefined : 0;
}

/** What follows `PRIVATE KEY`: the end of that line, the key, and the line that ends it. */
function createArmourTail(): (code: number) => boolean {
  let hyphens = 0;
  let dashes = 0;
  let length = 0;
  return (code) => {
    length += 1;
    // Five hyphens end the first line, five begin the last one, and five end it.
    if (dashes === 3 || length > maxKeyBytes || !armoured.has(code)) return false;
    hyphens = code === HYPHEN ? hyphens + 1 : 0;
    if (hyphens === 5) {
      hyphens = 0;
      dashes += 1;
    }
    return true;
  };
}

const HYPHEN = 0x2d;
const armoured = characters('+/=-:,. \t\r\n');
