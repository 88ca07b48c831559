/**
 * Replaces a secret in a text that an engine has made, by `[password]`. Where the secret is a part of a longer word it stays: the
 * word would say what the secret is.
 */
export function withoutSecret(text: string, secret: string | undefined): string {
  if (!secret) return text;
  const literal = secret.replaceAll(/[\\^$.*+?()[\]{}|/]/g, String.raw`\$&`);
  return text.replaceAll(
    new RegExp(String.raw`(?<![\p{L}\p{N}])${literal}(?![\p{L}\p{N}])`, 'gu'),
    '[password]',
  );
}
