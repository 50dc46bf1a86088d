//! The probes by name.

/// What measures a trained encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Probe {
    /// Votes of the nearest neighbours.
    Knn,
    /// A linear classifier by SGD.
    Linear,
    /// A logistic regression by L-BFGS.
    Logistic,
    /// Training of the whole network with few labels.
    Finetune,
    /// Episodes of few examples of each class.
    Fewshot,
    /// Nearest neighbours and logistic regression on other data.
    Transfer,
    /// A probe trained on few subjects and tested on others.
    Subjects,
    /// A probe trained on clean pictures and tested on corrupted ones.
    Corruptions,
    /// The class whose prompts lie nearest.
    ZeroShot,
}

impl Probe {
    /// Every probe, in the order of the help.
    pub const ALL: [Self; 9] = [
        Self::Knn,
        Self::Linear,
        Self::Logistic,
        Self::Finetune,
        Self::Fewshot,
        Self::Transfer,
        Self::Subjects,
        Self::Corruptions,
        Self::ZeroShot,
    ];

    /// Its name: on the command line, in the file of an ablation, and of its results.
    pub const fn name(self) -> &'static str {
        self.words().0
    }

    /// One line about it.
    pub const fn about(self) -> &'static str {
        self.words().1
    }

    /// The probe of that name.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|probe| probe.name() == name)
    }

    const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Knn => ("knn", "Votes of the nearest neighbours; takes seconds"),
            Self::Linear => (
                "linear",
                "A linear classifier by SGD with the paper's rate, on pooled and on pre-pool features; few \
                 features want a larger eval.linear_lr",
            ),
            Self::Logistic => (
                "logistic",
                "A logistic regression by L-BFGS, on pooled features: no seed, no learning rate",
            ),
            Self::Finetune => (
                "finetune",
                "The whole network trained with 1, 10 and 100 % of the labels, against one from \
                 scratch and a linear probe; takes minutes",
            ),
            Self::Fewshot => (
                "fewshot",
                "Episodes of few examples of each class, by the nearest class mean",
            ),
            Self::Transfer => (
                "transfer",
                "Nearest neighbours and logistic regression on other data (--data), against an \
                 untrained encoder",
            ),
            Self::Subjects => (
                "subjects",
                "A probe trained on few subjects and tested on others (sensor data)",
            ),
            Self::Corruptions => (
                "corruptions",
                "A probe trained on clean pictures, on 15 corruptions at five severities (images)",
            ),
            Self::ZeroShot => (
                "zero-shot",
                "The class whose prompts lie nearest, for runs that were trained with texts",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back() {
        for probe in Probe::ALL {
            assert_eq!(Probe::by_name(probe.name()), Some(probe));
        }
        assert_eq!(Probe::by_name("magic"), None);
    }
}
