use super::*;
use crate::modality;
use crate::{DataConfig, Dataset, Draw, Moment, Recipe, Splits};

fn embedded(modality: &str) -> Splits {
    let config = DataConfig {
        embedded_train: 64,
        embedded_test: 16,
        ..Default::default()
    };
    let modality = modality::by_name(modality).unwrap();
    modality.open(None, &config, 0).unwrap()
}

fn recipe(modality: &str, stages: &[Stage], change: impl FnOnce(&mut ViewsConfig)) -> Recipe {
    let mut config = ViewsConfig::default();
    change(&mut config);
    Recipe::new(modality, stages, &config).unwrap().unwrap()
}

fn moment(seed: u64, epoch: u32, view: u32) -> Moment {
    Moment {
        example: Draw::FIXED,
        draw: Draw { seed, epoch },
        view,
    }
}

fn view(recipe: &Recipe, set: &dyn Dataset, index: usize, moment: Moment) -> Vec<f32> {
    let mut out = vec![f32::NAN; set.shape().iter().product()];
    recipe.load(set, index, moment, &mut out).unwrap();
    out
}

fn example(set: &dyn Dataset, index: usize) -> Vec<f32> {
    let mut out = vec![f32::NAN; set.shape().iter().product()];
    set.load(index, Draw::FIXED, &mut out).unwrap();
    out
}

/// Every kind of expert views, and the other stages where they are defined.
fn recipes(modality: &str) -> Vec<Recipe> {
    let all = |c: &mut ViewsConfig| {
        c.expert.speech.mode = SpeechMode::Both;
        c.expert.sensor.mode = SensorMode::Both;
        c.expert.image.blur = 0.5;
    };
    let mut recipes = vec![
        recipe(modality, &[Stage::Expert], |_| ()),
        recipe(modality, &[Stage::Expert], all),
        recipe(modality, &[Stage::Patch], |_| ()),
        recipe(modality, &[Stage::Expert, Stage::Patch], all),
    ];
    if modality != "image" {
        let stages = [Stage::Temporal, Stage::Expert, Stage::Patch];
        recipes.push(recipe(modality, &stages[..1], |_| ()));
        recipes.push(recipe(modality, &stages, all));
    }
    recipes
}

#[test]
fn moments_and_windows_exclude_each_other() {
    let stages = [Stage::Ordered, Stage::Temporal];
    let error = Recipe::new("speech", &stages, &ViewsConfig::default()).unwrap_err();
    assert!(error.to_string().contains("leave temporal out"), "{error}");
}

#[test]
fn every_modality_has_expert_views() {
    let names: Vec<_> = modality::registry().iter().map(|m| m.name()).collect();
    let known: Vec<_> = REGISTRY.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, known);
}

#[test]
fn views_are_a_pure_function_of_seed_epoch_view_and_index() {
    for modality in ["image", "speech", "sensor"] {
        let splits = embedded(modality);
        let set = &*splits.train;
        for recipe in recipes(modality) {
            let base = view(&recipe, set, 5, moment(1, 2, 0));
            assert!(base.iter().all(|x| x.is_finite()));
            assert_eq!(base, view(&recipe, set, 5, moment(1, 2, 0)), "{recipe:?}");
            if recipe.stages() == [Stage::Temporal] && modality == "sensor" {
                // The first window is the example's own.
                assert_eq!(base, example(set, 5));
                assert_ne!(base, view(&recipe, set, 5, moment(1, 2, 1)));
                continue;
            }
            for (index, other) in [
                (5, moment(2, 2, 0)),
                (5, moment(1, 3, 0)),
                (5, moment(1, 2, 1)),
                (6, moment(1, 2, 0)),
            ] {
                assert_ne!(base, view(&recipe, set, index, other), "{recipe:?}");
            }
        }
    }
}

