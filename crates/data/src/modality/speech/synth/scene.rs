//! A word somewhere in a second of background noise, through a microphone.

use super::digits::Sound;
use super::formant::speak;
use super::noise::rms;
use super::voice::Voice;
use super::{RATE, SAMPLES};
use crate::random::Dice;
use std::f32::consts::TAU;
use std::ops::Range;
use viewmaker_ops::random::Philox;

/// Speech over background, in dB, from the noisiest recording to the cleanest.
const SNR_DB: [f32; 2] = [2.0, 22.0];
/// Loudness of the whole recording, in dB of full scale.
const LEVEL_DB: [f32; 2] = [-30.0, -16.0];

/// The recording of `word` by one of the `voices`, drawn by `philox`.
pub(super) fn record(word: &[Sound], voices: Range<usize>, philox: &Philox) -> Vec<f32> {
    let mut dice = Dice::new(philox);
    let voice = Voice::new(dice.pick(voices)).on_occasion(&mut dice);
    let spoken = speak(word, &voice, &mut dice);
    let mut samples = background(&mut dice);
    let snr = dice.between(SNR_DB[0], SNR_DB[1]);
    let gain = rms(&samples) / rms(&spoken).max(1e-6) * decibels(snr);
    // The word lies anywhere that holds the whole of it.
    let room = SAMPLES.saturating_sub(spoken.len());
    let start = (dice.unit() * room as f32) as usize;
    for (x, s) in samples[start..].iter_mut().zip(&spoken) {
        *x += gain * s;
    }
    microphone(&mut samples, &mut dice);
    let level = decibels(dice.between(LEVEL_DB[0], LEVEL_DB[1])) / rms(&samples).max(1e-6);
    for x in &mut samples {
        *x = (*x * level).clamp(-1.0, 1.0);
    }
    samples
}

/// The amplitude factor of a level in dB.
fn decibels(db: f32) -> f32 {
    10f32.powf(db / 20.0)
}

/// Noise of a random colour whose loudness comes and goes, and in some recordings a hum.
fn background(dice: &mut Dice) -> Vec<f32> {
    let colour = dice.between(-0.4, 0.95);
    let (depth, speed, phase) = (dice.between(0.0, 0.7), dice.between(0.5, 4.0), dice.unit());
    let hum = (dice.unit() < 0.3).then(|| (dice.between(60.0, 2500.0), dice.between(0.3, 1.2)));
    let mut low = 0.0;
    // Scales noise of any colour to variance 1.
    let scale = (1.0 - colour * colour).sqrt();
    (0..SAMPLES)
        .map(|i| {
            let time = i as f32 / RATE as f32;
            low = colour * low + scale * dice.white();
            let swell = 1.0 + depth * (TAU * (speed * time + phase)).sin();
            let tone = hum.map_or(0.0, |(hz, level)| level * (TAU * hz * time).sin());
            low * swell + tone
        })
        .collect()
}

/// Changes the tone: a tilt of the whole spectrum, and an echo that makes peaks and dips.
fn microphone(samples: &mut [f32], dice: &mut Dice) {
    let tilt = dice.between(-0.75, 0.75);
    let (delay, strength) = (dice.pick(2..24), dice.between(-0.5, 0.5));
    let dry = samples.to_vec();
    for i in 0..samples.len() {
        let back = |n: usize| i.checked_sub(n).map_or(0.0, |at| dry[at]);
        samples[i] = dry[i] + tilt * back(1) + strength * back(delay);
    }
}
