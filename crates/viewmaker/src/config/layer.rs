//! One source of settings: a file, the `--set` options, or flags. Keys and types are checked here,
//! where the place of every value is still known.

use super::error::{ConfigError, Origin, meant};
use super::schema::{Kind, Schema};
use super::source::Source;
use std::path::Path;
use toml::{Table, Value};

/// One setting.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Dotted key.
    pub key: String,
    /// Its value, of the kind the key accepts; `None` unsets an optional key.
    pub value: Option<Value>,
    /// Where it was written.
    pub origin: Origin,
}

/// The settings of one source.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Layer {
    /// The settings; later ones win.
    pub entries: Vec<Entry>,
}

impl Layer {
    /// Reads a configuration file.
    ///
    /// # Errors
    /// When the file cannot be read or is not TOML, or a key is unknown or of another type.
    pub fn from_file(path: &Path, schema: &Schema) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: path.to_path_buf(),
            source,
        })?;
        Self::from_text(&text, path, schema)
    }

    /// Reads the text of a configuration file; errors say it stands in `path`.
    ///
    /// # Errors
    /// When the text is not TOML, or a key is unknown or of another type.
    pub fn from_text(text: &str, path: &Path, schema: &Schema) -> Result<Self, ConfigError> {
        let (values, source) = Source::parse(text, path)?;
        let mut layer = Self::default();
        layer.add_table(&values, &mut Vec::new(), schema, &|path| {
            source.origin(path)
        })?;
        Ok(layer)
    }

    /// Adds the settings of `table`, which lies at `path`.
    fn add_table<'t>(
        &mut self,
        table: &'t Table,
        path: &mut Vec<&'t str>,
        schema: &Schema,
        origin: &dyn Fn(&[&str]) -> Origin,
    ) -> Result<(), ConfigError> {
        for (name, value) in table {
            path.push(name);
            let key = path.join(".");
            match value {
                Value::Table(inner) if schema.is_section(&key) => {
                    self.add_table(inner, path, schema, origin)?;
                }
                value => self.add(&key, value.clone(), origin(path), schema)?,
            }
            path.pop();
        }
        Ok(())
    }

    /// Adds a setting after checking its key and the kind of its value.
    ///
    /// # Errors
    /// When the key is unknown or the value of another kind.
    pub fn add(
        &mut self,
        key: &str,
        value: Value,
        origin: Origin,
        schema: &Schema,
    ) -> Result<(), ConfigError> {
        let known = find(key, &origin, schema)?;
        if let Value::Table(_) = value {
            return Err(ConfigError::Structure {
                origin,
                key: key.to_owned(),
                found: "a single value",
                instead: format!("`{key} = …`"),
            });
        }
        let shown = value.to_string();
        let value = coerce(value, &known.kind)
            .ok_or_else(|| wrong_value(key, &shown, &known.kind, &origin))?;
        self.entries.push(Entry {
            key: key.to_owned(),
            value: Some(value),
            origin,
        });
        Ok(())
    }

    /// Adds `key=value` as typed after `--set`. Quotes around text may be left out; `none` unsets
    /// an optional key.
    ///
    /// # Errors
    /// When there is no `=`, the key is unknown, or the value is of another kind.
    pub fn add_assignment(&mut self, text: &str, schema: &Schema) -> Result<(), ConfigError> {
        self.add_assignment_from(text, Origin::Set, schema)
    }

    /// As [`Layer::add_assignment`], for an assignment written at `origin`.
    ///
    /// # Errors
    /// As [`Layer::add_assignment`].
    pub fn add_assignment_from(
        &mut self,
        text: &str,
        origin: Origin,
        schema: &Schema,
    ) -> Result<(), ConfigError> {
        let Some((key, raw)) = text.split_once('=') else {
            return Err(ConfigError::Syntax {
                origin,
                message: format!("expected key=value, found `{text}`"),
            });
        };
        let (key, raw) = (key.trim(), raw.trim());
        let known = find(key, &origin, schema)?;
        if known.optional && raw == "none" {
            self.entries.push(Entry {
                key: key.to_owned(),
                value: None,
                origin,
            });
            return Ok(());
        }
        let value = parse_value(raw, &known.kind)
            .ok_or_else(|| wrong_value(key, raw, &known.kind, &origin))?;
        self.add(key, value, origin, schema)
    }

    /// Adds the value of a flag of its own.
    pub fn add_flag(&mut self, key: &str, value: impl Into<Value>, flag: &'static str) {
        self.entries.push(Entry {
            key: key.to_owned(),
            value: Some(value.into()),
            origin: Origin::Flag(flag),
        });
    }

    /// Lets a flag unset an optional key.
    pub fn unset_by_flag(&mut self, key: &str, flag: &'static str) {
        self.entries.push(Entry {
            key: key.to_owned(),
            value: None,
            origin: Origin::Flag(flag),
        });
    }
}

