/** Money as people read it: two digits behind the point, and more where it would be nothing otherwise. */
export function moneyText(millionths: number, currency: string): string {
  const value = millionths / 1_000_000;
  const digits = value === 0 || value >= 1 ? 2 : Math.min(6, 1 - Math.floor(Math.log10(value)));
  const text = value.toLocaleString('en', {
    minimumFractionDigits: 2,
    maximumFractionDigits: Math.max(2, digits),
  });
  return currency === '' ? text : `${text} ${currency}`;
}
