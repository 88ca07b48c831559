/** Quantities as people read them: short, and of one width as far as that goes. */

const binary = ['B', 'KiB', 'MiB', 'GiB', 'TiB'] as const;

export function bytesText(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < binary.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${short(value)} ${binary[unit] ?? ''}`;
}

export function durationText(durationMs: number): string {
  if (durationMs < 1000) return `${durationMs < 10 ? short(durationMs) : Math.round(durationMs)} ms`;
  const seconds = durationMs / 1000;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} m ${pad(Math.floor(seconds) % 60)} s`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${pad(minutes % 60)} m` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

export function countText(count: number): string {
  if (count < 10_000) return Math.round(count).toLocaleString('en');
  // No line ends between a number and its unit.
  return count < 1e6 ? `${short(count / 1e3)}\u{a0}k` : `${short(count / 1e6)}\u{a0}M`;
}

/** A rate, a second. */
export function rateText(perSecond: number): string {
  const rounded = Math.round(perSecond * 10) / 10;
  return rounded < 10 ? short(rounded) : countText(rounded);
}

/** Time of day. */
export function clockText(atMs: number): string {
  return new Date(atMs).toLocaleTimeString('en-GB');
}

/** A place among those that wait, from 1. */
export function placeText(position: number): string {
  return position === 1 ? 'the next one' : `${countText(position - 1)} before it`;
}

/** `1 reader`, `2 readers`. */
export function plural(count: number, noun: string): string {
  return `${countText(count)} ${noun}${count === 1 ? '' : 's'}`;
}

function short(value: number): string {
  return value >= 100 || Number.isInteger(value) ? String(Math.round(value)) : value.toFixed(1);
}

function pad(value: number): string {
  return String(value).padStart(2, '0');
}
