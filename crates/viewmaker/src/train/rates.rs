//! Schedules: what a step is done with.

use super::Trainer;
use super::perturbation::Perturbation;
use super::step::StepRates;
use crate::config::{OptimizerSection, Schedule as ScheduleName};
use viewmaker_exec::optim::Schedule;

impl Trainer<'_> {
    /// Everything that a schedule decides about a step of an epoch, both from 0.
    pub(super) fn rates(&self, step: u64, epoch: u64) -> StepRates {
        let frozen = self.config.train.freeze_viewmaker_after;
        let optim = &self.config.optim;
        let rate = |section| self.learning_rate(section, step);
        StepRates {
            update: self.config.train.update,
            viewmaker_loss_weight: self.config.train.viewmaker_loss_weight,
            encoder_lr: rate(&optim.encoder),
            viewmaker_lr: match frozen {
                Some(after) if epoch >= after => None,
                _ => Some(rate(&optim.viewmaker)),
            },
            encoder_momentum: self.encoder_momentum(step),
            chunk: self.config.train.chunk,
            perturbation: self.perturbation(step),
        }
    }

    fn encoder_momentum(&self, step: u64) -> f32 {
        let objective = &self.config.objective;
        let schedule = objective.momentum_schedule;
        schedule.at(objective.encoder_momentum, step, self.total_steps()) as f32
    }

    /// How views are perturbed at `step`: the budget grows linearly during its warm-up.
    pub(super) fn perturbation(&self, step: u64) -> Perturbation {
        let section = &self.config.viewmaker;
        let warmup = f64::from(section.budget_warmup_epochs) * self.steps_per_epoch() as f64;
        Perturbation {
            perturbs: section.perturbs,
            strength: match (step + 1) as f64 {
                done if done < warmup => (done / warmup) as f32,
                _ => 1.0,
            },
        }
    }

    fn learning_rate(&self, section: &OptimizerSection, step: u64) -> f32 {
        let schedule = match section.schedule {
            ScheduleName::Constant => Schedule::Constant,
            ScheduleName::Cosine => Schedule::Cosine {
                warmup_steps: (f64::from(section.warmup_epochs) * self.steps_per_epoch() as f64)
                    .round() as u64,
                total_steps: self.total_steps(),
            },
        };
        section.lr * schedule.factor(step)
    }
}
