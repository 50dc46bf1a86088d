//! Every objective learns, and so does the viewmaker against it.

use crate::support::*;
use viewmaker::config::{Update, ViewSource};
use viewmaker::pictures;
use viewmaker::train::perturbation::Perturbation;
use viewmaker::train::step::StepRates;
use viewmaker_objective::registry;

/// The encoder learns: the loss falls. The viewmaker learns alone: it rises.
fn check(modality: &str) {
    let splits = pictures::open_data(&config(modality, "ntxent")).unwrap();
    let splits = splits.captioned(None).unwrap();
    for entry in registry() {
        if entry.branches.ordered && splits.train.sequence(0).is_none() {
            continue; // That it is refused has a test of its own.
        }
        let mut sources = vec![
            ViewSource::Learned,
            ViewSource::Noise,
            ViewSource::Expert,
            ViewSource::Patch,
            ViewSource::None,
        ];
        if modality != "image" && !entry.branches.ordered {
            sources.push(ViewSource::Temporal);
        }
        for source in sources {
            let mut config = config(modality, entry.name);
            config.views.source = source.into();
            if source == ViewSource::None && entry.name == "pull" {
                continue; // Two equal views have distance 0 from the start.
            }
            let mut bench = Bench::new(&config, &splits);
            let losses = bench.losses(RATES, 8);
            let place = format!("{modality}, {}, {source:?}: {losses:?}", entry.name);
            assert!(losses[7] < losses[0], "{place}");
            let finite = losses.iter().all(|loss| loss.is_finite());
            assert!(finite, "{place}");
        }
        for update in [Update::Simultaneous, Update::Alternating] {
            let rates = StepRates {
                update,
                encoder_lr: 0.0,
                viewmaker_lr: Some(3e-3),
                encoder_momentum: 1.0,
                ..RATES
            };
            let config = config(modality, entry.name);
            let mut bench = Bench::new(&config, &splits);
            let losses = bench.losses(rates, 6);
            let place = format!("{modality}, {}, {update:?}: {losses:?}", entry.name);
            assert!(losses[5] > losses[0], "{place}");
        }
    }
}

#[test]
fn every_objective_trains_on_images() {
    check("image");
}

#[test]
fn every_objective_trains_on_speech() {
    check("speech");
}

#[test]
fn every_objective_trains_on_sensor_streams() {
    check("sensor");
}

/// Videos of a bright square that moves from left to right over a ground of their own.
fn videos(folder: &std::path::Path) {
    for video in 0..8u8 {
        let clip = folder.join(format!("clip{video}"));
        std::fs::create_dir(&clip).unwrap();
        for frame in 0..6u32 {
            let picture = image::RgbImage::from_fn(16, 16, |x, y| {
                let inside = (2 * frame..2 * frame + 5).contains(&x) && (5..11).contains(&y);
                image::Rgb(if inside {
                    [250; 3]
                } else {
                    [20 * video, 90, 10 * video]
                })
            });
            picture.save(clip.join(format!("{frame}.png"))).unwrap();
        }
    }
}

#[test]
fn moments_in_time_are_learned_from_folders_of_frames() {
    let folder = tempfile::tempdir().unwrap();
    videos(folder.path());
    for source in [ViewSource::Learned, ViewSource::Expert, ViewSource::None] {
        let mut config = config("image", "tcn");
        config.data.path = Some(folder.path().to_owned());
        config.data.options.image.frames = true;
        config.views.source = source.into();
        let splits = pictures::open_data(&config).unwrap();
        let mut bench = Bench::new(&config, &splits);
        let losses = bench.losses(RATES, 8);
        assert!(losses[7] < losses[0], "{source:?}: {losses:?}");
    }
}

#[test]
fn budget_warm_up_and_single_views_scale_the_perturbation() {
    use viewmaker::config::Perturbs;
    let config = config("image", "ntxent");
    let splits = pictures::open_data(&config).unwrap();
    let distortion = |perturbation| {
        let mut bench = Bench::new(&descending(&config), &splits);
        bench.step(StepRates {
            perturbation,
            ..RATES
        })
    };
    let full = distortion(Perturbation::FULL);
    let quarter = distortion(Perturbation {
        strength: 0.25,
        ..Perturbation::FULL
    });
    let ratio = quarter.mean_distortion / full.mean_distortion;
    assert!((ratio - 0.25).abs() < 1e-4, "{ratio}");
    let first = distortion(Perturbation {
        perturbs: Perturbs::First,
        ..Perturbation::FULL
    });
    let bench = Bench::new(&descending(&config), &splits);
    assert_eq!(first.embeddings[0][0], full.embeddings[0][0]);
    assert_ne!(first.embeddings[0][1], full.embeddings[0][1]);
    // The running statistics play no part in training, so that the order of views does not matter.
    let (clean, _) = embed(&bench.learners.players.encoder, &bench.batch);
    assert_eq!(first.embeddings[0][1], clean);
}
