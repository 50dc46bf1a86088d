//! The pictures.

use super::{Gallery, Request, modality};
use crate::error::Result;
use crate::render::{Canvas, GridColumn, SheetRow, image_grid, spectrogram_sheet};
use std::path::PathBuf;
use viewmaker_data::{Rendering, SpectrogramAxes};

/// Channels of a spectrogram that are shown.
const MOST_CHANNELS: usize = 6;
/// Examples in one picture.
const MOST_EXAMPLES: usize = 16;

/// Draws every example; returns the files.
pub(super) fn write(request: &Request<'_>, gallery: &Gallery) -> Result<Vec<PathBuf>> {
    let numbers: Vec<usize> = (0..gallery.len()).collect();
    let canvases: Vec<Canvas> =
        match modality(request.config)?.rendering(&request.config.data.options) {
            Rendering::Image => numbers
                .chunks(MOST_EXAMPLES)
                .map(|some| pictures(gallery, some))
                .collect(),
            Rendering::Spectrogram(axes) if gallery.shape[0] == 1 => numbers
                .chunks(MOST_EXAMPLES)
                .map(|some| recordings(gallery, some, &axes))
                .collect(),
            Rendering::Spectrogram(axes) => numbers
                .iter()
                .map(|number| channels(gallery, *number, &axes))
                .collect(),
        };
    let single = canvases.len() == 1;
    let mut files = Vec::new();
    for (number, canvas) in canvases.iter().enumerate() {
        let name = match single {
            true => "views.png".to_owned(),
            false => format!("views-{number:03}.png"),
        };
        let path = request.out.join(name);
        canvas.write_png(&path)?;
        files.push(path);
    }
    Ok(files)
}

fn pictures(gallery: &Gallery, numbers: &[usize]) -> Canvas {
    let columns: Vec<GridColumn<'_>> = numbers
        .iter()
        .map(|number| GridColumn {
            title: gallery.titles[*number].clone(),
            original: gallery.example(&gallery.originals, *number),
            inputs: gallery.inputs_of(*number),
            views: gallery.views_of(*number),
        })
        .collect();
    image_grid(&columns, gallery.shape, gallery.shows_changes)
}

/// A row per recording.
fn recordings(gallery: &Gallery, numbers: &[usize], axes: &SpectrogramAxes) -> Canvas {
    let [_, height, width] = gallery.shape;
    let rows: Vec<SheetRow<'_>> = numbers
        .iter()
        .map(|number| SheetRow {
            title: gallery.titles[*number].clone(),
            original: gallery.example(&gallery.originals, *number),
            inputs: gallery.inputs_of(*number),
            views: gallery.views_of(*number),
        })
        .collect();
    spectrogram_sheet(&rows, (height, width), axes, gallery.shows_changes)
}

/// A row per channel of one example.
fn channels(gallery: &Gallery, number: usize, axes: &SpectrogramAxes) -> Canvas {
    let [channels, height, width] = gallery.shape;
    let area = height * width;
    let original = gallery.example(&gallery.originals, number);
    let (inputs, views) = (gallery.inputs_of(number), gallery.views_of(number));
    let rows: Vec<SheetRow<'_>> = (0..channels.min(MOST_CHANNELS))
        .map(|channel| {
            let part = channel * area..(channel + 1) * area;
            let name = axes.channel_names.get(channel).cloned();
            let name = name.unwrap_or_else(|| format!("channel {channel}"));
            SheetRow {
                title: format!("{}: {name}", gallery.titles[number]),
                original: &original[part.clone()],
                inputs: inputs.iter().map(|input| &input[part.clone()]).collect(),
                views: views.iter().map(|view| &view[part.clone()]).collect(),
            }
        })
        .collect();
    spectrogram_sheet(&rows, (height, width), axes, gallery.shows_changes)
}
