//! The making of one view.

use super::temporal::Window;
use super::{Expert, Ordered, PatchConfig, REGISTRY, TemporalConfig, ViewsConfig};
use crate::dataset::{Signal, Source};
use crate::random::{self, Dice, dice_of};
use crate::{DataError, Dataset, Draw, Waveform};
use std::fmt;
use std::sync::Arc;

/// A way of making views while examples are loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Hand-made augmentations.
    Expert,
    /// A part of the picture or spectrogram.
    Patch,
    /// Another window of the recording.
    Temporal,
    /// Either end of a recording longer than the window, drawn anew for each view.
    Ends,
    /// Windows or frames of one sequence in the order of time: view 0 is the earliest.
    Ordered,
}

/// The coordinates of the random choices made for one view of an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The draw at which the example itself is loaded, the same for all of its views. With
    /// [`Stage::Ends`] each view loads it at a draw of its own.
    pub example: Draw,
    /// The draw of the choices that make the view.
    pub draw: Draw,
    /// Number of the view, from 0.
    pub view: u32,
}

/// What randomness is used for; each use and view has a stream of its own.
#[derive(Clone, Copy)]
enum Use {
    Shared,
    Signal,
    Levels,
    Example,
    Patch,
}

impl Moment {
    /// The numbers that all views of the example share.
    pub(super) fn shared_dice(&self, index: usize) -> Dice {
        Self { view: 0, ..*self }.dice(Use::Shared, index)
    }

    fn dice(&self, what: Use, index: usize) -> Dice {
        let stream = random::VIEWS + 8 * self.view + what as u32;
        dice_of(self.draw.seed, stream, self.draw.epoch, index)
    }
}

/// Makes views of one modality.
#[derive(Clone)]
pub struct Recipe {
    stages: Vec<Stage>,
    expert: Option<Arc<dyn Expert>>,
    patch: PatchConfig,
    temporal: TemporalConfig,
    /// Whether examples are pictures, which have no signal.
    pictures: bool,
}

impl fmt::Debug for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recipe")
            .field("stages", &self.stages)
            .finish_non_exhaustive()
    }
}

impl Recipe {
    /// The views that `stages` make in this order of examples of `modality`; `None` for no stages.
    ///
    /// # Errors
    /// When an option is invalid, there is no such modality, or a stage cannot stand where it does:
    /// windows are chosen first, images have no time, and what experts do to a recording comes
    /// before a patch of its spectrogram.
    pub fn new(
        modality: &str,
        stages: &[Stage],
        config: &ViewsConfig,
    ) -> Result<Option<Self>, DataError> {
        config.validate()?;
        if stages.is_empty() {
            return Ok(None);
        }
        let Some((_, build)) = REGISTRY.iter().find(|(name, _)| *name == modality) else {
            let why = "has no views of its own".to_owned();
            return Err(DataError::option("modality", modality, why));
        };
        let expert = stages.contains(&Stage::Expert);
        let recipe = Self {
            stages: stages.to_vec(),
            expert: expert.then(|| build(&config.expert)),
            patch: config.patch.clone(),
            temporal: config.temporal.clone(),
            pictures: modality == "image",
        };
        recipe.check(modality)?;
        Ok(Some(recipe))
    }

    fn check(&self, modality: &str) -> Result<(), DataError> {
        let place = |stage| self.stages.iter().position(|&s| s == stage);
        let refuse = |stage: &str, why: &str| Err(DataError::option(SOURCE, stage, why));
        if place(Stage::Ordered).is_some() && place(Stage::Temporal).is_some() {
            let why = "the objective chooses moments in time itself: leave temporal out";
            return refuse("temporal", why);
        }
        self.check_ends(modality)?;
        if let Some(place) = place(Stage::Temporal) {
            if modality == "image" {
                let why = "images have no time; write patch for two parts of one picture";
                return refuse("temporal", why);
            }
            if place > 0 {
                return refuse("temporal", "chooses the windows: write it first");
            }
        }
        if let (Some(patch), Some(expert)) = (place(Stage::Patch), place(Stage::Expert))
            && patch < expert
            && modality != "image"
        {
            let why = "expert views of recordings are made before a patch is cut from the \
                       spectrogram: write expert before patch";
            return refuse("patch", why);
        }
        Ok(())
    }

    fn check_ends(&self, modality: &str) -> Result<(), DataError> {
        if !self.stages.contains(&Stage::Ends) {
            return Ok(());
        }
        let chosen = |stage: &Stage| matches!(stage, Stage::Temporal | Stage::Ordered);
        let why = if modality != "speech" {
            "examples are no recordings that may be longer than their window; for two windows of a sensor \
             stream write temporal"
        } else if self.stages.iter().any(chosen) {
            "another part of the recording is chosen already: leave it out"
        } else if self.stages[0] != Stage::Ends {
            "chooses the part of the recording: write it first"
        } else {
            return Ok(());
        };
        Err(DataError::option(SOURCE, "ends", why))
    }

