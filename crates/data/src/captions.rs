//! Texts that belong to examples: from a `pairs.csv`, from the data themselves, or made of the names
//! of their classes.

use crate::{DataError, Dataset, Splits, Subset, files};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Name of the list of pairs in a folder of data.
pub const PAIRS: &str = "pairs.csv";

/// What captions say where they are made of the name of a class, which stands for `{}`.
pub const TEMPLATES: [&str; 4] = ["{}", "this is {}", "an example of {}", "here is {}"];

/// A template with the name of a class in it; underscores become spaces.
pub fn fill(template: &str, class: &str) -> String {
    template.replace("{}", &class.replace('_', " "))
}

impl Splits {
    /// The same data with a text for every example.
    ///
    /// With a `pairs.csv` in the folder `path` the examples are those of the files it lists, with
    /// their texts. Without one, data that have no texts of their own get them from the names of
    /// their classes.
    ///
    /// # Errors
    /// When the list is damaged or lists none of the files, and when there is nothing to make texts
    /// of.
    pub fn captioned(mut self, path: Option<&Path>) -> Result<Self, DataError> {
        if let Some(list) = path.and_then(list_at) {
            let pairs = read(&list)?;
            self.train = with_texts(&list, &self.train, &pairs)?;
            self.test = with_texts(&list, &self.test, &pairs)?;
            self.description += &format!("; texts of {}", list.display());
            return Ok(self);
        }
        if self.train.caption(0).is_some() {
            return Ok(self);
        }
        if self.class_names.is_empty() {
            let why = format!(
                "the examples have no texts ({}): give a {PAIRS} with the columns file,text beside \
                 them, or classes, whose names then serve as texts",
                self.description
            );
            return Err(DataError::unusable(path.unwrap_or(Path::new("data")), why));
        }
        self.train = labelled(&self.train, &self.class_names);
        self.test = labelled(&self.test, &self.class_names);
        self.description += "; texts made of class names";
        Ok(self)
    }
}

/// The list of pairs in a folder, or beside a file.
fn list_at(path: &Path) -> Option<PathBuf> {
    let folder = if path.is_dir() {
        Some(path)
    } else {
        path.parent()
    };
    folder
        .map(|folder| folder.join(PAIRS))
        .filter(|list| list.is_file())
}

/// The text of every file that a list names, by the file's full path.
fn read(list: &Path) -> Result<HashMap<PathBuf, String>, DataError> {
    let text = files::read_text(list)?;
    let damaged = |error: csv::Error| {
        let line = error.position().map_or(1, csv::Position::line);
        DataError::format(
            list,
            format!("line {line}"),
            "a row of the table",
            error.to_string(),
        )
    };
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_reader(text.as_bytes());
    let header = reader.headers().map_err(damaged)?.clone();
    let column = |name: &str| header.iter().position(|h| h.eq_ignore_ascii_case(name));
    let (Some(file), Some(caption)) = (column("file"), column("text")) else {
        let names: Vec<_> = header.iter().collect();
        let found = format!("the columns {}", names.join(", "));
        return Err(DataError::format(
            list,
            "line 1",
            "the columns file,text",
            found,
        ));
    };
    let folder = list.parent().unwrap_or(Path::new(""));
    let mut pairs = HashMap::new();
    for row in reader.records() {
        let row = row.map_err(damaged)?;
        let place = || format!("line {}", row.position().map_or(0, csv::Position::line));
        let cell = |column: usize| row.get(column).filter(|text| !text.is_empty());
        let (Some(file), Some(text)) = (cell(file), cell(caption)) else {
            let (expected, found) = ("a file and its text", "an empty field");
            return Err(DataError::format(list, place(), expected, found));
        };
        let path = folder.join(file);
        if !path.is_file() {
            let found = format!("{}, which is no file", path.display());
            return Err(DataError::format(
                list,
                place(),
                "the path of a file",
                found,
            ));
        }
        pairs.insert(full(&path), text.to_owned());
    }
    Ok(pairs)
}

/// One spelling for every path.
fn full(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_path_buf())
}

/// The examples whose files are listed, with their texts.
fn with_texts(
    list: &Path,
    dataset: &Arc<dyn Dataset>,
    pairs: &HashMap<PathBuf, String>,
) -> Result<Arc<dyn Dataset>, DataError> {
    let text = |index: usize| {
        let file = dataset.file(index)?;
        Some((index, pairs.get(&full(&file))?.clone()))
    };
    let (indices, texts): (Vec<usize>, Vec<String>) = (0..dataset.len()).filter_map(text).unzip();
    if indices.is_empty() {
        let why = format!(
            "names none of the {} files like {} (each example must be a file of its own on the disk)",
            dataset.len(),
            dataset.origin(0)
        );
        return Err(DataError::unusable(list, why));
    }
    Ok(Arc::new(
        Subset::new(Arc::clone(dataset), indices).with_captions(texts),
    ))
}

