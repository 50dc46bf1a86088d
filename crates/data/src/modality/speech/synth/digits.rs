//! The ten words as sequences of sounds.
//!
//! Formant frequencies are those of an average adult male, after Peterson & Barney, *Control methods
//! used in a study of the vowels* (1952), and Klatt, *Software for a cascade/parallel formant
//! synthesizer* (1980).

/// One sound: what the source does and where the resonances are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sound {
    /// Duration in ms at normal pace.
    pub ms: f32,
    /// Amplitude of the vibrating glottis.
    pub voice: f32,
    /// Amplitude of breath noise through the vocal tract.
    pub breath: f32,
    /// Amplitude of hiss at the constriction.
    pub hiss: f32,
    /// Centre and width of the hiss in Hz.
    pub hiss_hz: [f32; 2],
    /// First three formants in Hz.
    pub formants: [f32; 3],
}

const fn vowel(ms: f32, formants: [f32; 3]) -> Sound {
    Sound {
        ms,
        voice: 1.0,
        breath: 0.01,
        hiss: 0.0,
        hiss_hz: [3000.0, 1500.0],
        formants,
    }
}

const fn soft(sound: Sound, voice: f32) -> Sound {
    Sound { voice, ..sound }
}

const fn fricative(ms: f32, hiss: f32, hiss_hz: [f32; 2], formants: [f32; 3]) -> Sound {
    Sound {
        hiss,
        hiss_hz,
        ..soft(vowel(ms, formants), 0.0)
    }
}

const fn silence(ms: f32, formants: [f32; 3]) -> Sound {
    Sound {
        breath: 0.0,
        ..soft(vowel(ms, formants), 0.0)
    }
}

/// The puff of air after a stop.
const fn breathy(ms: f32, formants: [f32; 3]) -> Sound {
    Sound {
        breath: 0.3,
        ..soft(vowel(ms, formants), 0.05)
    }
}

const ALVEOLAR: [f32; 3] = [320.0, 1700.0, 2600.0];
const LABIAL: [f32; 3] = [320.0, 1000.0, 2200.0];
const HISS_S: [f32; 2] = [3700.0, 700.0];
const HISS_F: [f32; 2] = [2600.0, 2600.0];

const S: Sound = fricative(115.0, 0.22, HISS_S, ALVEOLAR);
const F: Sound = fricative(90.0, 0.08, HISS_F, LABIAL);
const TH: Sound = fricative(85.0, 0.07, [3300.0, 1800.0], [320.0, 1400.0, 2500.0]);
const Z: Sound = Sound {
    voice: 0.35,
    ..fricative(85.0, 0.14, HISS_S, ALVEOLAR)
};
const V: Sound = Sound {
    voice: 0.4,
    ..fricative(60.0, 0.06, HISS_F, [280.0, 1100.0, 2100.0])
};
const W: Sound = soft(vowel(70.0, [300.0, 620.0, 2200.0]), 0.6);
const R: Sound = soft(vowel(75.0, [340.0, 1150.0, 1500.0]), 0.7);
const N: Sound = soft(vowel(85.0, [260.0, 1550.0, 2450.0]), 0.4);
const BURST_T: Sound = fricative(14.0, 0.35, [3500.0, 1200.0], ALVEOLAR);
const BURST_K: Sound = fricative(16.0, 0.35, [2000.0, 500.0], [320.0, 1900.0, 2300.0]);

/// The words of the digits 0 to 9.
pub(super) const WORDS: [&[Sound]; 10] = [
    // z ɪ r oʊ
    &[
        Z,
        vowel(85.0, [400.0, 1900.0, 2550.0]),
        R,
        vowel(90.0, [510.0, 900.0, 2400.0]),
        vowel(100.0, [380.0, 780.0, 2300.0]),
    ],
    // w ʌ n
    &[W, vowel(130.0, [650.0, 1150.0, 2400.0]), N],
    // t uː
    &[
        silence(20.0, ALVEOLAR),
        BURST_T,
        breathy(45.0, [320.0, 1500.0, 2400.0]),
        vowel(190.0, [310.0, 920.0, 2250.0]),
    ],
    // θ r iː
    &[TH, R, vowel(190.0, [275.0, 2250.0, 3000.0])],
    // f ɔː r
    &[
        F,
        vowel(150.0, [500.0, 820.0, 2450.0]),
        soft(vowel(90.0, [430.0, 1250.0, 1650.0]), 0.8),
    ],
    // f aɪ v
    &[
        F,
        vowel(110.0, [740.0, 1200.0, 2450.0]),
        vowel(90.0, [380.0, 1950.0, 2550.0]),
        V,
    ],
    // s ɪ k s
    &[
        S,
        vowel(85.0, [400.0, 1950.0, 2550.0]),
        silence(55.0, [320.0, 1950.0, 2350.0]),
        BURST_K,
        S,
    ],
    // s ɛ v ə n
    &[
        S,
        vowel(90.0, [560.0, 1780.0, 2500.0]),
        V,
        soft(vowel(55.0, [480.0, 1400.0, 2400.0]), 0.7),
        N,
    ],
    // eɪ t
    &[
        vowel(100.0, [490.0, 1900.0, 2550.0]),
        vowel(80.0, [310.0, 2250.0, 2850.0]),
        silence(60.0, ALVEOLAR),
        BURST_T,
        breathy(35.0, ALVEOLAR),
    ],
    // n aɪ n
    &[
        N,
        vowel(120.0, [740.0, 1200.0, 2450.0]),
        vowel(90.0, [370.0, 1950.0, 2550.0]),
        N,
    ],
];
