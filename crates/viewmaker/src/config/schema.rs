//! Which keys a configuration has, and what each accepts: read off the `Deserialize`
//! implementations themselves, so that it can never disagree with them.

use serde::de::value::{MapDeserializer, StrDeserializer, U32Deserializer};
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess,
    Visitor,
};
use std::cell::RefCell;
use std::fmt;

/// What a key accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`.
    Boolean,
    /// A whole number from 0.
    Natural,
    /// A whole number.
    Integer,
    /// A number.
    Real,
    /// Text.
    Text,
    /// One of a few words.
    Choice(Vec<&'static str>),
    /// Text or a number.
    Scalar,
    /// A list of such values, of this length where it is fixed.
    List(Box<Kind>, Option<usize>),
    /// Such a value, or a list of them.
    OneOrMore(Box<Kind>),
}

impl Kind {
    /// A list that may be written as its only element.
    pub(super) fn or_one(self) -> Self {
        match self {
            Self::List(of, None) => Self::OneOrMore(of),
            other => other,
        }
    }

    /// The words among which is to be chosen, if there are some.
    pub(super) fn words(&self) -> &[&'static str] {
        match self {
            Self::Choice(words) => words,
            Self::OneOrMore(of) => of.words(),
            _ => &[],
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean => f.write_str("true or false"),
            Self::Natural => f.write_str("a whole number, 0 or more"),
            Self::Integer => f.write_str("a whole number"),
            Self::Real => f.write_str("a number"),
            Self::Text => f.write_str("text in quotes"),
            Self::Scalar => f.write_str("text in quotes or a number"),
            Self::Choice(words) => write!(f, "one of {}", words.join(", ")),
            Self::List(of, None) => write!(f, "a list in brackets, each {of}"),
            Self::OneOrMore(of) => write!(f, "{of}, or a list of them in brackets"),
            Self::List(of, Some(n)) => write!(f, "a list of {n} in brackets, each {of}"),
        }
    }
}

/// One key of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Dotted path, for example `train.batch_size`.
    pub path: String,
    /// What it accepts.
    pub kind: Kind,
    /// True when it may be absent, meaning "off".
    pub optional: bool,
}

/// All keys of a configuration, in the order of their declaration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schema {
    keys: Vec<Key>,
}

impl Schema {
    /// The keys of `T`, each with `prefix` (empty, or ending in a dot) before its path.
    ///
    /// Understands structs, options, lists, arrays, numbers, text and enums of plain words.
    pub fn of<T: DeserializeOwned>(prefix: &str) -> Self {
        let keys = RefCell::new(Vec::new());
        let probe = Probe {
            keys: &keys,
            path: prefix.trim_end_matches('.').to_owned(),
            optional: false,
        };
        // The value is of no interest, and neither is a complaint about the made-up content.
        let _ = T::deserialize(probe);
        Self {
            keys: keys.into_inner(),
        }
    }

    /// Adds the keys of another schema.
    pub fn extend(&mut self, other: Self) {
        self.keys.extend(other.keys);
    }

    /// Adds one key.
    pub fn push(&mut self, key: Key) {
        self.keys.push(key);
    }

    /// Every key.
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// The key at `path`.
    pub fn find(&self, path: &str) -> Option<&Key> {
        self.keys.iter().find(|key| key.path == path)
    }

    /// True when keys lie below `path`.
    pub fn is_section(&self, path: &str) -> bool {
        let below = |key: &Key| {
            key.path
                .strip_prefix(path)
                .is_some_and(|rest| rest.starts_with('.'))
        };
        self.keys.iter().any(below)
    }
}

/// A deserializer that answers every question with made-up content and writes down the question.
struct Probe<'a> {
    keys: &'a RefCell<Vec<Key>>,
    path: String,
    optional: bool,
}

/// The error type of [`Probe`].
type ProbeError = de::value::Error;

impl Probe<'_> {
    fn record(&self, kind: Kind) {
        self.keys.borrow_mut().push(Key {
            path: self.path.clone(),
            kind,
            optional: self.optional,
        });
    }

    /// Probes `items` elements of a list, and records a list of what the first one accepts.
    fn list<'de, V: Visitor<'de>>(
        &self,
        visitor: V,
        items: usize,
        length: Option<usize>,
    ) -> Result<V::Value, ProbeError> {
        let inner = RefCell::new(Vec::new());
        let value = visitor.visit_seq(Items {
            keys: &inner,
            left: items,
        })?;
        if let Some(first) = inner.into_inner().into_iter().next() {
            self.record(Kind::List(Box::new(first.kind), length));
        }
        Ok(value)
    }
}

