const small =
  'zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen'.split(
    ' ',
  );
const tens = ['', '', 'twenty', 'thirty', 'forty', 'fifty', 'sixty', 'seventy', 'eighty', 'ninety'];
const scales = ['', ' thousand', ' million', ' billion', ' trillion'];
const irregular: Readonly<Record<string, string>> = {
  one: 'first',
  two: 'second',
  three: 'third',
  five: 'fifth',
  eight: 'eighth',
  nine: 'ninth',
  twelve: 'twelfth',
};
/** More digits are read one by one. */
const maxDigits = 15;

/** Digits, one by one: "two zero seven". */
export function digitWords(digits: string): string {
  return Array.from(digits, (digit) => small[Number(digit)] ?? '').join(' ');
}

/** A whole number, of digits with or without commas. Many of them, and a zero in front, are read one by one. */
export function cardinal(text: string): string {
  const digits = text.replaceAll(',', '');
  if (digits.length > maxDigits || (digits.length > 1 && digits.startsWith('0'))) return digitWords(digits);
  const value = Number(digits);
  if (value === 0) return 'zero';
  const groups: string[] = [];
  for (let rest = value, scale = 0; rest > 0; rest = Math.floor(rest / 1000), scale += 1)
    if (rest % 1000 > 0) groups.unshift(below1000(rest % 1000) + (scales[scale] ?? ''));
  return groups.join(' ');
}

/** A number with or without a part behind the point. */
export function decimal(text: string): string {
  const [whole = '', part] = text.split('.', 2);
  const before = whole === '' ? 'zero' : cardinal(whole);
  return part === undefined || part === '' ? before : `${before} point ${digitWords(part)}`;
}

/** "twenty-first" for 21. */
export function ordinal(text: string): string {
  const words = cardinal(text);
  const last = /[a-z]+$/.exec(words)?.[0] ?? '';
  const known = irregular[last] ?? (last.endsWith('y') ? `${last.slice(0, -1)}ieth` : `${last}th`);
  return words.slice(0, words.length - last.length) + known;
}

/** "nineteen ninety-nine", "two thousand five", "twenty twenty-six". */
export function year(text: string): string {
  const value = Number(text);
  const [century, rest] = [Math.floor(value / 100), value % 100];
  if (text.length !== 4 || value < 1000 || century % 10 === 0) {
    if (text.length !== 4 || value < 1000 || rest < 10) return cardinal(text);
  }
  if (rest === 0) return `${cardinal(String(century))} hundred`;
  return `${cardinal(String(century))} ${rest < 10 ? `oh ${small[rest] ?? ''}` : below1000(rest)}`;
}

/** "nineties" for 90. */
export function plural(words: string): string {
  return words.endsWith('y') ? `${words.slice(0, -1)}ies` : `${words}s`;
}

function below1000(value: number): string {
  const [hundreds, rest] = [Math.floor(value / 100), value % 100];
  const words: string[] = [];
  if (hundreds > 0) words.push(`${small[hundreds] ?? ''} hundred`);
  if (rest >= 20)
    words.push((tens[Math.floor(rest / 10)] ?? '') + (rest % 10 > 0 ? `-${small[rest % 10] ?? ''}` : ''));
  else if (rest > 0) words.push(small[rest] ?? '');
  return words.join(' ');
}
