use super::*;
use crate::views::{FRAMES, Stage};
use crate::{Loader, Recipe, ViewsConfig};
use std::sync::Arc;

/// Two classes of videos; the red of a picture is ten times the number of its frame, the green tells
/// its video.
fn videos() -> tempfile::TempDir {
    let folder = folder();
    for video in 0..6u8 {
        for frame in 1..=11u8 {
            let name = format!(
                "{}/v{video}/f{frame}.png",
                ["calm", "wild"][usize::from(video) % 2]
            );
            write(&folder, &name, &png([10 * frame, 30 * video, 0]));
        }
    }
    folder
}

fn frames(size: usize) -> DataConfig {
    let mut config = config(size, 0);
    config.image.frames = true;
    config
}

#[test]
fn a_folder_is_a_video_and_videos_are_held_out_whole() {
    let folder = videos();
    let splits = open(folder.path(), &frames(8)).unwrap();
    assert_eq!(splits.class_names, ["calm", "wild"]);
    assert_eq!(splits.train.len() + splits.test.len(), 66);
    assert!(
        splits.description.contains("a video in every folder"),
        "{}",
        splits.description
    );
    let of = |set: &dyn Dataset| {
        let mut videos: Vec<_> = (0..set.len()).map(|i| set.sequence(i).unwrap()).collect();
        videos.dedup();
        videos
    };
    let (train, test) = (of(&*splits.train), of(&*splits.test));
    assert!(test.iter().all(|video| !train.contains(video)));
    // Without the option the folders are the classes alone.
    let still = open(folder.path(), &config(8, 0)).unwrap();
    assert_eq!(still.train.sequence(0), None);
}

#[test]
fn the_loader_gives_three_frames_of_one_video_in_the_order_of_time() {
    let folder = videos();
    let splits = open(folder.path(), &frames(8)).unwrap();
    let recipe = Recipe::new("image", &[Stage::Ordered], &ViewsConfig::default());
    let recipe = Arc::new(recipe.unwrap().unwrap());
    let loader = Loader::training(Arc::clone(&splits.train), 8, 0, 3).unwrap();
    for batch in loader.with_views(recipe, FRAMES, 3).epoch(0) {
        let batch = batch.unwrap();
        let views = batch.views();
        let pixel = |view: usize, example: usize, channel: usize| {
            (views[view][(example * 3 + channel) * 64] * 255.0).round() as usize
        };
        for example in 0..8 {
            let times = [0, 1, 2].map(|view| pixel(view, example, 0));
            assert!(times[0] < times[1] && times[1] < times[2], "{times:?}");
            let greens = [0, 1, 2].map(|view| pixel(view, example, 1));
            assert_eq!(greens, [greens[0]; 3]);
        }
        assert!(batch.sequences.iter().all(Option::is_some));
    }
}

#[test]
fn pictures_without_time_are_refused_where_frames_are_wanted() {
    let folder = folder();
    for i in 0..8 {
        write(&folder, &format!("{i}.png"), &png([i, 0, 0]));
    }
    let splits = open(folder.path(), &config(8, 0)).unwrap();
    let recipe = Recipe::new("image", &[Stage::Ordered], &ViewsConfig::default());
    let loader = Loader::training(Arc::clone(&splits.train), 2, 0, 3).unwrap();
    let loader = loader.with_views(Arc::new(recipe.unwrap().unwrap()), FRAMES, 3);
    let error = loader.epoch(0).next().unwrap().unwrap_err().to_string();
    assert!(error.contains("is no frame of a video"), "{error}");
    let message = failure(folder.path(), &frames(8));
    assert!(message.contains("give more examples"), "{message}");
    let other = super::folder();
    write(&other, "list.csv", b"a,b");
    let message = failure(other.path(), &frames(8));
    assert!(
        message.contains("data.image.frames = true expects"),
        "{message}"
    );
}
