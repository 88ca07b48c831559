"""Makes words of speech with PocketSphinx, for `openPocketsphinx` of @spillway/voice.

Standard input has frames: one byte that says what it is, four bytes for its length (little-endian), and its bytes.
  G  the grammar, as JSGF; empty: an open vocabulary. Comes first, once.
  A  audio of an utterance: 16 bits, little-endian, 16,000 samples a second, mono
  F  the utterance is over
Standard output has lines of JSON, each with a `kind`:
  ready    it takes audio
  missing  something is not there; nothing follows
  refused  the grammar is none; nothing follows
  worked   `bytes`: so much audio was worked on, since the beginning
  partial  `text`: the words so far
  final    `text`, and `words`: each with its text and where it is, in milliseconds since the utterance began
"""

import json
import os
import struct
import sys

# Audio is worked on in pieces of this length, however it came: so the same words come.
STEP_BYTES = 3200
# A partial text comes at most once in so many pieces.
STEPS_PER_PARTIAL = 2
# One frame of the recogniser.
FRAME_MS = 10
# The longest frame that comes: more is not read into memory.
MAX_FRAME_BYTES = 1048576


def say(**message):
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def read_frame(stdin):
    """Returns what a frame is, and its bytes; None at the end."""
    head = stdin.read(5)
    if len(head) < 5:
        return None
    kind, size = struct.unpack("<cI", head)
    if size > MAX_FRAME_BYTES:
        return None
    body = stdin.read(size)
    return (kind, body) if len(body) == size else None


def open_decoder(model, grammar):
    from pocketsphinx.pocketsphinx import Decoder

    config = Decoder.default_config()
    config.set_string("-hmm", os.path.join(model, "en-us"))
    config.set_string("-dict", os.path.join(model, "cmudict-en-us.dict"))
    config.set_string("-logfn", os.devnull)
    # With silence left out the times of what follows it would be wrong.
    config.set_boolean("-remove_silence", False)
    if not grammar:
        config.set_string("-lm", os.path.join(model, "en-us.lm.bin"))
    decoder = Decoder(config)
    if grammar:
        decoder.set_jsgf_string("words", grammar)
        decoder.set_search("words")
    return decoder


def plain(word):
    """A word without the number of its pronunciation: `the(2)`. Sounds that are no words, such as `<sil>`, are empty."""
    return "" if word[:1] in "<[" else word.split("(")[0]


class Utterance:
    def __init__(self, decoder):
        self.decoder = decoder
        self.rest = b""
        self.steps = 0
        self.text = ""
        # So that frames are counted from here.
        decoder.start_stream()
        decoder.start_utt()

    def take(self, audio):
        """Works on what makes whole pieces. Returns the bytes."""
        audio = self.rest + audio
        whole = len(audio) - len(audio) % STEP_BYTES
        for at in range(0, whole, STEP_BYTES):
            self.decoder.process_raw(audio[at : at + STEP_BYTES], False, False)
            self.steps += 1
            yield STEP_BYTES
            if self.steps % STEPS_PER_PARTIAL == 0:
                self.tell_partial()
        self.rest = audio[whole:]

    def tell_partial(self):
        guess = self.decoder.hyp()
        text = guess.hypstr if guess is not None else ""
        if text != self.text:
            self.text = text
            say(kind="partial", text=text)

    def end(self):
        """Tells the final text. Returns the bytes that were left."""
        if self.rest:
            self.decoder.process_raw(self.rest, False, False)
        self.decoder.end_utt()
        words = [
            [plain(one.word), one.start_frame * FRAME_MS, (one.end_frame + 1) * FRAME_MS]
            for one in self.decoder.seg() or []
        ]
        words = [word for word in words if word[0]]
        say(kind="final", text=" ".join(word[0] for word in words), words=words)
        return len(self.rest)


def main():
    model = sys.argv[1]
    try:
        import pocketsphinx.pocketsphinx  # noqa: F401
    except ImportError:
        say(kind="missing", what="python3-pocketsphinx")
        return
    if not os.path.isdir(os.path.join(model, "en-us")):
        say(kind="missing", what="pocketsphinx-en-us")
        return
    if sys.argv[2:] == ["check"]:
        say(kind="ready")
        return
    stdin = sys.stdin.buffer
    first = read_frame(stdin)
    if first is None:
        return
    try:
        decoder = open_decoder(model, first[1].decode("utf-8"))
    except Exception:
        say(kind="refused")
        return
    say(kind="ready")
    worked = 0
    utterance = None
    while True:
        frame = read_frame(stdin)
        if frame is None:
            return
        kind, body = frame
        if utterance is None:
            utterance = Utterance(decoder)
        if kind == b"A":
            for count in utterance.take(body):
                worked += count
                say(kind="worked", bytes=worked)
        elif kind == b"F":
            worked += utterance.end()
            utterance = None
            say(kind="worked", bytes=worked)


if __name__ == "__main__":
    try:
        main()
    except (BrokenPipeError, KeyboardInterrupt):
        # Who reads is gone; Python would complain when it flushes.
        os._exit(0)
