//! Source and filter: pulses of the glottis, breath and hiss, shaped by resonances that move.
//!
//! Source: Klatt, *Software for a cascade/parallel formant synthesizer* (1980): voiced sound and
//! breath pass the resonances in cascade, hiss has one of its own beside them.

use super::RATE;
use super::digits::Sound;
use super::voice::Voice;
use crate::random::Dice;
use std::f32::consts::TAU;

/// Samples over which the resonances stand still: 4 ms.
const BLOCK: usize = RATE as usize / 250;
/// Longest change from one sound to the next, in ms.
const GLIDE_MS: f32 = 55.0;
/// Widths of the first three formants in Hz.
const WIDTHS: [f32; 3] = [80.0, 110.0, 160.0];
/// The fourth formant does not tell sounds apart: its frequency and width in Hz.
const FOURTH: [f32; 2] = [3400.0, 250.0];

/// The word as spoken by the voice, from its first sound to its last.
pub(super) fn speak(word: &[Sound], voice: &Voice, dice: &mut Dice) -> Vec<f32> {
    let score = Score::new(word, voice.pace);
    let length = (score.seconds() * RATE as f32) as usize;
    let mut glottis = Glottis::default();
    let mut tract = [Resonator::default(); 4];
    let mut hiss = Resonator::default();
    let mut samples = Vec::with_capacity(length + BLOCK);
    while samples.len() < length {
        let place = samples.len() as f32 / length as f32;
        let sound = score.at(samples.len() as f32 / RATE as f32);
        for (k, resonator) in tract.iter_mut().enumerate() {
            let [hz, width] = match k {
                3 => FOURTH,
                k => [sound.formants[k] * voice.accent[k], WIDTHS[k]],
            };
            resonator.tune(hz * voice.tract, width);
        }
        let [hz, width] = sound.hiss_hz;
        hiss.tune(
            (hz * (0.5 + 0.5 * voice.tract)).min(0.48 * RATE as f32),
            width,
        );
        let pitch = voice.pitch * (1.0 + voice.fall * (0.5 - place));
        let breath = sound.breath + voice.breathiness * sound.voice;
        let loud_hiss = sound.hiss * voice.sibilance;
        for _ in 0..BLOCK {
            let pulse = glottis.next(pitch, voice.open, dice);
            let source = sound.voice * pulse + breath * dice.white();
            let voiced = tract.iter_mut().fold(source, |x, r| r.next(x));
            samples.push(voiced + hiss.next(loud_hiss * dice.white()) * 0.5);
        }
    }
    samples.truncate(length);
    samples
}

/// A word in time.
struct Score<'a> {
    sounds: &'a [Sound],
    /// Where each sound begins, in seconds, and where the last ends.
    starts: Vec<f32>,
}

impl<'a> Score<'a> {
    fn new(sounds: &'a [Sound], pace: f32) -> Self {
        let mut starts = vec![0.0];
        for sound in sounds {
            let last = starts[starts.len() - 1];
            starts.push(last + sound.ms * pace / 1000.0);
        }
        Self { sounds, starts }
    }

    fn seconds(&self) -> f32 {
        self.starts[self.sounds.len()]
    }

    /// The sound at a time: pure in the middle, mixed with the neighbour near a boundary.
    fn at(&self, time: f32) -> Sound {
        let last = self.sounds.len() - 1;
        let i = self.starts[1..=last]
            .iter()
            .take_while(|&&s| s <= time)
            .count();
        let length = |i: usize| self.starts[i + 1] - self.starts[i];
        let glide = |a: usize, b: usize| {
            let shorter = length(a).min(length(b));
            (0.9 * shorter).min(GLIDE_MS / 1000.0) / 2.0
        };
        if i > 0 && time - self.starts[i] < glide(i - 1, i) {
            let half = glide(i - 1, i);
            let part = 0.5 + (time - self.starts[i]) / (2.0 * half);
            return mix(&self.sounds[i - 1], &self.sounds[i], part);
        }
        if i < last && self.starts[i + 1] - time < glide(i, i + 1) {
            let half = glide(i, i + 1);
            let part = 0.5 - (self.starts[i + 1] - time) / (2.0 * half);
            return mix(&self.sounds[i], &self.sounds[i + 1], part);
        }
        self.sounds[i]
    }
}

