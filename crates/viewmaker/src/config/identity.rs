//! What must not change when a run is continued.

use super::{Config, ConfigError, get, schema, to_table};

/// Keys that may change because no number of a step depends on them. (More epochs under a cosine
/// schedule do change the learning rates that follow, as one would expect.)
const FREE: &[&str] = &[
    "threads",
    "train.epochs",
    "train.steps",
    "train.checkpoint_every",
    "train.keep_checkpoints",
    "train.knn_every",
];

/// Keys that may change although numbers differ in rounding from then on: a run moves between
/// processor and cards, and the processor has `f32` alone.
const ROUNDING: &[&str] = &["device", "precision"];

/// Where the data lie. A run cannot tell whether they are the same in another place, and says so.
const PLACE: &str = "data.path";

/// Sections of which every key may change.
const FREE_SECTIONS: &[&str] = &["eval."];

impl Config {
    /// Checks that a run which was started with `self` can be continued with `now`.
    ///
    /// # Errors
    /// Names the first key that differs and must not.
    pub fn check_continues_as(&self, now: &Self) -> Result<(), ConfigError> {
        let moved = self.data.path.is_some() && now.data.path.is_some();
        self.check_equal(now, |key| {
            FREE.contains(&key)
                || ROUNDING.contains(&key)
                || (key == PLACE && moved)
                || FREE_SECTIONS.iter().any(|section| key.starts_with(section))
        })
    }

    /// Checks that a run with `self` gives the same results as one with `now`, however many
    /// threads either uses.
    ///
    /// # Errors
    /// Names the first key that differs and must not.
    pub fn check_same_results(&self, now: &Self) -> Result<(), ConfigError> {
        self.check_equal(now, |key| key == "threads" || key == "device")
    }

    /// What a run that was started with `self` and goes on with `now` has to say about its bits: a
    /// sentence for each key that changes how numbers are rounded, and one for data in another place.
    pub fn remarks_on_continuing(&self, now: &Self) -> Vec<String> {
        let (before, after) = (to_table(self), to_table(now));
        let changes = ROUNDING.iter().filter_map(|key| {
            let (old, new) = (get(&before, key)?, get(&after, key)?);
            let change = format!(
                "going on with {key} = {new}; before: {old}. From here on, results may differ in \
                 rounding from those of a run that was never changed"
            );
            (old != new).then_some(change)
        });
        let mut remarks: Vec<String> = changes.collect();
        let place = |table| get(table, PLACE).map_or("embedded".to_owned(), ToString::to_string);
        let (old, new) = (place(&before), place(&after));
        if old != new {
            remarks.push(format!(
                "going on with the data in {new}; before: {old}. They must be the same examples for the run to \
                 go on as it began"
            ));
        }
        remarks
    }

    fn check_equal(&self, now: &Self, is_free: impl Fn(&str) -> bool) -> Result<(), ConfigError> {
        let (before, after) = (to_table(self), to_table(now));
        for key in schema().keys().iter().filter(|key| !is_free(&key.path)) {
            let (old, new) = (get(&before, &key.path), get(&after, &key.path));
            if old != new {
                let show = |value: Option<&toml::Value>| {
                    value.map_or("none".to_owned(), toml::Value::to_string)
                };
                return Err(ConfigError::Changed {
                    key: key.path.clone(),
                    before: show(old),
                    now: show(new),
                });
            }
        }
        Ok(())
    }
}
