import { StringDecoder } from 'node:string_decoder';

/** Decodes UTF-8 that may have been cut anywhere. An incomplete character at the end is left out. */
export function wholeCharacters(bytes: Buffer): string {
  return new StringDecoder('utf8').write(bytes);
}
