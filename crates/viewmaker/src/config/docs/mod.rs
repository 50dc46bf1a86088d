//! What every key means, for `viewmaker config` and the comments of a run's `config.toml`. Each file
//! holds the table of some sections; tests ask for every key, and for no other.

mod data;
mod eval;
mod objective;
mod train;
mod views;

/// One line about a key or section; `None` for an unknown one.
pub fn doc(path: &str) -> Option<&'static str> {
    // Both optimisers have the same keys.
    let shared = path
        .strip_prefix("optim.")
        .and_then(|rest| rest.split_once('.'))
        .map(|(_, key)| format!("optim.*.{key}"));
    let path = shared.as_deref().unwrap_or(path);
    SECTIONS
        .into_iter()
        .flatten()
        .find(|(known, _)| *known == path)
        .map(|(_, text)| *text)
}

const SECTIONS: [&[(&str, &str)]; 6] = [
    GENERAL,
    data::DOCS,
    views::DOCS,
    objective::DOCS,
    train::DOCS,
    eval::DOCS,
];

const GENERAL: &[(&str, &str)] = &[
    ("modality", "Kind of data."),
    (
        "seed",
        "Seed of every random choice; the same seed gives the same bits.",
    ),
    (
        "threads",
        "Threads; 0: one per core. The result does not depend on it.",
    ),
    (
        "device",
        "Where the computation runs: auto (the first CUDA card, else the processor), cpu, cuda, or cuda:N.",
    ),
    (
        "precision",
        "How convolutions multiply on a CUDA card: f32, or tf32 or bf16 on tensor cores (storage and sums stay f32).",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::schema;

    /// (That every key is explained is a test of the configuration.)
    #[test]
    fn nothing_is_explained_twice_or_without_being_there() {
        let mut paths: Vec<&str> = SECTIONS
            .into_iter()
            .flatten()
            .map(|(path, _)| *path)
            .collect();
        for path in &paths {
            let path = path.replace("optim.*", "optim.encoder");
            let known = schema().find(&path).is_some() || schema().is_section(&path);
            assert!(known, "there is no {path}");
        }
        paths.sort_unstable();
        let twice = paths.windows(2).find(|pair| pair[0] == pair[1]);
        assert_eq!(twice, None);
    }
}
