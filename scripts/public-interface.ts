/**
 * What a package gives to programs: each entry point of its `exports` with the declarations that it names, as the compiler
 * writes them (`.d.ts`), without comments. TypeScript 7 has no interface for programs, and the compiler's files are regular.
 */
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** What is taken of the platform's own classes: their documentation says what the members are. */
const platformShapes = new Set(['NodeWritable', 'PausableWebSocket', 'WebSocketLike']);

/** A declaration that programs can import. */
interface Declaration {
  readonly name: string;
  readonly text: string;
  /** Whether a documentation comment stands in front of it. */
  readonly hasComment: boolean;
  /** Its members without one. */
  readonly bareMembers: readonly string[];
}

export interface PublicInterface {
  /** For people, and to be compared. */
  readonly text: string;
  /** Names without a documentation comment: `Reader` or `Reader.take`. */
  readonly undocumented: readonly string[];
}

/** Reads the interface of a built package. */
export function publicInterface(folder: string): PublicInterface {
  const { exports, name } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as {
    readonly name: string;
    readonly exports: Readonly<Record<string, { readonly types: string }>>;
  };
  const entries = Object.entries(exports).map(([path, { types }]) => {
    const declarations = declarationsOf(join(folder, types)).toSorted((one, other) =>
      one.name < other.name ? -1 : 1,
    );
    return { path: join(name, path), declarations };
  });
  const all = entries.flatMap(({ declarations }) => declarations);
  // Of several signatures of a function the first has the comment.
  const documented = new Set(all.filter(({ hasComment }) => hasComment).map((one) => one.name));
  const undocumented = all.flatMap(({ bareMembers, name: its }) => [
    ...(documented.has(its) ? [] : [its]),
    ...bareMembers.map((member) => `${its}.${member}`),
  ]);
  return {
    text: entries
      .map(({ declarations, path }) => `# ${path}\n\n${declarations.map(({ text }) => text).join('\n')}`)
      .join('\n'),
    undocumented: [...new Set(undocumented)],
  };
}

/** What a file of declarations exports, also of what it names from other files. */
function declarationsOf(path: string): Declaration[] {
  const text = readFileSync(path, 'utf8');
  const handedOn = [...text.matchAll(/^export (?:type )?\{([^}]*)\} from '(\.[^']*)';/gm)];
  const fromOthers = handedOn.flatMap(([, names = '', from = '']) => {
    const wanted = new Set(names.split(',').map((name) => name.trim().replace(/^type /, '')));
    const others = declarationsOf(join(dirname(path), from.replace(/\.(?:ts|js)$/, '.d.ts')));
    return others.filter(({ name }) => wanted.has(name));
  });
  return [...ownDeclarations(text), ...fromOthers];
}

/** A top-level statement begins at the start of a line, and so does the comment in front of it. */
function ownDeclarations(text: string): Declaration[] {
  const statements = text.matchAll(
    /^(\/\*\*(?:(?!\*\/)[^])*\*\/\n)?export (?:declare |abstract )*(?:class|const|function|interface|type) (\w+)(?:[^]*?)(?=^(?:\/\*\*|export|declare|import|\/\/|interface|type|class)|(?![^]))/gm,
  );
  return [...statements].map(([whole, comment, name = '']) => {
    const body = whole.slice(comment?.length ?? 0);
    const bareMembers = platformShapes.has(name) ? [] : bareMembersOf(body);
    return { name, text: plain(body), hasComment: comment !== undefined, bareMembers };
  });
}

/** Members of an interface or a class stand four spaces in. What overrides has its comment where it is declared first. */
function bareMembersOf(body: string): string[] {
  if (!/^export (?:declare |abstract )*(?:class|interface) /.test(body)) return [];
  const members = body.matchAll(
    /(\*\/\n)?^ {4}(?!\*|\/|private |#private|override |constructor|\[|\})(?:(?:readonly|static|get|set|abstract) )*(\w+)/gm,
  );
  return [...members].filter(([, comment]) => comment === undefined).map(([, , member = '']) => member);
}

function plain(text: string): string {
  return text
    .replaceAll(/^ *\/\*\*(?:(?!\*\/)[^])*\*\/\n/gm, '')
    .replaceAll(/^ {4}(?:#private|private .*);\n/gm, '');
}