/// The key in the schema, or an error that says what was probably meant.
fn find<'s>(
    key: &str,
    origin: &Origin,
    schema: &'s Schema,
) -> Result<&'s super::schema::Key, ConfigError> {
    if let Some(known) = schema.find(key) {
        return Ok(known);
    }
    let origin = origin.clone();
    let mut inside = schema.keys().iter().filter(|k| k.path.starts_with(key));
    Err(match inside.next() {
        Some(example) if schema.is_section(key) => ConfigError::Structure {
            origin,
            key: key.to_owned(),
            found: "a section",
            instead: format!("one of its keys, such as `{}`", example.path),
        },
        _ => ConfigError::UnknownKey {
            origin,
            key: key.to_owned(),
            nearest: meant(key, schema.keys().iter().map(|k| k.path.as_str())),
        },
    })
}

fn wrong_value(key: &str, value: &str, kind: &Kind, origin: &Origin) -> ConfigError {
    let error = ConfigError::value(key, value, kind).at(origin.clone());
    error.suggesting(kind.words().iter().copied())
}

/// `value` as `kind` wants it (whole numbers are numbers, too), or `None`.
fn coerce(value: Value, kind: &Kind) -> Option<Value> {
    match (kind, value) {
        (Kind::Boolean, Value::Boolean(x)) => Some(Value::Boolean(x)),
        (Kind::Natural, Value::Integer(x)) if x >= 0 => Some(Value::Integer(x)),
        (Kind::Integer, Value::Integer(x)) => Some(Value::Integer(x)),
        (Kind::Real, Value::Float(x)) => Some(Value::Float(x)),
        (Kind::Real, Value::Integer(x)) => Some(Value::Float(x as f64)),
        (Kind::Text, Value::String(x)) => Some(Value::String(x)),
        (Kind::Choice(words), Value::String(x)) => {
            words.contains(&x.as_str()).then_some(Value::String(x))
        }
        (Kind::Scalar, x @ (Value::String(_) | Value::Integer(_) | Value::Float(_))) => Some(x),
        (Kind::List(of, length), Value::Array(items)) => {
            if length.is_some_and(|length| length != items.len()) {
                return None;
            }
            let items: Option<Vec<Value>> =
                items.into_iter().map(|item| coerce(item, of)).collect();
            items.map(Value::Array)
        }
        (Kind::OneOrMore(of), Value::Array(items)) => {
            let items: Option<Vec<Value>> =
                items.into_iter().map(|item| coerce(item, of)).collect();
            items.map(Value::Array)
        }
        (Kind::OneOrMore(of), one) => coerce(one, of),
        _ => None,
    }
}

/// Parses what was typed as TOML; bare words are text where text is wanted. (Shells remove the
/// quotes of `["a","b"]`.)
fn parse_value(raw: &str, kind: &Kind) -> Option<Value> {
    let parsed = toml::from_str::<Table>(&format!("x = {raw}"))
        .ok()
        .filter(|table| table.len() == 1)
        .and_then(|mut table| table.remove("x"));
    match (kind, parsed) {
        (Kind::Text | Kind::Choice(_), Some(Value::String(text))) => Some(Value::String(text)),
        (Kind::Text | Kind::Choice(_), _) => Some(Value::String(raw.to_owned())),
        (Kind::OneOrMore(of), None) => {
            let inside = raw.strip_prefix('[').and_then(|raw| raw.strip_suffix(']'));
            match inside {
                Some(items) => {
                    let items = items.split(',').map(|item| parse_value(item.trim(), of));
                    items.collect::<Option<Vec<Value>>>().map(Value::Array)
                }
                None => parse_value(raw, of),
            }
        }
        (_, parsed) => parsed,
    }
}
