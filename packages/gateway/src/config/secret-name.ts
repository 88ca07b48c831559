/** What is in the names of secrets, as the source of a regular expression. */
export const secretNames = 'key|token|secret|sig|(?<!by)pass|pwd|auth|code|credential';
const secretName = new RegExp(secretNames, 'i');

/** Whether what has that name is likely to be a secret: a parameter of a query, a header. */
export function isSecretName(name: string): boolean {
  return secretName.test(name);
}
