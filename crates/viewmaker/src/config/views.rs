//! The value of `views.source`: one word, or a list of words in the order in which they are done.

use serde::de::{IntoDeserializer, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use viewmaker_data::views::Stage;

/// What makes views, or a part of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ViewSource {
    /// The viewmaker, trained against the encoder.
    Learned,
    /// Hand-made augmentations of the modality.
    Expert,
    /// Random noise of the viewmaker's budget.
    Noise,
    /// Random parts of the picture or spectrogram, resized to the whole.
    Patch,
    /// Windows of one recording that lie close to each other.
    Temporal,
    /// The beginning or the end of a recording longer than the window, by a coin for each view (speech).
    Ends,
    /// Nothing: both views are the example itself.
    None,
}

impl ViewSource {
    /// The word in a configuration.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Learned => "learned",
            Self::Expert => "expert",
            Self::Noise => "noise",
            Self::Patch => "patch",
            Self::Temporal => "temporal",
            Self::Ends => "ends",
            Self::None => "none",
        }
    }

    /// What the loader does, if this is its work.
    const fn stage(self) -> Option<Stage> {
        match self {
            Self::Expert => Some(Stage::Expert),
            Self::Patch => Some(Stage::Patch),
            Self::Temporal => Some(Stage::Temporal),
            Self::Ends => Some(Stage::Ends),
            Self::Learned | Self::Noise | Self::None => None,
        }
    }
}

/// The network that makes views, or the last part of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ViewNetwork {
    /// The viewmaker.
    Learned,
    /// Random noise of the same budget.
    Noise,
}

/// What makes views, in the order in which it is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewSources(Vec<ViewSource>);

impl From<ViewSource> for ViewSources {
    fn from(source: ViewSource) -> Self {
        Self(vec![source])
    }
}

impl ViewSources {
    /// The words, in order.
    pub fn words(&self) -> &[ViewSource] {
        &self.0
    }

    /// What is done while examples are loaded.
    pub fn stages(&self) -> Vec<Stage> {
        self.0.iter().filter_map(|source| source.stage()).collect()
    }

    /// The network that works on what the loader made.
    pub fn network(&self) -> Option<ViewNetwork> {
        self.0.iter().find_map(|source| match source {
            ViewSource::Learned => Some(ViewNetwork::Learned),
            ViewSource::Noise => Some(ViewNetwork::Noise),
            _ => None,
        })
    }

    /// Checks that the words can stand together in this order, on any modality.
    ///
    /// # Errors
    /// A sentence about the first that cannot, and what would work.
    pub(super) fn check(&self) -> Result<(), String> {
        let has = |source| self.0.contains(&source);
        let Some(last) = self.0.last() else {
            return Err("the list is empty; write none for views that are the example".to_owned());
        };
        if has(ViewSource::None) && self.0.len() > 1 {
            return Err("none stands alone: leave it out, or everything else".to_owned());
        }
        if has(ViewSource::Learned) && has(ViewSource::Noise) {
            return Err("learned and noise spend the same budget: keep one of them".to_owned());
        }
        let twice = (1..self.0.len()).find(|&i| self.0[..i].contains(&self.0[i]));
        if let Some(i) = twice {
            let word = self.0[i].word();
            return Err(format!("{word} stands there twice: once is enough"));
        }
        match self.network() {
            Some(_) if last.stage().is_some() => {
                let is_network = |source: &&ViewSource| source.stage().is_none();
                let word = self.0.iter().find(is_network).map_or("", |s| s.word());
                Err(format!(
                    "{word} works on what the others made: write it last"
                ))
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for ViewSources {
    /// As in a configuration.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<String> = self.0.iter().map(|s| format!("\"{}\"", s.word())).collect();
        match &words[..] {
            [one] => f.write_str(one),
            several => write!(f, "[{}]", several.join(", ")),
        }
    }
}

impl Serialize for ViewSources {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0[..] {
            [one] => one.serialize(serializer),
            several => several.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for ViewSources {
    /// Asks for a list; formats that describe themselves offer a single word as well.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Words)
    }
}

struct Words;

impl<'de> Visitor<'de> for Words {
    type Value = ViewSources;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a word or a list of words")
    }

    fn visit_str<E: serde::de::Error>(self, word: &str) -> Result<ViewSources, E> {
        ViewSource::deserialize(word.into_deserializer()).map(ViewSources::from)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<ViewSources, A::Error> {
        let mut words = Vec::new();
        while let Some(word) = list.next_element()? {
            words.push(word);
        }
        Ok(ViewSources(words))
    }
}

#[cfg(test)]
mod tests {
    use super::ViewSource::*;
    use super::*;

    fn why(words: &[ViewSource]) -> String {
        ViewSources(words.to_vec()).check().unwrap_err()
    }

    #[test]
    fn combinations_that_work() {
        for words in [
            &[Learned][..],
            &[None],
            &[Expert, Learned],
            &[Temporal, Expert, Patch, Noise],
            &[Ends, Learned],
            &[Patch, Expert],
        ] {
            ViewSources(words.to_vec()).check().unwrap();
        }
        let sources = ViewSources(vec![Expert, Noise]);
        assert_eq!(sources.network(), Some(ViewNetwork::Noise));
        assert_eq!(sources.stages(), [Stage::Expert]);
        assert_eq!(sources.to_string(), "[\"expert\", \"noise\"]");
        assert_eq!(ViewSources::from(None).stages(), []);
        assert_eq!(ViewSources::from(None).network(), Option::None);
    }

    #[test]
    fn combinations_that_cannot_say_what_would() {
        assert!(why(&[]).contains("write none"));
        assert!(why(&[Expert, None]).contains("none stands alone"));
        assert!(why(&[Learned, Noise]).contains("keep one"));
        assert!(why(&[Expert, Patch, Expert]).contains("expert stands there twice"));
        assert!(why(&[Learned, Expert]).contains("learned works on what the others made"));
        assert!(why(&[Expert, Noise, Patch]).contains("noise works"));
        assert!(why(&[Learned, Learned]).contains("twice"));
    }
}