fn mix(a: &Sound, b: &Sound, part: f32) -> Sound {
    let between = |a: f32, b: f32| a + (b - a) * part;
    Sound {
        ms: a.ms,
        voice: between(a.voice, b.voice),
        breath: between(a.breath, b.breath),
        hiss: between(a.hiss, b.hiss),
        // The hiss of the louder sound: its place does not glide.
        hiss_hz: if a.hiss > b.hiss {
            a.hiss_hz
        } else {
            b.hiss_hz
        },
        formants: [0, 1, 2].map(|k| between(a.formants[k], b.formants[k])),
    }
}

/// The vibrating glottis: Rosenberg's pulse (1971), differentiated as the lips radiate it.
#[derive(Default)]
struct Glottis {
    phase: f32,
    /// Deviation of this period's length and height: no two are equal.
    jitter: f32,
    shimmer: f32,
}

impl Glottis {
    fn next(&mut self, pitch: f32, open: f32, dice: &mut Dice) -> f32 {
        self.phase += pitch * (1.0 + self.jitter) / RATE as f32;
        if self.phase >= 1.0 {
            self.phase -= 1.0;
            self.jitter = dice.between(-0.02, 0.02);
            self.shimmer = dice.between(-0.1, 0.1);
        }
        if self.phase >= open {
            return 0.0;
        }
        let x = self.phase / open;
        (2.0 * x - 3.0 * x * x) * (1.0 + self.shimmer)
    }
}

/// A second-order resonance with gain 1 at frequency 0.
#[derive(Clone, Copy, Default)]
struct Resonator {
    a: f32,
    b: f32,
    c: f32,
    y1: f32,
    y2: f32,
}

impl Resonator {
    /// Moves the resonance to `hz` with the given −3 dB width.
    fn tune(&mut self, hz: f32, width: f32) {
        let radius = (-0.5 * TAU * width / RATE as f32).exp();
        let hz = hz.min(0.48 * RATE as f32);
        self.c = -radius * radius;
        self.b = 2.0 * radius * (TAU * hz / RATE as f32).cos();
        self.a = 1.0 - self.b - self.c;
    }

    fn next(&mut self, x: f32) -> f32 {
        let y = self.a * x + self.b * self.y1 + self.c * self.y2;
        (self.y2, self.y1) = (self.y1, y);
        y
    }
}

#[cfg(test)]
mod tests {
    use super::super::digits::WORDS;
    use super::*;
    use viewmaker_ops::random::Philox;

    #[test]
    fn resonators_pass_their_frequency_most() {
        let level = |hz: f32| {
            let mut resonator = Resonator::default();
            resonator.tune(1000.0, 100.0);
            let step = TAU * hz / RATE as f32;
            (0..4000)
                .map(|i| resonator.next((step * i as f32).sin()))
                .skip(2000)
                .fold(0.0, f32::max)
        };
        assert!(level(1000.0) > 3.0 * level(700.0));
        assert!(level(1000.0) > 3.0 * level(1400.0));
        assert!((level(20.0) - 1.0).abs() < 0.05);
    }

    #[test]
    fn every_word_of_every_voice_is_finite_audible_and_fits_in_a_second() {
        for number in 0..40 {
            let voice = Voice::new(number);
            for (digit, word) in WORDS.iter().enumerate() {
                let mut dice = Dice::new(&Philox::new(7, number as u32, digit as u32));
                let samples = speak(word, &voice, &mut dice);
                let peak = samples.iter().fold(0.0f32, |p, x| p.max(x.abs()));
                assert!(
                    peak.is_finite() && peak > 0.05,
                    "voice {number}, digit {digit}: {peak}"
                );
                assert!((1000..8000).contains(&samples.len()), "{}", samples.len());
            }
        }
    }

    #[test]
    fn sounds_glide_without_jumps() {
        let score = Score::new(WORDS[5], 1.0);
        let mut before = score.at(0.0);
        for ms in 1..(score.seconds() * 1000.0) as usize {
            let now = score.at(ms as f32 / 1000.0);
            for (a, b) in before.formants.iter().zip(now.formants) {
                assert!((a - b).abs() < 60.0, "{ms} ms: {a} to {b} Hz");
            }
            before = now;
        }
    }
}
