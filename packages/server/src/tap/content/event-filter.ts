import type { FormatName } from '@spillway/core/format/format';
import type { EventRun } from '@spillway/core/format/sse';
import { type Closing, closingOf, isOvertaken } from './closed-slots.ts';
import type { ContentFilter, ContentOptions, KeptContent } from './kept-content.ts';
import { cloneEvent, cloneRaw, type EventClone, writeClone } from './event-clone.ts';
import { type JsonNode, readJson, rewriteJson } from './json-nodes.ts';
import { redactNode } from './redact-json.ts';
import type { RedactionRule } from './redaction-rule.ts';
import { createRedactor, type Redactor, redactText } from './redactor.ts';
import { findShed, logprobsOf, type Shed, type ShedPart, shedParts } from './shed-parts.ts';
import { type EventText, eventTexts, writeEvent } from './sse-text.ts';
import { slotFinders, type TextSlot } from './text-slots.ts';

/** More than any reply has texts at a time. The oldest one is then taken for whole. */
const maxSlots = 1024;
const endMarker = '[DONE]';
/** The key of data that is no JSON. */
const rawKey = 'data';

/** A text of which more may come. */
interface OpenSlot {
  readonly redactor: Redactor;
  /** The event that takes what is held back. */
  clone: EventClone | undefined;
  /** The run in which what is held back has begun. */
  since: number;
}

/** An event that ends a choice, until it is known that no more of that choice comes. */
interface DelayedEvent {
  readonly closing: Closing;
  readonly written: string;
  readonly since: number;
}

/** Keeps events, with changes. */
export class EventFilter implements ContentFilter {
  isShedding = false;
  readonly readsWhole = false;
  readonly #format: FormatName;
  readonly #keepsText: boolean;
  readonly #rules: readonly RedactionRule[] | undefined;
  readonly #shed: ReadonlySet<ShedPart>;
  readonly #maxHeldBytes: number;
  readonly #slots = new Map<string, OpenSlot>();
  #delayed: DelayedEvent | undefined;
  #run = -1;
  /** What is kept of the runs since the last answer. */
  #written = '';
  #events = 0;
  #text = new Map<string, string>();
  #redacted = 0;
  #found = new Set<ShedPart>();

  constructor(format: FormatName, { content, maxHeldBytes, redact, shed = [] }: ContentOptions) {
    this.#format = format;
    this.#keepsText = content === 'text';
    this.#rules = redact;
    this.#shed = new Set(shed);
    this.#maxHeldBytes = maxHeldBytes;
  }

