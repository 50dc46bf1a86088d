//! A configuration as TOML with a comment on every key.

use super::{Config, Key, docs};
use std::fmt::Write;
use toml::{Table, Value};

/// The text of `config`: every key with its meaning, absent ones commented out. Reading it back
/// gives the same configuration.
pub(super) fn to_toml(config: &Config) -> String {
    let table = super::to_table(config);
    let mut out = String::new();
    let keys = super::schema().keys().iter();
    let keys: Vec<&Key> = keys.filter(|key| matters(key, &config.modality)).collect();
    write_level(&mut out, &table, "", &keys);
    out
}

/// False for the options of other modalities: they are read by nobody.
fn matters(key: &Key, modality: &str) -> bool {
    let of = |name: &&str| {
        ["data", "views.expert"]
            .iter()
            .any(|section| key.path.starts_with(&format!("{section}.{name}.")))
    };
    !super::modality_names()
        .iter()
        .any(|name| *name != modality && of(name))
}

/// Writes the keys of the section at `path`, then its subsections.
fn write_level(out: &mut String, table: &Table, path: &str, keys: &[&Key]) {
    for key in keys {
        let Some((name, None)) = below(&key.path, path) else {
            continue;
        };
        let comment = docs::doc(&key.path).unwrap_or_default();
        if !comment.is_empty() {
            let _ = writeln!(out, "# {comment}");
        }
        let _ = match table.get(name) {
            Some(value) => writeln!(out, "{name} = {value}"),
            None => writeln!(out, "# {name} ="),
        };
    }
    for name in subsections(path, keys) {
        let inner = join(path, name);
        let comment = docs::doc(&inner).unwrap_or_default();
        let _ = write!(out, "\n# {comment}\n[{inner}]\n");
        let empty = Table::new();
        let table = table.get(name).and_then(Value::as_table).unwrap_or(&empty);
        write_level(out, table, &inner, keys);
    }
}

/// The first component of `key` below `path`, and what follows it.
fn below<'k>(key: &'k str, path: &str) -> Option<(&'k str, Option<&'k str>)> {
    let rest = match path {
        "" => key,
        path => key.strip_prefix(path)?.strip_prefix('.')?,
    };
    Some(match rest.split_once('.') {
        Some((name, rest)) => (name, Some(rest)),
        None => (rest, None),
    })
}

fn subsections<'s>(path: &str, keys: &[&'s Key]) -> Vec<&'s str> {
    let mut names = Vec::new();
    for key in keys {
        if let Some((name, Some(_))) = below(&key.path, path)
            && !names.contains(&name)
        {
            names.push(name);
        }
    }
    names
}

fn join(path: &str, name: &str) -> String {
    match path {
        "" => name.to_owned(),
        path => format!("{path}.{name}"),
    }
}
