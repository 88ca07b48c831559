import { redactionRules } from '../../src/tap/content/redactor.ts';

/** All rules with names, in the order of their names here. */
export const allRules = Object.values(redactionRules);

/** A text for one rule, and what is kept of it. */
export interface Example {
  readonly rule: keyof typeof redactionRules;
  readonly text: string;
  readonly kept: string;
}

const privateKey = [
  '-----BEGIN RSA PRIVATE KEY-----',
  'Proc-Type: 4,ENCRYPTED',
  '',
  'MIIEowIBAAKCAQEA1c7+9z5Pad7OejecsQ0buBgzQ8mvMyJVKJbmWJ3k9DfU',
  'l5sN1v0=',
  '-----END RSA PRIVATE KEY-----',
].join('\n');

const jwt = [
  'eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9',
  'eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4ifQ',
  'SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c',
].join('.');

/** None of these numbers, addresses and keys is anybody's: they are made up, or those that standards give as examples. */
export const examples: readonly Example[] = [
  { rule: 'email', text: 'Write to ada@example.com.', kept: 'Write to [email].' },
  { rule: 'email', text: '<Ada.Lovelace+x_1%y@mail.example.co.uk>, or', kept: '<[email]>, or' },
  { rule: 'email', text: 'mailto:zoë@exämple.de?subject=x', kept: 'mailto:[email]?subject=x' },
  { rule: 'email', text: 'a@b.cc c@d.ee', kept: '[email] [email]' },
  { rule: 'email', text: '请写信给ada@example.com谢谢', kept: '请写信给[email]谢谢' },
  { rule: 'email', text: 'ada@example.com.5 left', kept: '[email].5 left' },
  { rule: 'email', text: 'full width: ada＠example．com', kept: 'full width: [email]' },
  { rule: 'email', text: 'soft a\u00adda@exam\u200bple.com.', kept: 'soft [email].' },
  { rule: 'email', text: 'nested {"to":"ada\\u0040example.com"}', kept: 'nested {"to":"[email]"}' },
  { rule: 'phone', text: 'Call +49 (0)30 123-4567 now', kept: 'Call [phone] now' },
  { rule: 'phone', text: 'Call +14155552671, please', kept: 'Call [phone], please' },
  { rule: 'phone', text: 'Call 0049 30 1234567!', kept: 'Call [phone]!' },
  { rule: 'phone', text: '(0)30', kept: '(0)30' },
  { rule: 'phone', text: 'Tel. 030/1234567.', kept: 'Tel. [phone].' },
  { rule: 'phone', text: 'Tel. 01711234567', kept: 'Tel. [phone]' },
  { rule: 'phone', text: '01 23 45 67 89 à Paris', kept: '[phone] à Paris' },
  { rule: 'phone', text: '01.23.45.67.89', kept: '[phone]' },
  { rule: 'phone', text: '020 7946 0958', kept: '[phone]' },
  {
    rule: 'phone',
    text: '(415) 555-2671 or 415-555-2671 or 1-415-555-2671',
    kept: '[phone] or [phone] or [phone]',
  },
  { rule: 'phone', text: '415 555 2671 99 bottles', kept: '415 555 2671 99 bottles' },
  { rule: 'phone', text: 'non-breaking +49\u00a030\u20111234567', kept: 'non-breaking [phone]' },
  { rule: 'card', text: 'Pay with 4111 1111 1111 1111 now', kept: 'Pay with [card] now' },
  { rule: 'card', text: '4111-1111-1111-1111.', kept: '[card].' },
  { rule: 'card', text: 'amex 378282246310005,', kept: 'amex [card],' },
  { rule: 'card', text: '6011000990139424 12/29', kept: '[card] 12/29' },
  { rule: 'card', text: '5555 5555 5555 4444 2029', kept: '[card] 2029' },
  { rule: 'card', text: '４１１１１１１１１１１１１１１１ in full width', kept: '[card] in full width' },
  { rule: 'card', text: 'ref 12 4111111111111111', kept: 'ref 12 [card]' },
  { rule: 'key', text: 'use sk-proj-Ab3dEf6hIj9kLm2nOp5q as key', kept: 'use [key] as key' },
  { rule: 'key', text: 'sk-ant-api03-AbCdEfGhIjKlMnOpQr', kept: '[key]' },
  { rule: 'key', text: 'id=AKIAIOSFODNN7EXAMPLE;', kept: 'id=[key];' },
  { rule: 'key', text: 'ghp_16C7e42F292c6912E7710c838347Ae178B4a', kept: '[key]' },
  { rule: 'key', text: 'xoxb-123456789012-abcdefABCDEF', kept: '[key]' },
  { rule: 'key', text: 'AIzaSyD-9tSrke72PouQMnMX-a7eZSW0jkFMBWY', kept: '[key]' },
  { rule: 'key', text: 'Authorization: Bearer abc123def456ghi789~x==', kept: 'Authorization: [key]' },
  { rule: 'key', text: `token ${jwt} end`, kept: 'token [key] end' },
  { rule: 'key', text: `before\n${privateKey}\nafter`, kept: 'before\n[key]\nafter' },
];

/** What looks like something and is nothing. */
export const nothings: readonly string[] = [
  'version 1.2.3 of 10.11.12, 2.0.0-rc.1 and v18.19.1',
  '2026-11-28, 28.11.2026, 11/28/2026, 01/02/2024 10:30, 01-02-2024 10:30',
  '2026-11-28T01:02:03.123Z 09:30 10:45 00:00:00',
  '1790000000 1790000000000 1790000000000000 1790000000000000000',
  '550e8400-e29b-41d4-a716-446655440000 f47ac10b-58cc-4372-a567-0e02b2c3d479',
  '$1,234.56 0.99 € 1.299,00 1 234 567,89 99.95 100.00 1.50',
  'DE89 3704 0044 0532 0130 00, GB29 NWBK 6016 1331 9268 19',
  '3.14159265358979 0.4111111111111111 2.718281828459045 1e10 6.02214076e23',
  '192.168.100.10 10.0.0.1:8080 2001:db8::8a2e:370:7334 127.0.0.1',
  'user@localhost @scope/package package@1.2.3 @ada #42 a @ b',
  'sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08',
  'sk-learn sk-SK sk-toggleable__content-arrow ask-questions-before-acting',
  'Bearer of news, bearer authentication, the bearer of this letter',
  'ISBN 978-3-16-148410-0, order 123456789, room 101, 40 000 people',
  'chatcmpl-CfxSpillway0001 msg_01XFDUDYJgAACzvnptvVoYEL resp_67ccd2bed1ec8190b14f964abc0542670bb6a6b452d3795b',
  'f(x) = x-1-2-3; a[0] (1) (2) --- ----- -----BEGIN CERTIFICATE----- + 1 + 2',
];
