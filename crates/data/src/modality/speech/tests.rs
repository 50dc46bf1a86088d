//! The modality as a whole, on files that the tests write.

use super::decode::flac_of;
use super::*;
use crate::Draw;
use crate::modality::by_name;
use std::f32::consts::TAU;

fn config(change: impl FnOnce(&mut DataConfig)) -> DataConfig {
    let mut config = DataConfig {
        embedded_train: 40,
        embedded_test: 20,
        ..Default::default()
    };
    change(&mut config);
    config
}

fn load(dataset: &dyn Dataset, index: usize, draw: Draw) -> Vec<f32> {
    let mut out = vec![0.0; dataset.shape().iter().product()];
    dataset.load(index, draw, &mut out).unwrap();
    out
}

fn labels(dataset: &dyn Dataset) -> Vec<Option<u32>> {
    (0..dataset.len()).map(|i| dataset.label(i)).collect()
}

/// A tone with a few harmonics.
fn tone(hz: f32, rate: u32, seconds: f32) -> Vec<i16> {
    let length = (seconds * rate as f32) as usize;
    (0..length)
        .map(|i| {
            let angle = TAU * hz * i as f32 / rate as f32;
            (6000.0 * angle.sin() + 3000.0 * (3.0 * angle).sin()) as i16
        })
        .collect()
}

fn write_wav(path: &Path, rate: u32, samples: &[i16]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: rate,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::create(path, spec).unwrap();
    samples
        .iter()
        .for_each(|&x| writer.write_sample(x).unwrap());
    writer.finalize().unwrap();
}

#[test]
fn embedded_digits_are_balanced_normalised_and_the_same_every_time() {
    let splits = Speech.open(None, &config(|_| ()), 1).unwrap();
    assert_eq!((splits.train.len(), splits.test.len()), (40, 20));
    assert_eq!(splits.train.shape(), [1, 32, 32]);
    assert_eq!(splits.class_names.len(), 10);
    assert!((0..10).all(|d| {
        labels(&*splits.test)
            .iter()
            .filter(|l| **l == Some(d))
            .count()
            == 2
    }));
    let values: Vec<f32> = (0..40)
        .flat_map(|i| load(&*splits.train, i, Draw::FIXED))
        .collect();
    let mean = values.iter().sum::<f32>() / values.len() as f32;
    let power = values.iter().map(|x| x * x).sum::<f32>() / values.len() as f32;
    assert!(
        mean.abs() < 0.01 && (power - 1.0).abs() < 0.01,
        "{mean}, {power}"
    );

    // Example 7 does not depend on the seed nor on how many others there are.
    let more = Speech
        .open(None, &config(|c| c.embedded_train = 60), 2)
        .unwrap();
    let sound = |splits: &Splits, i| splits.train.waveform(i, Draw::FIXED).unwrap().unwrap();
    assert_eq!(sound(&splits, 7), sound(&more, 7));
    assert_ne!(sound(&splits, 7), sound(&splits, 17));
    assert_eq!(sound(&splits, 7).rate, 8000);
}

#[test]
fn a_speech_corpus_is_divided_within_speakers() {
    let folder = tempfile::tempdir().unwrap();
    for (speaker, hz, utterances) in [(19, 120.0, 4), (26, 200.0, 3), (27, 300.0, 1)] {
        for utterance in 0..utterances {
            let chapter = folder.path().join(format!("train-clean-100/{speaker}/7"));
            std::fs::create_dir_all(&chapter).unwrap();
            let samples = tone(hz + utterance as f32, 16_000, 0.5);
            let name = chapter.join(format!("{speaker}-7-000{utterance}.flac"));
            std::fs::write(name, flac_of(&[&samples], 16_000)).unwrap();
        }
    }
    let splits = Speech
        .open(Some(folder.path()), &config(|_| ()), 3)
        .unwrap();
    assert_eq!(splits.class_names, ["19", "26", "27"]);
    assert_eq!(splits.train.shape(), [1, 64, 64]);
    assert_eq!((splits.train.len(), splits.test.len()), (6, 3));
    for speaker in 0..3 {
        assert!(labels(&*splits.train).contains(&Some(speaker)));
        assert!(labels(&*splits.test).contains(&Some(speaker)));
    }
    // The paper's settings come with the paper's statistics.
    let stats = splits.before_view.unwrap();
    assert_eq!((stats.mean[0], stats.std[0]), (-22.924, 12.587));
    assert!(
        load(&*splits.test, 0, Draw::FIXED)
            .iter()
            .all(|x| x.is_finite())
    );
    let half = (0..3)
        .find(|&i| splits.test.origin(i).contains("27-7-0000"))
        .unwrap();
    let sound = splits.test.waveform(half, Draw::FIXED).unwrap().unwrap();
    assert_eq!(sound.samples.len(), 4000);
}

