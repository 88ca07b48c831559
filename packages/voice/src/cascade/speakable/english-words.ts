import { cardinal, decimal, digitWords, ordinal, plural, year } from './english-numbers.ts';

const months = 'January February March April May June July August September October November December'.split(
  ' ',
);
const month = String.raw`(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sept?|Oct|Nov|Dec)(?:uary|ruary|ch|il|e|y|ust|tember|ober|ember)?`;
const days: Readonly<Record<string, string>> = {
  mon: 'Monday',
  tue: 'Tuesday',
  wed: 'Wednesday',
  thu: 'Thursday',
  fri: 'Friday',
  sat: 'Saturday',
  sun: 'Sunday',
};
/** A number, with or without commas and a point. */
const number = String.raw`(\d{1,3}(?:,\d{3}){1,5}(?:\.\d{1,12})?|\d{1,15}(?:\.\d{1,12})?)`;
/** Not in the middle of a number. */
const start = String.raw`(?<![\d.,])`;
const end = String.raw`(?![\d]|[.,]\d)`;

/** Regions that write the day before the month. */
const dayFirst = /^en-(?:AU|GB|IE|IN|NZ|ZA)$/i;

interface Unit {
  readonly one: string;
  readonly many: string;
}
const unit = (one: string, many = `${one}s`): Unit => ({ one, many });

interface Currency extends Unit {
  /** A hundredth. */
  readonly part?: Unit;
}

const currencies: Readonly<Record<string, Currency>> = {
  $: { ...unit('dollar'), part: unit('cent') },
  USD: { ...unit('dollar'), part: unit('cent') },
  '€': { ...unit('euro'), part: unit('cent') },
  EUR: { ...unit('euro'), part: unit('cent') },
  '£': { ...unit('pound'), part: unit('penny', 'pence') },
  GBP: { ...unit('pound'), part: unit('penny', 'pence') },
  '₹': { ...unit('rupee'), part: unit('paisa', 'paise') },
  INR: { ...unit('rupee'), part: unit('paisa', 'paise') },
  '¥': unit('yen', 'yen'),
  JPY: unit('yen', 'yen'),
};

const units: Readonly<Record<string, Unit>> = {
  '°C': unit('degree Celsius', 'degrees Celsius'),
  '°F': unit('degree Fahrenheit', 'degrees Fahrenheit'),
  '°': unit('degree'),
  km: unit('kilometer'),
  'km/h': unit('kilometer per hour', 'kilometers per hour'),
  mph: unit('mile per hour', 'miles per hour'),
  mi: unit('mile'),
  m: unit('meter'),
  cm: unit('centimeter'),
  mm: unit('millimeter'),
  ft: unit('foot', 'feet'),
  kg: unit('kilogram'),
  g: unit('gram'),
  mg: unit('milligram'),
  lb: unit('pound'),
  lbs: unit('pound'),
  oz: unit('ounce'),
  l: unit('liter'),
  L: unit('liter'),
  ml: unit('milliliter'),
  KB: unit('kilobyte'),
  kB: unit('kilobyte'),
  MB: unit('megabyte'),
  GB: unit('gigabyte'),
  TB: unit('terabyte'),
  ms: unit('millisecond'),
  s: unit('second'),
  min: unit('minute'),
  h: unit('hour'),
  hr: unit('hour'),
  hrs: unit('hour'),
  W: unit('watt'),
  kW: unit('kilowatt'),
  kWh: unit('kilowatt hour'),
  V: unit('volt'),
  Hz: unit('hertz', 'hertz'),
  kHz: unit('kilohertz', 'kilohertz'),
  MHz: unit('megahertz', 'megahertz'),
  GHz: unit('gigahertz', 'gigahertz'),
};

const amounts: Readonly<Record<string, string>> = {
  k: ' thousand',
  K: ' thousand',
  m: ' million',
  M: ' million',
  million: ' million',
  bn: ' billion',
  B: ' billion',
  billion: ' billion',
  trillion: ' trillion',
};

