//! How the size of a perturbation is measured.

use std::fmt;
use std::str::FromStr;

/// Size of a perturbation over the elements of one example, normalised by their number so that a
/// budget means the same at every resolution.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Norm {
    /// Mean of the absolute values.
    #[default]
    L1,
    /// Root of the mean of the squares.
    L2,
    /// Largest absolute value.
    Linf,
}

impl Norm {
    /// Every norm.
    pub const ALL: [Self; 3] = [Self::L1, Self::L2, Self::Linf];

    /// The name used in configurations: `l1`, `l2` or `linf`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::L1 => "l1",
            Self::L2 => "l2",
            Self::Linf => "linf",
        }
    }

    /// Size of `values`; 0 when there are none.
    pub fn measure(self, values: impl ExactSizeIterator<Item = f64>) -> f64 {
        let n = values.len().max(1) as f64;
        match self {
            Self::L1 => values.map(f64::abs).sum::<f64>() / n,
            Self::L2 => (values.map(|t| t * t).sum::<f64>() / n).sqrt(),
            Self::Linf => values.map(f64::abs).fold(0.0, f64::max),
        }
    }
}

impl fmt::Display for Norm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A name that is none of the norms.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown norm `{0}`: expected l1, l2 or linf")]
pub struct UnknownNorm(pub String);

impl FromStr for Norm {
    type Err = UnknownNorm;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|norm| norm.name() == name);
        found.ok_or_else(|| UnknownNorm(name.to_owned()))
    }
}
