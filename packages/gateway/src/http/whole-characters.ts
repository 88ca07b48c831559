import { StringDecoder } from 'node:string_decoder';

/** Bytes of text, which may have been cut anywhere: a character that is not whole at the end is left out. */
export function wholeCharacters(bytes: Buffer): string {
  return new StringDecoder('utf8').write(bytes);
}