const fractions: Readonly<Record<string, string>> = {
  '½': 'one half',
  '¼': 'one quarter',
  '¾': 'three quarters',
  '⅓': 'one third',
  '⅔': 'two thirds',
};

type Replace = (...groups: (string | undefined)[]) => string | undefined;

/** A pattern, and what is said for it; `undefined`: nothing else than it is. The first group is the whole. */
type Rule = readonly [pattern: RegExp, say: Replace];

const known = new Map<boolean, readonly Rule[]>();

/** They are made when they are first needed. */
function rulesFor(language: string): readonly Rule[] {
  const isDayFirst = dayFirst.test(language);
  const rules = known.get(isDayFirst) ?? makeRules(isDayFirst);
  known.set(isDayFirst, rules);
  return rules;
}

/** Their order matters: what is special comes before what is common. None of the words that are made is changed by one. */
function makeRules(isDayFirst: boolean): readonly Rule[] {
  return [
    // Abbreviations.
    [/(?<!\p{L})e\.\s?g\.,?/giu, () => 'for example'],
    [/(?<!\p{L})i\.\s?e\.,?/giu, () => 'that is'],
    [/\betc\.(?=\s+\p{Lu}|\s*$)/gu, () => 'et cetera.'],
    [/\betc\./g, () => 'et cetera'],
    [/\bvs\.?(?=\s)/g, () => 'versus'],
    [/\bapprox\./gi, () => 'approximately'],
    [/\bDr\.(?=\s+\p{Lu})/gu, () => 'Doctor'],
    [/\bProf\.(?=\s+\p{Lu})/gu, () => 'Professor'],
    [/\bMr\.?(?=\s+\p{Lu})/gu, () => 'Mister'],
    [/\bMrs\.?(?=\s+\p{Lu})/gu, () => 'Missus'],
    [/\bMs\.(?=\s+\p{Lu})/gu, () => 'Miz'],
    [/(?<=\p{Ll}\s)St\.(?=\s*(?:$|,|\p{Ll}))/gu, () => 'Street'],
    [/\bSt\.(?=\s+\p{Lu})/gu, () => 'Saint'],
    [/(?<=\p{L}\s)(?:Ave|Blvd|Rd)\./gu, (word) => roads[word ?? '']],
    [/(?<=\p{L},?\s)(?:Inc|Ltd|Co|Corp|Jr|Sr)\./gu, (word) => suffixes[word ?? '']],
    [/\bDept\./g, () => 'Department'],
    [/\b[Nn]o\.\s?(?=\d)|#(?=\d)/g, () => 'number '],
    [/\b[Ff]ig\.\s?(?=\d)/g, () => 'figure '],
    [/\bp\.\s?(?=\d)/g, () => 'page '],
    [/\bpp\.\s?(?=\d)/g, () => 'pages '],
    [
      /\b(Mon|Tue|Wed|Thu|Fri|Sat|Sun)\s?[–-]\s?(Mon|Tue|Wed|Thu|Fri|Sat|Sun)\b\.?/g,
      (_whole, from, to) =>
        `${days[from?.toLowerCase() ?? ''] ?? ''} to ${days[to?.toLowerCase() ?? ''] ?? ''}`,
    ],
    // Addresses.
    [
      /(?<![\w.@-])([\w.+-]{1,64})@([\w-]{1,63}(?:\.[\w-]{1,63}){1,5})/g,
      (_whole, name, host) => `${dots(name)} at ${dots(host)}`,
    ],
    [
      /(?<![\w.@-])((?:[a-z0-9-]{1,63}\.){1,4}(?:com|org|net|edu|gov|io|dev|ai|example|de|uk|co))\b(?!\.\w)/gi,
      dots,
    ],
    // Dates and times.
    [
      /(?<![\d-])(\d{4})-(\d{2})-(\d{2})(?:[T ](\d{2}):(\d{2})(?::\d{2}(?:\.\d{1,9})?)?(?:Z|[+-]\d{2}:?\d{2})?)?(?![\d-])/g,
      (_whole, y, m, d, hour, minute) => {
        const date = dateOf(d, Number(m), y);
        const time = hour === undefined ? undefined : timeOf(hour, minute ?? '00');
        return date && (hour === undefined ? date : time && `${date} at ${time}`);
      },
    ],
    [
      /(?<![\d/.])(\d{1,2})\/(\d{1,2})\/(\d{4}|\d{2})(?![\d/])/g,
      (_whole, one = '', two = '', y = '') => {
        const isDay = Number(one) > 12 || (isDayFirst && Number(two) <= 12);
        const full = y.length === 2 ? `20${y}` : y;
        return isDay ? dateOf(one, Number(two), full) : dateOf(two, Number(one), full);
      },
    ],
    [
      new RegExp(String.raw`\b${month}\.?\s(\d{1,2})(?:st|nd|rd|th)?(?:,?\s(\d{4}))?(?![\d:]|[.,]\d)`, 'g'),
      (_whole, name, d, y) => dateOf(d, monthOf(name), y),
    ],
    [
      new RegExp(
        String.raw`${start}\b(\d{1,2})(?:st|nd|rd|th)?\s(?:of\s)?${month}\b\.?(?:,?\s(\d{4}))?${end}`,
        'g',
      ),
      (_whole, d, name, y) => {
        const day = Number(d);
        if (day < 1 || day > 31) return undefined;
        return `the ${ordinal(d ?? '')} of ${months[monthOf(name) - 1] ?? ''}${y === undefined ? '' : `, ${year(y)}`}`;
      },
    ],
    // From one time to another.
    [/(?<=\d(?:\s?[ap]\.?m\.?)?)\s?[-–]\s?(?=\d{1,2}(?::\d{2}|\s?[ap]\.?m))/gi, () => ' to '],
    [
      /(?<![\d:.,])(\d{1,2}):(\d{2})(?::(\d{2}))?(?:\s?([aApP])\.?[mM]\b(?:(\.)(?=\s+\p{Lu}|\s*$)|\.)?)?(?![\d:])/gu,
      (_whole, hour, minute = '', second, half, point) => {
        const time = timeOf(hour, minute, half);
        if (time === undefined) return undefined;
        const seconds = second === undefined ? '' : ` and ${counted(second, unit('second'))}`;
        return time + seconds + halfOf(half, point);
      },
    ],
    [
      /(?<![\d:.,])(\d{1,2})\s?([aApP])\.?[mM]\b(?:(\.)(?=\s+\p{Lu}|\s*$)|\.)?/gu,
      (_whole, hour = '', half, point) => cardinal(String(Number(hour))) + halfOf(half, point),
    ],
    [/(?<=\s)([ap])\.m\.(?=\s*$)/gi, (_whole, half) => `${half?.toUpperCase() ?? ''} M.`],
    // Decades.
    [/(?<![\d.,\w])(\d{3})0s\b/g, (_whole, decade = '') => plural(year(`${decade}0`))],
    // Money.
    [
      new RegExp(
        String.raw`(?<![\w])([-−]?)([$€£₹¥]|USD\s|EUR\s|GBP\s|INR\s|JPY\s)\s?${number}(?:\s?(k|K|m|M|bn|B|million|billion|trillion)\b)?${end}`,
        'gu',
      ),
      (_whole, sign, name, amount, scale) => minus(sign) + money(name, amount, scale),
    ],
    [
      new RegExp(
        String.raw`${start}([-−]?)${number}(?:\s(million|billion|trillion))?\s?(€|£|₹|¥|(?:USD|EUR|GBP|INR|JPY)\b)`,
        'gu',
      ),
      (_whole, sign, amount, scale, name) => minus(sign) + money(name, amount, scale),
    ],
    // Telephones, and other long runs of digits: at least seven.
    [
      /(?<![\d.,])\+?(?:\(\d{1,5}\)[\s-]?)?\d{1,5}(?:[\s.-]\d{2,5}){2,6}(?![\d]|[.,]\d)/g,
      (whole) => digitGroups(whole),
    ],
    [/(?<![\d.,])(?:\(\d{2,5}\)\s?)?\d{3}[\s-]\d{4}(?![\d]|[.,]\d)/g, (whole) => digitGroups(whole)],
    [/(?<![\d.,])\+?\d{7,40}(?![\d]|[.,]\d)/g, (whole) => digitGroups(whole)],
    // Fractions.
    [
      /(?<![\d/.,])(?:(\d{1,3})\s)?(\d{1,3})\/(\d{1,3})(?![\d/]|[.,]\d)/g,
      (_whole, whole, over = '', under = '') => fraction(whole, over, under),
    ],
    [
      /(\d{1,3})?\s?([½¼¾⅓⅔])/gu,
      (_whole, whole, part) => {
        const words = fractions[part ?? ''] ?? '';
        return whole === undefined
          ? ` ${words} `
          : ` ${cardinal(whole)} and ${words.replace(/^one /, 'a ')} `;
      },
    ],
    // Ranges: a dash between two numbers.
    [
      new RegExp(String.raw`${start}(?<![\w-])${number}(?:\s?–\s?|-)${number}(?![\w-]*\d)${end}`, 'g'),
      (_whole, from = '', to = '') => `${value(from)} to ${to}`,
    ],
    // Units.
    [
      new RegExp(String.raw`${start}(?:(?<![\w])([-−]))?${number}\s?(%|percent\b)`, 'gu'),
      (_whole, sign, amount = '') => `${minus(sign)}${decimal(amount)} percent`,
    ],
    [
      new RegExp(
        String.raw`${start}(?:(?<![\w])([-−]))?${number}\s?(${Object.keys(units)
          .toSorted((one, other) => other.length - one.length)
          .join('|')})(?![\p{L}\p{N}'’])`,
        'gu',
      ),
      (_whole, sign, amount = '', name = '') => minus(sign) + counted(amount, units[name] ?? unit(name)),
    ],
    // Numbers.
    [
      new RegExp(String.raw`${start}\b(\d{1,3}(?:,\d{3})*|\d{1,6})(?:st|nd|rd|th)\b`, 'g'),
      (_whole, amount = '') => ordinal(amount),
    ],
    [/\bv(?=\d)/gi, () => 'version '],
    [
      /(?<![\d.,])\d{1,9}(?:\.\d{1,9}){2,8}(?![\d])/g,
      (whole = '') =>
        whole
          .split('.')
          .map((part) => cardinal(part))
          .join(' point '),
    ],
    [new RegExp(String.raw`(?<![\w.,)])[-−](?=\d)`, 'gu'), () => 'minus '],
    [new RegExp(String.raw`${start}${number}${end}`, 'g'), (whole = '') => spaced(value(whole))],
    [/\d{1,15}/g, (whole = '') => spaced(cardinal(whole))],
    // Signs.
    [/\s*&\s*/g, () => ' and '],
    [/\s*[=]+\s*/g, () => ' equals '],
    [/\s*×\s*|(?<=\w)\s+\*\s+(?=\w)/gu, () => ' times '],
    [/(?<=\S)\s*[+]\s*(?=\S)/g, () => ' plus '],
    [/[~≈]\s?(?=\p{L})/gu, () => 'about '],
    [/\s*[→⇒]\s*/gu, () => ' to '],
    [/%/g, () => ' percent '],
    [/_/g, () => ' '],
  ];
}

const roads: Readonly<Record<string, string>> = { 'Ave.': 'Avenue', 'Blvd.': 'Boulevard', 'Rd.': 'Road' };
const suffixes: Readonly<Record<string, string>> = {
  'Inc.': 'Incorporated',
  'Ltd.': 'Limited',
  'Co.': 'Company',
  'Corp.': 'Corporation',
  'Jr.': 'Junior',
  'Sr.': 'Senior',
};

/** Numbers, money, dates, units and abbreviations of an English text, as words. */
export function englishWords(text: string, language: string): string {
  // The item of a list.
  let words = text.replace(/^(\d{1,3})[.)](?=\s)/, (_whole, item: string) => `${cardinal(item)},`);
  for (const [pattern, say] of rulesFor(language))
    words = words.replaceAll(pattern, (whole: string, ...groups: unknown[]) => {
      const strings = groups.filter((group) => typeof group === 'string' || group === undefined);
      return say(whole, ...strings) ?? whole;
    });
  return words
    .replaceAll(/\s+/gu, ' ')
    .replaceAll(/ (?=[.,;:!?](?:\s|$))/g, '')
    .trim();
}