#[test]
fn folders_of_short_and_long_files_get_their_window() {
    let folder = tempfile::tempdir().unwrap();
    let write = |seconds: f32| {
        for (class, hz) in [("low", 150.0), ("high", 900.0)] {
            for i in 0..3 {
                let path = folder.path().join(class).join(format!("{i}.wav"));
                write_wav(&path, 11_025, &tone(hz, 11_025, seconds));
            }
        }
    };
    write(0.3);
    let resolved = Speech
        .resolve(Some(folder.path()), &config(|_| ()))
        .unwrap();
    assert_eq!(
        (resolved.speech.sample_rate, resolved.speech.n_mels),
        (11_025, 32)
    );
    write(3.0);
    let resolved = Speech
        .resolve(Some(folder.path()), &config(|_| ()))
        .unwrap();
    assert_eq!(
        (resolved.speech.sample_rate, resolved.speech.max_samples),
        (16_000, 150_526)
    );
    // Resolved options give the same data wherever they are used.
    let open = |config: &DataConfig| Speech.open(Some(folder.path()), config, 0).unwrap();
    let (a, b) = (open(&config(|_| ())), open(&resolved));
    assert_eq!(
        load(&*a.train, 0, Draw::FIXED),
        load(&*b.train, 0, Draw::FIXED)
    );
    assert_eq!(a.class_names, ["high", "low"]);
}

#[test]
fn damage_is_reported_when_the_example_is_loaded() {
    let folder = tempfile::tempdir().unwrap();
    for i in 0..40 {
        write_wav(
            &folder.path().join(format!("{i:02}.wav")),
            8000,
            &tone(200.0, 8000, 0.3),
        );
    }
    // Not one of those that are looked at when the folder is opened.
    let broken = folder.path().join("03.wav");
    let bytes = std::fs::read(&broken).unwrap();
    let config = config(|c| {
        c.speech.normalize_mean = Some(-50.0);
        c.speech.normalize_std = Some(20.0);
    });
    std::fs::write(&broken, &bytes[..1000]).unwrap();
    let splits = Speech.open(Some(folder.path()), &config, 0).unwrap();
    assert!(splits.class_names.is_empty());
    let mut out = vec![0.0; 1024];
    let sets = [splits.train, splits.test];
    let mut all = sets
        .iter()
        .flat_map(|set| (0..set.len()).map(move |i| (set, i)));
    let (set, index) = all
        .find(|(set, i)| set.origin(*i).contains("03.wav"))
        .unwrap();
    let message = set
        .load(index, Draw::FIXED, &mut out)
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("03.wav: sample 478 of 2400: expected a sample"),
        "{message}"
    );
    assert!(set.waveform(index, Draw::FIXED).is_err());
}

#[test]
fn single_files_arrive_on_the_scale_of_the_training_data() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mine.wav");
    write_wav(&path, 44_100, &tone(330.0, 44_100, 0.8));
    let stats = ChannelStats {
        mean: vec![-40.0],
        std: vec![10.0],
    };
    let open = |shape| {
        let files = [path.clone(), path.clone()];
        Speech.open_files(&files, &config(|_| ()), shape, Some(&stats))
    };
    let clips = open([1, 32, 32]).unwrap();
    assert_eq!((clips.len(), clips.label(0)), (2, None));
    let x = load(&*clips, 1, Draw::FIXED);
    let range =
        x.iter().copied().fold(f32::MIN, f32::max) - x.iter().copied().fold(f32::MAX, f32::min);
    assert!(
        (range - 8.0).abs() < 1e-3,
        "80 dB in units of 10 dB: {range}"
    );
    assert_eq!(open([1, 64, 64]).unwrap().shape(), [1, 64, 64]);
    let message = open([3, 32, 32]).err().unwrap().to_string();
    assert!(message.contains("the shape [3, 32, 32]"), "{message}");
}

#[test]
fn a_view_can_be_heard() {
    let config = config(|_| ());
    let splits = Speech.open(None, &config, 0).unwrap();
    let stats = splits.before_view.as_ref();
    let original = splits.train.waveform(3, Draw::FIXED).unwrap().unwrap();
    let example = load(&*splits.train, 3, Draw::FIXED);
    let hear = |view: &[f32]| Speech.sound_of_view(&config, stats, &original, &example, view);
    let same = hear(&example).unwrap().unwrap();
    let worst = same
        .samples
        .iter()
        .zip(&original.samples)
        .map(|(a, b)| (a - b).abs());
    assert!(worst.fold(0.0, f32::max) < 1e-5);
    let quieter: Vec<f32> = example.iter().map(|x| x - 0.5).collect();
    let power = |x: &[f32]| x.iter().map(|x| x * x).sum::<f32>();
    let heard = hear(&quieter).unwrap().unwrap();
    let change = 10.0 * (power(&heard.samples) / power(&original.samples)).log10();
    let want = -0.5 * stats.unwrap().std[0] / 2.0;
    assert!((change - want).abs() < 0.05, "{change} dB, expected {want}");
    let message = hear(&example[1..]).unwrap_err().to_string();
    assert!(
        message.starts_with("view: 1023 values at 8000 Hz"),
        "{message}"
    );
}

#[test]
fn the_axes_have_their_units() {
    let Rendering::Spectrogram(axes) = Speech.rendering(&config(|_| ())) else {
        panic!("speech is shown as spectrograms");
    };
    assert_eq!(axes.row_hz.len(), 32);
    assert!(axes.row_hz.is_sorted() && axes.row_hz[31] < 4000.0);
    assert!((axes.seconds_per_column * 31.0 - 1.0).abs() < 0.05);
    assert_eq!(by_name("speech").map(Modality::name), Some("speech"));
}
