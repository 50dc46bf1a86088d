//! What the viewmaker does to examples, as files to look at, to listen to and to compute with.

mod draw;
mod sound;

use crate::config::Config;
use crate::error::{Error, Result};
use crate::run::{TensorMap, write_tensors};
use crate::train::players::{NoiseRequest, Players, SeededNoise};
use serde::Serialize;
use std::path::{Path, PathBuf};
use viewmaker_data::{ChannelStats, Dataset, Draw, Modality, Moment, Recipe, Splits};
use viewmaker_exec::Tensor;

/// Views of each example.
pub const VIEWS: usize = 2;

/// Examples that pass through the viewmaker at once.
const BATCH: usize = 16;

/// What is to be drawn.
pub struct Request<'a> {
    /// Configuration of the run.
    pub config: &'a Config,
    /// The trained networks.
    pub players: &'a Players,
    /// Examples.
    pub dataset: &'a dyn Dataset,
    /// Names of the classes; may be empty.
    pub class_names: &'a [String],
    /// Normalisation that the examples have been through.
    pub before_view: Option<&'a ChannelStats>,
    /// Number of examples, spread evenly over the data set.
    pub count: usize,
    /// Folder for the files.
    pub out: &'a Path,
}

/// Examples with their views.
struct Gallery {
    /// Channels, height, width.
    shape: [usize; 3],
    indices: Vec<usize>,
    titles: Vec<String>,
    originals: Vec<f32>,
    /// What the network made each view from, laid out as `originals`; empty where that is the
    /// originals, or there is no network.
    inputs: Vec<Vec<f32>>,
    /// One entry a view, laid out as `originals`.
    views: Vec<Vec<f32>>,
    /// Whether what the network changed is worth a picture.
    shows_changes: bool,
}

impl Gallery {
    fn len(&self) -> usize {
        self.indices.len()
    }

    fn example<'g>(&self, data: &'g [f32], number: usize) -> &'g [f32] {
        let len = self.shape.iter().product::<usize>();
        &data[number * len..(number + 1) * len]
    }

    fn inputs_of(&self, number: usize) -> Vec<&[f32]> {
        let inputs = self.inputs.iter();
        inputs.map(|data| self.example(data, number)).collect()
    }

    fn views_of(&self, number: usize) -> Vec<&[f32]> {
        let views = self.views.iter();
        views.map(|data| self.example(data, number)).collect()
    }
}

/// The modality of a configuration.
///
/// # Errors
/// When there is none of that name.
pub fn modality(config: &Config) -> Result<&'static dyn Modality> {
    viewmaker_data::modality::by_name(&config.modality)
        .ok_or_else(|| Error::usage(format!("there is no modality `{}`", config.modality)))
}

/// Replaces what the configuration leaves to the data (the rate of recordings, say) by what the data
/// decide, so that everything later reads concrete numbers.
///
/// # Errors
/// When the data cannot be read, or an option does not suit them.
pub fn resolve_data(config: &mut Config) -> Result<()> {
    let data = &config.data;
    let options = modality(config)?.resolve(data.path.as_deref(), &data.options)?;
    config.data.options = options;
    Ok(())
}

