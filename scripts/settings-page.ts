/**
 * Writes the tables of docs/configuration.md anew from the settings that the gateway has. A test compares them.
 *
 *     npm run settings
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { settingTables } from './setting-tables.ts';

const path = join(import.meta.dirname, '../docs/configuration.md');
writeFileSync(path, settingTables(readFileSync(path, 'utf8')));