    /// What is done, in this order.
    pub fn stages(&self) -> &[Stage] {
        &self.stages
    }

    /// Writes a view of example `index` of `dataset` into `out`, C × H × W in C order.
    ///
    /// # Errors
    /// When the file behind the example cannot be read or decoded, or the recipe needs signals and
    /// the data set has none.
    pub fn load(
        &self,
        dataset: &dyn Dataset,
        index: usize,
        moment: Moment,
        out: &mut [f32],
    ) -> Result<(), DataError> {
        let shape = dataset.shape();
        self.load_levels(dataset, index, moment, out)?;
        if let Some(expert) = &self.expert {
            let dice = &mut moment.dice(Use::Levels, index);
            expert.change_levels(out, shape, dice);
        }
        dataset.finish(out);
        for stage in &self.stages {
            match (stage, &self.expert) {
                (Stage::Patch, _) => {
                    let dice = &mut moment.dice(Use::Patch, index);
                    self.patch.apply(out, shape, dice);
                }
                (Stage::Expert, Some(expert)) => {
                    let dice = &mut moment.dice(Use::Example, index);
                    expert.change_example(out, shape, dice);
                }
                (Stage::Expert, None) | (Stage::Temporal | Stage::Ordered | Stage::Ends, _) => {}
            }
        }
        Ok(())
    }

    /// The sound from which [`Recipe::load`] makes a view, and its spectrogram before anything is
    /// done to that; `None` where examples are not speech.
    ///
    /// # Errors
    /// As [`Recipe::load`].
    pub fn sound(
        &self,
        dataset: &dyn Dataset,
        index: usize,
        moment: Moment,
    ) -> Result<Option<(Waveform, Vec<f32>)>, DataError> {
        let Some(original) = dataset.waveform(index, self.draw(moment))? else {
            return Ok(None);
        };
        let sound = match self.signal(dataset, index, moment)? {
            Some(signal) => Waveform {
                samples: signal.samples,
                rate: original.rate,
            },
            None => original,
        };
        let mut example = vec![0.0; dataset.shape().iter().product()];
        self.load_levels(dataset, index, moment, &mut example)?;
        dataset.finish(&mut example);
        Ok(Some((sound, example)))
    }

    /// The example before its levels are limited and normalised, from the changed signal if there
    /// is one.
    fn load_levels(
        &self,
        dataset: &dyn Dataset,
        index: usize,
        moment: Moment,
        out: &mut [f32],
    ) -> Result<(), DataError> {
        match self.signal(dataset, index, moment)? {
            Some(signal) => dataset.levels(Source::Signal(&signal), out),
            None => dataset.levels(self.source(index, moment), out),
        }
    }

    /// The example or frame that a view without a signal of its own is made of.
    fn source(&self, index: usize, moment: Moment) -> Source<'static> {
        match self.window(index, moment) {
            Some(Window::Ordered(place)) => Source::Frame { index, place },
            _ => Source::Example {
                index,
                draw: self.draw(moment),
            },
        }
    }

    /// The draw at which the example of a view is loaded.
    fn draw(&self, moment: Moment) -> Draw {
        match self.stages.contains(&Stage::Ends) {
            true => moment.draw.of_view(moment.view),
            false => moment.example,
        }
    }

    /// The window or frame that a view shows; `None` for the example's own.
    fn window(&self, index: usize, moment: Moment) -> Option<Window> {
        self.stages.iter().find_map(|stage| match stage {
            Stage::Temporal => Some(Window::Near(self.temporal.near(moment, index))),
            Stage::Ordered => {
                let place = Ordered::new(self.temporal.fill, moment, index);
                Some(Window::Ordered(place))
            }
            Stage::Expert | Stage::Patch | Stage::Ends => None,
        })
    }

    /// The signal as this view has it; `None` where the example's own will do.
    fn signal(
        &self,
        dataset: &dyn Dataset,
        index: usize,
        moment: Moment,
    ) -> Result<Option<Signal>, DataError> {
        let window = self.window(index, moment).filter(|_| !self.pictures);
        let expert = self.expert.as_ref().filter(|e| e.changes_signal());
        if window.is_none() && expert.is_none() {
            return Ok(None);
        }
        let Some(mut signal) = dataset.signal(index, self.draw(moment), window)? else {
            let why = "is no recording, and views of its signal were asked for".to_owned();
            return Err(DataError::example(dataset.origin(index), why));
        };
        if let Some(expert) = expert {
            expert.change_signal(&mut signal, &mut moment.dice(Use::Signal, index));
        }
        Ok(Some(signal))
    }
}

/// The key that names the stages.
const SOURCE: &str = "views.source";
