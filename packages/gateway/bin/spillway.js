#!/usr/bin/env node
// Node 10 and later read this file, as a module or as a script: it has no import statements and only the
// syntax of 2015, but for its last line. That one loads what needs a Node that fits `engines` of package.json.
var needed = [22, 19];
var found = process.versions.node.split('.').map(Number);

if (found[0] < needed[0] || (found[0] === needed[0] && found[1] < needed[1])) {
  var versions = 'expected Node ' + needed.join('.') + ' or later, got Node ' + process.versions.node;
  var remedy = 'install a newer one (https://nodejs.org/en/download), or put one before it in PATH';
  process.stderr.write('spillway: ' + versions + ' (' + process.execPath + '): ' + remedy + '\n');
  // EX_UNAVAILABLE of sysexits.h. docs/operating.md lists all exit codes.
  process.exit(69);
}

void import('./start.js');