/** A word of its own, where a number stands in the middle of one: "B two B". */
function spaced(words: string): string {
  return ` ${words} `;
}

/** A year where it may be one, otherwise a number. */
function value(text: string): string {
  const isYear = /^\d{4}$/.test(text) && Number(text) >= 1100 && Number(text) < 2100;
  return isYear ? year(text) : decimal(text);
}

function minus(sign: string | undefined): string {
  return sign === undefined || sign === '' ? '' : 'minus ';
}

function counted(amount: string, { many, one }: Unit): string {
  return `${decimal(amount)} ${Number(amount.replaceAll(',', '')) === 1 ? one : many}`;
}

function money(name = '', amount = '', scale?: string): string {
  const currency: Currency = currencies[name.trim()] ?? unit(name);
  if (scale !== undefined) return `${decimal(amount)}${amounts[scale] ?? ''} ${currency.many}`;
  const [whole = '', cents = ''] = amount.split('.', 2);
  if (currency.part === undefined || cents.length !== 2) return counted(amount, currency);
  const part = counted(String(Number(cents)), currency.part);
  if (Number(whole) === 0 && Number(cents) > 0) return part;
  return counted(whole, currency) + (Number(cents) === 0 ? '' : ` and ${part}`);
}

function monthOf(name = ''): number {
  return 1 + months.findIndex((one) => one.startsWith(name.slice(0, 3)));
}