#[test]
fn pictures_stay_in_range_and_spectrograms_near_theirs() {
    for modality in ["image", "speech", "sensor"] {
        let splits = embedded(modality);
        let set = &*splits.train;
        for recipe in recipes(modality) {
            for index in 0..16 {
                let original = example(set, index);
                let of = |values: &[f32]| values.iter().fold(0.0f32, |m, x| m.max(x.abs()));
                let seen = view(&recipe, set, index, moment(7, 0, 1));
                match modality {
                    "image" => assert!(seen.iter().all(|x| (0.0..=1.0).contains(x))),
                    _ => assert!(of(&seen) < of(&original) + 8.0, "{recipe:?}"),
                }
            }
        }
    }
}

#[test]
fn recordings_have_three_windows_in_the_order_of_time() {
    for modality in ["speech", "sensor"] {
        let splits = embedded(modality);
        let set = &*splits.train;
        let recipe = recipe(modality, &[Stage::Ordered], |_| ());
        for index in [3, 11] {
            let windows = [0, 1, 2].map(|v| view(&recipe, set, index, moment(1, 2, v)));
            assert!(windows.iter().flatten().all(|x| x.is_finite()));
            assert!(
                windows[0] != windows[1] && windows[1] != windows[2],
                "{modality}"
            );
            let start = |rank| {
                let place = Ordered::new(0.7, moment(1, 2, rank), index);
                let signal = set.signal(index, Draw::FIXED, Some(Window::Ordered(place)));
                signal.unwrap().unwrap().samples[..40].to_vec()
            };
            assert!(start(0) != start(1) && start(1) != start(2), "{modality}");
            assert!(set.sequence(index).is_some());
        }
    }
}

#[test]
fn experts_that_do_nothing_give_the_example() {
    for modality in ["image", "speech", "sensor"] {
        let splits = embedded(modality);
        let set = &*splits.train;
        let idle = recipe(modality, &[Stage::Expert], |config| {
            let image = &mut config.expert.image;
            (image.crop, image.flip, image.jitter, image.grey) = (0.0, 0.0, 0.0, 0.0);
            let speech = &mut config.expert.speech;
            (speech.mode, speech.mask, speech.change) = (SpeechMode::Both, 0.0, 0.0);
            speech.spectral_noise = 0.0;
            let sensor = &mut config.expert.sensor;
            (sensor.mode, sensor.mask, sensor.change) = (SensorMode::Both, 0.0, 0.0);
        });
        for index in 0..8 {
            assert_eq!(
                view(&idle, set, index, moment(3, 1, 1)),
                example(set, index)
            );
        }
    }
}

/// As the paper's code does it: the power is masked, then turned into decibels and limited.
#[test]
fn speech_masks_are_masks_of_the_power() {
    use crate::modality::speech::{LogMel, Settings, mel_power_to_db};
    let splits = embedded("speech");
    let (set, stats) = (&*splits.train, splits.before_view.as_ref().unwrap());
    let config = modality::by_name("speech").unwrap();
    let config = config.resolve(None, &DataConfig::default()).unwrap().speech;
    let settings = Settings {
        sample_rate: config.sample_rate,
        n_fft: config.n_fft,
        hop_length: config.hop_length,
        n_mels: config.n_mels,
        max_samples: config.max_samples,
        fmax: config.fmax,
    };
    let logmel = LogMel::new(&settings);
    let masks = recipe("speech", &[Stage::Expert], |c| {
        c.expert.speech.spectral_noise = 0.0;
    });
    let mut masked = 0;
    for index in 0..8 {
        let seen = view(&masks, set, index, moment(1, 0, 0));
        let sound = set.waveform(index, Draw::FIXED).unwrap().unwrap();
        let mut power = logmel.mel_power(&sound.samples);
        // Which values were masked shows in the view: they are at its floor.
        let floor = seen.iter().copied().fold(f32::INFINITY, f32::min);
        let [_, rows, columns] = set.shape();
        let whole_row = |r: usize| (0..columns).all(|c| seen[r * columns + c] == floor);
        let whole_column = |c: usize| (0..rows).all(|r| seen[r * columns + c] == floor);
        for (i, p) in power.iter_mut().enumerate() {
            if whole_row(i / columns) || whole_column(i % columns) {
                (*p, masked) = (0.0, masked + 1);
            }
        }
        mel_power_to_db(&mut power);
        for (got, want) in seen.iter().zip(power) {
            let want = (want as f32 - stats.mean[0]) / stats.std[0];
            assert!((got - want).abs() < 1e-4, "{got} against {want}");
        }
    }
    assert!(masked > 8 * 64, "{masked}");
}