/// Opens the data of a configuration, with texts where its objective asks for them.
///
/// # Errors
/// When they cannot be read, or an option does not suit them.
pub fn open_data(config: &Config) -> Result<Splits> {
    let data = &config.data;
    let path = data.path.as_deref();
    let splits = modality(config)?.open(path, &data.options, config.seed)?;
    let objective = viewmaker_objective::registry::find(&config.objective.name);
    match objective.is_ok_and(|entry| entry.branches.text) {
        true => Ok(splits.captioned(path)?),
        false => Ok(splits),
    }
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Written {
    /// Pictures, then sounds, then tensors.
    pub files: Vec<PathBuf>,
    /// Examples shown.
    pub examples: usize,
    /// Mean |view − original| over all of them.
    pub mean_abs_change: f64,
}

/// Makes views and writes pictures, tensors and (for speech) sounds.
///
/// # Errors
/// When an example cannot be loaded or a file cannot be written.
pub fn write(request: &Request<'_>) -> Result<Written> {
    let out = request.out;
    std::fs::create_dir_all(out).map_err(|error| Error::io(out, "create", error))?;
    let recipe = request.config.recipe()?;
    let gallery = gallery(request, recipe.as_ref())?;
    // What a device could not compute is not worth drawing.
    request.players.check()?;
    let mut files = draw::write(request, &gallery)?;
    files.extend(sound::write(request, &gallery, recipe.as_ref())?);
    let path = out.join("views.safetensors");
    write_tensors(&path, &tensors(&gallery))?;
    files.push(path);
    Ok(Written {
        files,
        examples: gallery.len(),
        mean_abs_change: mean_change(&gallery),
    })
}

fn gallery(request: &Request<'_>, recipe: Option<&Recipe>) -> Result<Gallery> {
    let dataset = request.dataset;
    let (len, shape) = (dataset.len(), dataset.shape());
    let count = request.count.min(len);
    let indices: Vec<usize> = (0..count).map(|i| i * len / count).collect();
    let example = shape.iter().product::<usize>();
    let mut originals = vec![0.0; count * example];
    for (index, out) in indices.iter().zip(originals.chunks_mut(example)) {
        dataset.load(*index, Draw::FIXED, out)?;
    }
    let title = |index: &usize| {
        let class = dataset
            .label(*index)
            .and_then(|c| request.class_names.get(c as usize));
        let file = dataset.file(*index);
        let name = file.as_deref().and_then(|file| file.file_name()?.to_str());
        class
            .cloned()
            .or_else(|| name.map(str::to_owned))
            .unwrap_or_else(|| format!("example {index}"))
    };
    let inputs = match recipe {
        Some(recipe) => inputs(request, recipe, &indices)?,
        None => Vec::new(),
    };
    let of = |view: usize| inputs.get(view).unwrap_or(&originals);
    let views = (0..VIEWS).map(|view| view_of(request, of(view), example, view));
    let views = views.collect();
    let has_network = request.players.views.tower().is_some();
    Ok(Gallery {
        shape,
        titles: indices.iter().map(title).collect(),
        views,
        inputs: if has_network { inputs } else { Vec::new() },
        shows_changes: has_network || recipe.is_none(),
        indices,
        originals,
    })
}

/// What the loader makes of the examples, for each view.
fn inputs(request: &Request<'_>, recipe: &Recipe, indices: &[usize]) -> Result<Vec<Vec<f32>>> {
    let example = request.dataset.shape().iter().product::<usize>();
    let of_view = |view| {
        let moment = moment(request.config, view);
        let mut input = vec![0.0; indices.len() * example];
        for (index, out) in indices.iter().zip(input.chunks_mut(example)) {
            recipe.load(request.dataset, *index, moment, out)?;
        }
        Ok(input)
    };
    (0..VIEWS).map(of_view).collect()
}

/// The choices that pictures show: those of the first epoch, on examples as evaluations see them.
fn moment(config: &Config, view: usize) -> Moment {
    Moment {
        example: Draw::FIXED,
        draw: Draw {
            seed: config.seed,
            epoch: 0,
        },
        view: view as u32,
    }
}

/// View number `view` of every example.
fn view_of(request: &Request<'_>, inputs: &[f32], example: usize, view: usize) -> Vec<f32> {
    let mut noise = SeededNoise {
        seed: request.config.seed,
    };
    let batches = inputs.chunks(BATCH * example).enumerate();
    batches
        .flat_map(|(batch, x)| {
            let moment = NoiseRequest {
                step: batch as u64,
                pass: 0,
                view: view as u32,
                channel: 0,
            };
            let views = &request.players.views;
            views.apply_slice(x, x.len() / example, &mut noise, moment)
        })
        .collect()
}

/// `original` and `view.1`, `view.2`, each N × C × H × W; `input.1` and `input.2` where the network
/// saw something else than the original.
fn tensors(gallery: &Gallery) -> TensorMap {
    let [c, h, w] = gallery.shape;
    let tensor = |data: &Vec<f32>| Tensor {
        shape: vec![gallery.len(), c, h, w],
        data: data.clone(),
    };
    let views = gallery.views.iter().enumerate();
    let mut tensors: TensorMap = views
        .map(|(number, data)| (format!("view.{}", number + 1), tensor(data)))
        .collect();
    for (number, data) in gallery.inputs.iter().enumerate() {
        tensors.insert(format!("input.{}", number + 1), tensor(data));
    }
    tensors.insert("original".to_owned(), tensor(&gallery.originals));
    tensors
}

/// Mean |view − original| over everything, for the reader of a report.
fn mean_change(gallery: &Gallery) -> f64 {
    let changes = gallery.views.iter().flat_map(|view| {
        view.iter()
            .zip(&gallery.originals)
            .map(|(v, x)| f64::from((v - x).abs()))
    });
    let count = gallery.originals.len() * gallery.views.len();
    changes.sum::<f64>() / count.max(1) as f64
}