/// The same examples with texts made of their classes; what has no class has an empty text.
fn labelled(dataset: &Arc<dyn Dataset>, names: &[String]) -> Arc<dyn Dataset> {
    let text = |index: usize| {
        let class = dataset
            .label(index)
            .and_then(|class| names.get(class as usize));
        let template = TEMPLATES[index % TEMPLATES.len()];
        class.map(|class| fill(template, class)).unwrap_or_default()
    };
    let texts = (0..dataset.len()).map(text).collect();
    let all = (0..dataset.len()).collect();
    Arc::new(Subset::new(Arc::clone(dataset), all).with_captions(texts))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Batch, DataConfig, Draw, modality};
    use std::fmt::Write;
    use std::fs;
    use tempfile::TempDir;

    fn open(modality: &str, path: Option<&Path>) -> Splits {
        let mut config = DataConfig {
            embedded_train: 40,
            embedded_test: 16,
            validation_fraction: 0.25,
            ..DataConfig::default()
        };
        config.image.size = 8;
        config.sensor.window = Some(64);
        config.sensor.n_fft = 16;
        let modality = modality::by_name(modality).unwrap();
        modality.open(path, &config, 0).unwrap()
    }

    fn captions(set: &Arc<dyn Dataset>) -> Vec<String> {
        let indices: Vec<usize> = (0..set.len()).collect();
        let batch = Batch::of(&**set, &indices, Draw::FIXED).unwrap();
        batch.captions.clone()
    }

    /// Pictures `0.png` to `11.png`, and a list of texts of all but the last two.
    fn pictures() -> TempDir {
        let folder = TempDir::new().unwrap();
        let mut list = "text,file\n".to_owned();
        for i in 0..12u8 {
            let name = format!("{i}.png");
            let picture = image::RgbImage::from_pixel(8, 8, image::Rgb([20 * i, 0, 0]));
            picture.save(folder.path().join(&name)).unwrap();
            if i < 10 {
                writeln!(list, "\"red, {}\",{name}", 20 * i).unwrap();
            }
        }
        fs::write(folder.path().join(PAIRS), list).unwrap();
        folder
    }

    #[test]
    fn a_list_of_pairs_gives_pictures_their_texts() {
        let folder = pictures();
        let splits = open("image", Some(folder.path()));
        let splits = splits.captioned(Some(folder.path())).unwrap();
        assert_eq!(splits.train.len() + splits.test.len(), 10);
        for set in [&splits.train, &splits.test] {
            let mut picture = vec![0.0; 3 * 64];
            for (index, text) in captions(set).iter().enumerate() {
                set.load(index, Draw::FIXED, &mut picture).unwrap();
                assert_eq!(*text, format!("red, {}", (picture[0] * 255.0).round()));
            }
        }
        assert!(splits.description.contains("texts of"));
    }

    #[test]
    fn a_list_of_pairs_gives_recordings_of_sensors_their_texts() {
        let folder = TempDir::new().unwrap();
        let mut list = "file,text\n".to_owned();
        for person in 0..4 {
            let rows = (0..300).map(|t| format!("{},{}\n", (t * (person + 1)) % 17, t % 5));
            let table = "x,y\n".to_owned() + &rows.collect::<String>();
            fs::write(folder.path().join(format!("p{person}.csv")), table).unwrap();
            writeln!(list, "p{person}.csv,person {person} walks").unwrap();
        }
        fs::write(folder.path().join(PAIRS), list).unwrap();
        let splits = open("sensor", Some(folder.path()));
        let splits = splits.captioned(Some(folder.path())).unwrap();
        for set in [&splits.train, &splits.test] {
            assert!(!set.is_empty());
            for (index, text) in captions(set).iter().enumerate() {
                let person = text
                    .strip_prefix("person ")
                    .unwrap()
                    .chars()
                    .next()
                    .unwrap();
                assert!(
                    set.origin(index).contains(&format!("p{person}.csv")),
                    "{text}"
                );
            }
        }
    }

    #[test]
    fn embedded_data_have_texts_that_name_their_class() {
        for modality in ["image", "speech", "sensor"] {
            let splits = open(modality, None).captioned(None).unwrap();
            for set in [&splits.train, &splits.test] {
                let texts = captions(set);
                assert_eq!(texts.len(), set.len());
                for (index, text) in texts.iter().enumerate() {
                    let class = set.label(index).unwrap() as usize;
                    let name = splits.class_names[class].replace('_', " ");
                    assert!(text.contains(&name), "{modality}: {text:?} {name}");
                }
            }
        }
    }

    #[test]
    fn mistakes_are_named() {
        let folder = pictures();
        let path = folder.path();
        let message = |list: &str| {
            fs::write(path.join(PAIRS), list).unwrap();
            let splits = open("image", Some(path)).captioned(Some(path));
            splits.err().unwrap().to_string()
        };
        for (list, want) in [
            (
                "path,text\n0.png,a\n",
                "pairs.csv: line 1: expected the columns file,text",
            ),
            (
                "file,text\n0.png,a\n99.png,b\n",
                "line 3: expected the path of a file",
            ),
            (
                "file,text\n0.png,\n",
                "line 2: expected a file and its text",
            ),
            ("file,text\n0.png\n", "line 2: expected a row of the table"),
            ("file,text\npairs.csv,a\n", "names none of the"),
        ] {
            let message = message(list);
            assert!(message.contains(want), "{message}");
        }
        fs::remove_file(path.join(PAIRS)).unwrap();
        let splits = open("image", Some(path)).captioned(Some(path));
        let message = splits.err().unwrap().to_string();
        assert!(message.contains("give a pairs.csv"), "{message}");
    }
}
