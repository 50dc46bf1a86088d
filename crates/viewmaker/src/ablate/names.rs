//! Values in words: in the table, and in the names of folders.

use super::plan::Point;
use crate::run::fnv1a;
use toml::Value;

/// Characters of a value in the name of a folder, at most.
const LONGEST: usize = 40;

/// A value without quotes; a list of words with `+` between them.
pub(super) fn shown(value: &Value) -> String {
    let words = |items: &Vec<Value>| {
        let words: Option<Vec<&str>> = items.iter().map(Value::as_str).collect();
        words.map(|words| words.join("+"))
    };
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => words(items).unwrap_or_else(|| value.to_string()),
        other => other.to_string(),
    }
}

/// A folder name such as `image-source=learned-seed=0`. Within an ablation, points that differ
/// have names that differ, also where a file system takes `A` for `a`.
pub(super) fn run_name(point: &Point, seed: u64) -> String {
    let mut parts = vec![point.modality.clone()];
    for (key, value) in &point.values {
        let short = key.rsplit('.').next().unwrap_or(key);
        parts.push(format!("{short}={}", piece(key, value)));
    }
    parts.push(format!("seed={seed}"));
    parts.join("-")
}

/// A value as a part of a name: itself where it can be read back from there, else what can be shown
/// of it and a checksum of key and value.
fn piece(key: &str, value: &Value) -> String {
    let text = shown(value);
    if is_plain(value) && text.len() <= LONGEST {
        return text;
    }
    let fine = |c: char| c.is_ascii_alphanumeric() || "-_.+".contains(c);
    let escaped = text.chars().take(LONGEST);
    let escaped: String = escaped.map(|c| if fine(c) { c } else { '_' }).collect();
    let checksum = fnv1a(format!("{key} = {value}").as_bytes());
    format!("{escaped}~{}", &checksum[..8])
}

/// Whether a value can be read back from what [`shown`] makes of it.
fn is_plain(value: &Value) -> bool {
    match value {
        Value::String(text) => is_word(text),
        // One word in a list looks like the word alone.
        Value::Array(items) => {
            items.len() > 1 && items.iter().all(|item| item.as_str().is_some_and(is_word))
        }
        other => is_safe(&other.to_string()),
    }
}

/// Text that is taken for no number, no truth value and no list.
fn is_word(text: &str) -> bool {
    let is_other = text.parse::<f64>().is_ok() || text.parse::<bool>().is_ok();
    is_safe(text) && !is_other
}

fn is_safe(text: &str) -> bool {
    let fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
    !text.is_empty() && text.chars().all(fine)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(values: &str) -> String {
        let table: toml::Table = values.parse().unwrap();
        let point = Point {
            modality: "image".to_owned(),
            values: table.into_iter().collect(),
        };
        run_name(&point, 3)
    }

    #[test]
    fn plain_values_stand_for_themselves() {
        assert_eq!(name("epochs = 5"), "image-epochs=5-seed=3");
        assert_eq!(name("lr = 0.05"), "image-lr=0.05-seed=3");
        assert_eq!(
            name("source = [\"expert\", \"learned\"]"),
            "image-source=expert+learned-seed=3"
        );
        assert_eq!(
            name("name = \"resnet18-small\""),
            "image-name=resnet18-small-seed=3"
        );
    }

    #[test]
    fn different_values_have_different_names() {
        let long = |end: char| format!("x = \"{}{end}\"", "a".repeat(60));
        let values = [
            "x = [[\"a {}!\"]]",
            "x = [[\"a {}?\"]]",
            "x = [4, 8]",
            "x = [4.8]",
            "x = \"a b\"",
            "x = \"a_b\"",
            "x = \"A_b\"",
            "x = \"a+b\"",
            "x = [\"a\", \"b\"]",
            "x = [\"a+b\", \"c\"]",
            "x = [\"a\", \"b+c\"]",
            "x = [\"a\"]",
            "x = \"a\"",
            "x = 1",
            "x = \"1\"",
            "x = true",
            "x = \"true\"",
            "x = \"\"",
            "x = \"a-seed=3\"",
            &long('a'),
            &long('b'),
        ];
        let mut names: Vec<String> = values.iter().map(|v| name(v).to_lowercase()).collect();
        assert!(names.iter().all(|name| name.len() < 80), "{names:?}");
        assert!(names[0].starts_with("image-x=___a_______~"), "{names:?}");
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), values.len(), "{names:?}");
    }
}