  get heldSince(): number | undefined {
    let since = this.#delayed?.since ?? Infinity;
    for (const { redactor, since: own } of this.#slots.values())
      if (redactor.heldLength > 0) since = Math.min(since, own);
    return since === Infinity ? undefined : since;
  }

  take(run: EventRun): KeptContent {
    this.#run += 1;
    const { bytes, events } = run;
    if (!this.#keepsText && this.#rules === undefined && !this.isShedding)
      return { bytes, events, redacted: 0, shed: [] };
    const text = decoder.decode(bytes);
    for (const event of eventTexts(text)) this.#take(event);
    const isSame = this.#written === text;
    const kept = this.#kept();
    return isSame ? { ...kept, bytes } : kept;
  }

  flush(): KeptContent {
    this.#settle([]);
    this.#close(['']);
    return this.#kept();
  }

  #kept(): KeptContent {
    const kept: KeptContent = {
      bytes: encoder.encode(this.#written),
      events: this.#events,
      ...(this.#keepsText ? { text: Object.fromEntries(this.#text) } : {}),
      redacted: this.#redacted,
      shed: shedParts.filter((part) => this.#found.has(part)),
    };
    this.#written = '';
    this.#events = 0;
    this.#text = new Map();
    this.#redacted = 0;
    this.#found = new Set();
    return kept;
  }

  #take(event: EventText): void {
    const { data, raw } = event;
    if (data === undefined) {
      // A comment, or nothing but an id.
      this.#write(this.#redactLines(raw), 0);
    } else if (data.trim() === endMarker) {
      this.#settle([]);
      this.#close(['']);
      this.#write(this.#redactLines(raw));
    } else {
      const root = readJson(data);
      if (root === undefined) this.#takeRaw(event, data);
      else this.#takeJson(event, data, root);
    }
    this.#keepBound();
  }

  /** Data that is no JSON could say anything, and goes on with that of other events. */
  #takeRaw(event: EventText, data: string): void {
    if (this.#rules === undefined) {
      this.#write(event.raw);
      return;
    }
    this.#settle([]);
    const open = this.#slot(rawKey, false);
    const kept = this.#push(open, data);
    open.clone = cloneRaw(event);
    this.#write(writeEvent(event, this.#redactLines(event.others), kept));
  }

  #takeJson(event: EventText, data: string, root: JsonNode): void {
    const shed = this.isShedding ? findShed(this.#format, root, this.#shed) : nothingShed;
    for (const part of shed.parts) this.#found.add(part);
    if (shed.isWhole) return;
    const slots = slotFinders[this.#format](root).filter(({ node, path }) => {
      return !shed.emptied.has(node) && ![...path, node].some((value) => shed.removed.has(value));
    });
    if (this.#keepsText) this.#say(slots);
    else if (this.#rules === undefined) this.#write(this.#rewritten(event, data, root, shed, noChanges));
    else this.#redact(event, data, root, shed, slots);
  }

  /** Keeps the texts alone. What is held back of one comes at the end. */
  #say(slots: readonly TextSlot[]): void {
    for (const { isJson, isText, key, node } of slots) {
      if (!isText) continue;
      const isRedacted = this.#rules !== undefined;
      this.#add(key, isRedacted ? this.#push(this.#slot(key, isJson), node.value) : node.value);
    }
  }

  #redact(event: EventText, data: string, root: JsonNode, shed: Shed, slots: readonly TextSlot[]): void {
    // Log probabilities repeat the text, token by token and byte by byte.
    const logprobs = logprobsOf(this.#format, root);
    if (logprobs.length > 0) this.#found.add('logprobs');
    const without = { ...shed, removed: new Set([...shed.removed, ...logprobs]) };
    this.#settle(slots);
    const closing = closingOf(this.#format, root);
    const isFinal = closing !== undefined && !closing.mayGoOn;
    if (isFinal) this.#close(closing.prefixes, slots);
    const changed = new Map<JsonNode, string | undefined>();
    const kept = new Map<JsonNode, string>();
    for (const { isJson, isLast, key, node } of slots) {
      if (node.value !== '') this.#overtake(key, slots, kept);
      const own = this.#slot(key, isJson);
      const isOver = isLast || (isFinal && covers(closing, key));
      kept.set(node, this.#push(own, node.value) + (isOver ? this.#rest(own) : ''));
      if (isOver) this.#slots.delete(key);
    }
    for (const { node } of slots) {
      const text = kept.get(node);
      changed.set(node, text === node.value ? undefined : JSON.stringify(text));
    }
    const written = this.#rewritten(event, data, root, without, changed);
    // Its name is written again, and may be anything.
    const alike = { ...event, others: redactText(event.others, this.#rules ?? []).text };
    const show = (node: JsonNode): string => changed.get(node) ?? data.slice(node.start, node.end);
    for (const slot of slots) {
      const own = this.#slots.get(slot.key);
      if (own !== undefined && own.redactor.heldLength > 0) own.clone = cloneEvent(alike, slot, show);
    }
    if (closing === undefined || isFinal) this.#write(written);
    else this.#delayed = { closing, written, since: this.#run };
  }

  /** Writes an event with its changes, and adds the changes of strings that are whole. */
  #rewritten(
    event: EventText,
    data: string,
    root: JsonNode,
    { emptied, removed }: Shed,
    changed: Map<JsonNode, string | undefined>,
  ): string {
    const rules = this.#rules;
    const payload = rewriteJson(
      data,
      root,
      (node) => {
        if (changed.has(node)) return changed.get(node);
        if (node.kind === 'string' && emptied.has(node)) return '""';
        const found = rules === undefined ? undefined : redactNode(node, rules);
        if (found === undefined) return undefined;
        this.#redacted += found.redacted;
        changed.set(node, found.text);
        return found.text;
      },
      removed,
    );
    const others = this.#redactLines(event.others);
    return payload === data && others === event.others ? event.raw : writeEvent(event, others, payload);
  }

  /** Decides about the event that ended a choice: whether these texts go on with it. */
  #settle(slots: readonly TextSlot[]): void {
    const delayed = this.#delayed;
    if (delayed === undefined) return;
    this.#delayed = undefined;
    if (!slots.some(({ key, node }) => node.value !== '' && covers(delayed.closing, key)))
      this.#close(delayed.closing.prefixes);
    this.#write(delayed.written);
  }

  /** Ends the texts that one of another kind overtakes: before this event, or in it if it says something of them. */
  #overtake(by: string, slots: readonly TextSlot[], kept: Map<JsonNode, string>): void {
    for (const [key, open] of this.#slots) {
      if (!isOvertaken(this.#format, key, by)) continue;
      const own = slots.findLast((slot) => slot.key === key && kept.has(slot.node));
      if (own === undefined) {
        this.#closeSlot(key, open);
      } else {
        this.#slots.delete(key);
        kept.set(own.node, (kept.get(own.node) ?? '') + this.#rest(open));
      }
    }
  }

  /** Writes what is held back of the texts whose keys begin with one of the prefixes, but for those in `except`. */
  #close(prefixes: readonly string[], except: readonly TextSlot[] = []): void {
    for (const [key, open] of this.#slots) {
      if (!prefixes.some((prefix) => key.startsWith(prefix)) || except.some((slot) => slot.key === key))
        continue;
      this.#closeSlot(key, open);
    }
  }

  #closeSlot(key: string, open: OpenSlot): void {
    this.#slots.delete(key);
    const rest = this.#rest(open);
    if (rest === '') return;
    if (this.#keepsText) this.#add(key, rest);
    else if (open.clone !== undefined) this.#write(writeClone(open.clone, rest));
  }

  /** Takes the oldest texts for whole, until the bounds are kept. */
  #keepBound(): void {
    const delayedLength = this.#delayed?.written.length ?? 0;
    if (delayedLength > this.#maxHeldBytes) this.#settle([]);
    let held = 0;
    for (const open of this.#slots.values()) held += heldLength(open);
    for (const [key, open] of this.#slots) {
      const isTooMuch = held > this.#maxHeldBytes && heldLength(open) > 0;
      if (!isTooMuch && this.#slots.size <= maxSlots) continue;
      held -= heldLength(open);
      this.#closeSlot(key, open);
    }
  }

  #slot(key: string, isJson: boolean): OpenSlot {
    const known = this.#slots.get(key);
    if (known !== undefined) return known;
    const made: OpenSlot = {
      redactor: createRedactor(this.#rules ?? [], isJson),
      clone: undefined,
      since: this.#run,
    };
    this.#slots.set(key, made);
    return made;
  }

  #push(open: OpenSlot, text: string): string {
    const { redactor } = open;
    const before = redactor.count;
    const kept = redactor.push(text);
    this.#redacted += redactor.count - before;
    // All that is held back came now.
    if (redactor.heldLength <= text.length) open.since = this.#run;
    return kept;
  }

  #rest({ redactor }: OpenSlot): string {
    const before = redactor.count;
    const rest = redactor.flush();
    this.#redacted += redactor.count - before;
    return rest;
  }

  #redactLines(lines: string): string {
    if (this.#rules === undefined || lines === '') return lines;
    const { redacted, text } = redactText(lines, this.#rules);
    this.#redacted += redacted;
    return text;
  }

  #write(event: string, events = 1): void {
    if (this.#keepsText) return;
    this.#written += event;
    this.#events += events;
  }

  #add(key: string, text: string): void {
    if (text !== '') this.#text.set(key, (this.#text.get(key) ?? '') + text);
  }
}

function heldLength({ clone, redactor }: OpenSlot): number {
  if (redactor.heldLength === 0) return 0;
  return redactor.heldLength + (clone === undefined ? 0 : clone.head.length + clone.tail.length);
}

function covers({ prefixes }: Closing, key: string): boolean {
  return prefixes.some((prefix) => key.startsWith(prefix));
}

const nothingShed: Shed = { parts: new Set(), removed: new Set(), emptied: new Set(), isWhole: false };
const noChanges = new Map<JsonNode, string | undefined>();
const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
const encoder = new TextEncoder();