#[test]
fn temporal_windows_of_recordings_are_near_and_differ() {
    let splits = embedded("sensor");
    let set = &*splits.train;
    let config = TemporalConfig {
        max_gap: 0.4,
        ..Default::default()
    };
    let long = set.signal(3, Draw::FIXED, None).unwrap().unwrap();
    let mut shifts = Vec::new();
    for epoch in 0..60 {
        let near = config.near(moment(1, epoch, 1), 3);
        let other = set
            .signal(3, Draw::FIXED, Some(Window::Near(near)))
            .unwrap()
            .unwrap();
        let steps = long.steps();
        // 0.4 s at 50 Hz.
        let shift = (0..=20).find(|&s| long.samples[s..steps] == other.samples[..steps - s]);
        let back = (0..=20).find(|&s| other.samples[s..steps] == long.samples[..steps - s]);
        assert!(shift.is_some() || back.is_some(), "epoch {epoch}");
        shifts.push((shift, back));
    }
    shifts.sort();
    shifts.dedup();
    assert!(shifts.len() > 8, "{}", shifts.len());

    let speech = embedded("speech");
    let first = |view| {
        let near = config.near(moment(1, 0, view), 3);
        let signal = speech
            .train
            .signal(3, Draw::FIXED, Some(Window::Near(near)))
            .unwrap();
        signal.unwrap().samples
    };
    // 0.7 of a second at 8 kHz.
    assert_eq!((first(0).len(), first(1).len()), (5600, 5600));
    assert_ne!(first(0), first(1));
}

#[test]
fn stages_that_cannot_work_say_what_would() {
    let message = |modality: &str, stages: &[Stage]| {
        let error = Recipe::new(modality, stages, &ViewsConfig::default());
        error.unwrap_err().to_string()
    };
    let images = message("image", &[Stage::Temporal]);
    assert_eq!(
        images,
        "views.source = temporal: images have no time; write patch for two parts of one picture"
    );
    let late = message("sensor", &[Stage::Expert, Stage::Temporal]);
    assert!(late.ends_with("write it first"), "{late}");
    let late = message("speech", &[Stage::Expert, Stage::Ends]);
    assert!(late.ends_with("write it first"), "{late}");
    let both = message("speech", &[Stage::Ends, Stage::Temporal]);
    assert!(both.ends_with("leave it out"), "{both}");
    let both = message("speech", &[Stage::Ordered, Stage::Ends]);
    assert!(both.ends_with("leave it out"), "{both}");
    let streams = message("sensor", &[Stage::Ends]);
    assert!(streams.ends_with("write temporal"), "{streams}");
    let early = message("speech", &[Stage::Patch, Stage::Expert]);
    assert!(early.ends_with("write expert before patch"), "{early}");
    let stages = [Stage::Patch, Stage::Expert];
    assert!(Recipe::new("image", &stages, &ViewsConfig::default()).is_ok());
    assert!(Recipe::new("image", &[], &ViewsConfig::default()).is_ok_and(|r| r.is_none()));
    let bad = ViewsConfig {
        patch: PatchConfig { scale: [0.0, 1.0] },
        ..Default::default()
    };
    assert!(Recipe::new("image", &[Stage::Patch], &bad).is_err());
}