/** `undefined`: there is no such day. */
function dateOf(day: string | undefined, monthNumber: number, y?: string): string | undefined {
  const name = months[monthNumber - 1];
  const number_ = Number(day);
  if (name === undefined || !(number_ >= 1 && number_ <= 31)) return undefined;
  return `${name} ${ordinal(String(number_))}${y === undefined ? '' : `, ${year(y)}`}`;
}

function timeOf(hour = '', minute = '', half?: string): string | undefined {
  const [hours, minutes] = [Number(hour), Number(minute)];
  if (hours > 24 || minutes > 59) return undefined;
  const words = cardinal(String(hours));
  if (minutes > 0) return `${words} ${minutes < 10 ? 'oh ' : ''}${cardinal(String(minutes))}`;
  if (half !== undefined) return words;
  if (hours === 0 || hours === 24) return 'midnight';
  return hours <= 12 ? `${words} o'clock` : `${words} hundred`;
}

function halfOf(half: string | undefined, point: string | undefined): string {
  return half === undefined ? '' : ` ${half.toUpperCase()} M${point ?? ''}`;
}

function fraction(whole: string | undefined, over: string, under: string): string | undefined {
  if (over === '24' && under === '7') return 'twenty-four seven';
  const [top, bottom] = [Number(over), Number(under)];
  const before = whole === undefined ? '' : `${cardinal(whole)} and `;
  if (bottom < 2 || bottom > 20 || top < 1 || top >= bottom) {
    return whole === undefined ? `${cardinal(over)} over ${cardinal(under)}` : undefined;
  }
  const name = bottom === 2 ? 'half' : bottom === 4 ? 'quarter' : ordinal(under);
  if (top === 1) return `${before}${whole === undefined ? 'one' : 'a'} ${name}`;
  return `${before}${cardinal(over)} ${plural(name)}`;
}

/** Each group of digits, one by one; `undefined`: there are too few. */
function digitGroups(text = ''): string | undefined {
  const groups = text.match(/\d+/g) ?? [];
  if (groups.join('').length < 7) return undefined;
  return (text.startsWith('+') ? 'plus ' : '') + groups.map((group) => digitWords(group)).join(', ');
}

/** "library dot org". */
function dots(text = ''): string {
  return text.replaceAll('.', ' dot ');
}
