import { secretNames } from './secret-name.ts';

/** With a wrong URL a password may be anywhere before the last `@`, so all of that is one. Slashes may be missing or turned. */
const userInfo = /(\/\/|^\s*[a-z][a-z\d+.-]*:[/\\]*).*@/is;
const secretParameter = new RegExp(`([?&#;][^=?&#;]*(?:${secretNames})[^=?&#;]*=)[^&#]*`, 'gi');

/**
 * A URL, or a text that was to be one, as errors, logs and shown settings have it: without user and password, and without the
 * values of parameters whose names say that they are secrets.
 */
export function shownUrl(text: string): string {
  return text.replace(userInfo, '$1***@').replaceAll(secretParameter, '$1***');
}
