#!/bin/sh
# Makes the clips of this folder again: G.711 µ-law, 8,000 samples a second, one channel, no header.
# Needs flite and sox (Debian: apt-get install --no-install-recommends flite sox). The texts stand in ../src/simulate/speech.ts too.
set -eu
cd "$(dirname "$0")"

# The model speaks with flite's slt, the caller with rms, so that an ear can tell them apart. Silence at both ends goes; the
# loudest sample is 3 dB below full scale.
say() {
  flite -voice "$2" -t "$3" -o "$1.wav"
  sox -D "$1.wav" -t raw -r 8000 -c 1 -e mu-law "$1.ulaw" \
    silence 1 0.02 0.3% reverse silence 1 0.02 0.3% reverse pad 0.04 0.04 gain -n -3
  rm "$1.wav"
}

say model-greeting slt 'Hello, this is the city library. How can I help you?'
say model-hours slt 'We are open from nine in the morning until six in the evening, Monday to Friday. On Saturday we close at one.'
say model-book slt 'Yes, we have that book. It is on the second floor. I can keep it for you until Friday evening, if you tell me your name.'
say model-events slt 'There are three events this month. On the fifth, a reading for children. On the twelfth, a talk about the history of the telephone. And on the last Sunday of the month, our garden concert, which begins at four in the afternoon and ends when it gets dark.'
say model-moment slt 'One moment please, I am looking that up.'
say model-failure slt 'I am sorry, something went wrong here. Please call again in a few minutes.'
say caller-hello rms 'Hello, when are you open?'
say caller-question rms 'What events do you have this month?'
say caller-interruption rms 'Wait, stop. I only have one question.'
say caller-goodbye rms 'Thank you, that was all. Goodbye.'