macro_rules! answer {
    ($kind:expr, $visit:ident($value:expr): $($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ProbeError> {
            self.record($kind);
            visitor.$visit($value)
        }
    )*};
}

impl<'de> Deserializer<'de> for Probe<'_> {
    type Error = ProbeError;

    answer!(Kind::Boolean, visit_bool(false): deserialize_bool);
    answer!(Kind::Natural, visit_u64(1):
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64);
    answer!(Kind::Integer, visit_i64(1):
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64);
    answer!(Kind::Real, visit_f64(1.0): deserialize_f32 deserialize_f64);
    answer!(Kind::Text, visit_string(String::new()):
        deserialize_char deserialize_str deserialize_string);
    answer!(Kind::Scalar, visit_string(String::new()): deserialize_any);

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ProbeError> {
        visitor.visit_some(Probe {
            optional: true,
            ..self
        })
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ProbeError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ProbeError> {
        self.list(visitor, 1, None)
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, ProbeError> {
        self.list(visitor, len, Some(len))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ProbeError> {
        visitor.visit_map(Fields {
            probe: self,
            left: fields,
        })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ProbeError> {
        self.record(Kind::Choice(variants.to_vec()));
        let first: StrDeserializer<'_, ProbeError> =
            variants.first().copied().unwrap_or("").into_deserializer();
        visitor.visit_enum(first)
    }

    /// What cannot be looked into (a struct with flattened parts) is answered with nothing.
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ProbeError> {
        let nothing = std::iter::empty::<(U32Deserializer<ProbeError>, U32Deserializer<_>)>();
        visitor.visit_map(MapDeserializer::new(nothing))
    }

    serde::forward_to_deserialize_any! {
        bytes byte_buf unit unit_struct tuple_struct identifier ignored_any
    }
}

/// The fields of a struct, one after the other.
struct Fields<'a> {
    probe: Probe<'a>,
    left: &'static [&'static str],
}

impl<'de> MapAccess<'de> for Fields<'_> {
    type Error = ProbeError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, ProbeError> {
        let Some(first) = self.left.first() else {
            return Ok(None);
        };
        let name: StrDeserializer<'_, ProbeError> = (*first).into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(
        &mut self,
        seed: V,
    ) -> Result<V::Value, ProbeError> {
        let Some((first, rest)) = self.left.split_first() else {
            return Err(de::Error::custom("value without a key"));
        };
        self.left = rest;
        let path = match self.probe.path.as_str() {
            "" => (*first).to_owned(),
            path => format!("{path}.{first}"),
        };
        seed.deserialize(Probe {
            keys: self.probe.keys,
            path,
            optional: false,
        })
    }
}

/// The elements of a list.
struct Items<'a> {
    keys: &'a RefCell<Vec<Key>>,
    left: usize,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = ProbeError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, ProbeError> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let probe = Probe {
            keys: self.keys,
            path: String::new(),
            optional: false,
        };
        seed.deserialize(probe).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Deserialize)]
    #[serde(rename_all = "snake_case")]
    #[allow(dead_code)]
    enum Colour {
        DarkRed,
        Green,
    }

    #[derive(Deserialize)]
    #[allow(dead_code)]
    struct Inner {
        rate: f32,
        limit: Option<usize>,
        sizes: [usize; 3],
        names: Vec<String>,
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Outer {
        on: bool,
        colour: Colour,
        inner: Inner,
        path: std::path::PathBuf,
    }

    #[test]
    fn reads_keys_off_the_types() {
        let schema = Schema::of::<Outer>("x.");
        let shown: Vec<String> = schema
            .keys()
            .iter()
            .map(|key| {
                format!(
                    "{}: {}{}",
                    key.path,
                    key.kind,
                    if key.optional { "?" } else { "" }
                )
            })
            .collect();
        let expected = [
            "x.on: true or false",
            "x.colour: one of dark_red, green",
            "x.inner.rate: a number",
            "x.inner.limit: a whole number, 0 or more?",
            "x.inner.sizes: a list of 3 in brackets, each a whole number, 0 or more",
            "x.inner.names: a list in brackets, each text in quotes",
            "x.path: text in quotes",
        ];
        assert_eq!(shown, expected);
        assert!(schema.is_section("x.inner") && schema.is_section("x"));
        assert!(!schema.is_section("x.inn") && !schema.is_section("x.inner.rate"));
    }
}
