//! Reading files, folders and archives, with errors that name the path.

use crate::DataError;
use flate2::read::MultiGzDecoder;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// Opens a file for buffered reading.
///
/// # Errors
/// When it cannot be opened.
pub fn open(path: &Path) -> Result<BufReader<File>, DataError> {
    let file = File::open(path).map_err(|e| DataError::io(path, "open", e))?;
    Ok(BufReader::with_capacity(1 << 16, file))
}

/// The bytes of a file.
///
/// # Errors
/// When it cannot be read.
pub fn read(path: &Path) -> Result<Vec<u8>, DataError> {
    std::fs::read(path).map_err(|e| DataError::io(path, "read", e))
}

/// The text of a file.
///
/// # Errors
/// When it cannot be read or is not UTF-8.
pub fn read_text(path: &Path) -> Result<String, DataError> {
    String::from_utf8(read(path)?).map_err(|e| {
        let at = e.utf8_error().valid_up_to();
        DataError::format(path, format!("byte {at}"), "UTF-8 text", "other bytes")
    })
}

/// The bytes of a file, unpacked if it is gzip (told by its first two bytes, not by its name).
///
/// # Errors
/// When it cannot be read or the gzip data are damaged.
pub fn read_unpacked(path: &Path) -> Result<Vec<u8>, DataError> {
    let mut bytes = Vec::new();
    unpacked(path)?
        .read_to_end(&mut bytes)
        .map_err(|e| DataError::io(path, "unpack", e))?;
    Ok(bytes)
}

/// A reader of the content of a file, unpacked if it is gzip.
///
/// # Errors
/// When the file cannot be opened or its beginning cannot be read.
pub fn unpacked(path: &Path) -> Result<Box<dyn Read>, DataError> {
    let mut reader = open(path)?;
    let start = reader
        .fill_buf()
        .map_err(|e| DataError::io(path, "read", e))?;
    if start.starts_with(&[0x1f, 0x8b]) {
        Ok(Box::new(MultiGzDecoder::new(reader)))
    } else {
        Ok(Box::new(reader))
    }
}

/// What a folder holds, sorted by name, hidden entries left out.
///
/// # Errors
/// When it cannot be listed.
pub fn list(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let io = |e| DataError::io(folder, "list", e);
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(io)? {
        let path = entry.map_err(io)?.path();
        if !is_hidden(&path) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// Every file below a folder, sorted by path, hidden entries left out. Links to files count as
/// files; links to folders are not followed, so that a loop of links ends.
///
/// # Errors
/// When a folder cannot be listed.
pub fn walk(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let mut files = Vec::new();
    let mut open = vec![folder.to_path_buf()];
    while let Some(folder) = open.pop() {
        for path in list(&folder)? {
            if path.is_file() {
                files.push(path);
            } else if !path.is_symlink() {
                open.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

/// True for `.name` and for the `._name` files that macOS puts into archives.
pub fn is_hidden(path: &Path) -> bool {
    name_of(path).starts_with('.')
}

/// The last part of a path as text; empty where there is none.
pub fn name_of(path: &Path) -> String {
    path.file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

/// True if the name ends in `.extension`, upper or lower case.
pub fn has_extension(path: &Path, extensions: &[&str]) -> bool {
    let name = name_of(path).to_ascii_lowercase();
    extensions.iter().any(|extension| {
        name.strip_suffix(extension)
            .is_some_and(|stem| stem.ends_with('.'))
    })
}

/// True for the names of tar archives: `.tar`, `.tar.gz`, `.tgz`.
pub fn is_tar(path: &Path) -> bool {
    has_extension(path, &["tar", "tar.gz", "tgz"])
}

/// Calls `visit` with the path and the bytes of every file in a tar archive (gzip or not), in the
/// archive's order, hidden files left out. `wanted` chooses by path, so that the rest is skipped
/// without being stored.
///
/// # Errors
/// When the archive is damaged or cut off, or as `visit` decides.
pub fn each_in_tar(
    path: &Path,
    wanted: impl Fn(&Path) -> bool,
    mut visit: impl FnMut(&Path, Vec<u8>) -> Result<(), DataError>,
) -> Result<(), DataError> {
    let damaged = |e| DataError::io(path, "read the archive", e);
    let mut archive = tar::Archive::new(unpacked(path)?);
    let entries = archive.entries().map_err(damaged)?;
    for entry in entries {
        let mut entry = entry.map_err(damaged)?;
        let name = entry.path().map_err(damaged)?.into_owned();
        if !entry.header().entry_type().is_file() || is_hidden(&name) || !wanted(&name) {
            continue;
        }
        let promised = entry.size();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).map_err(damaged)?;
        if bytes.len() as u64 != promised {
            return Err(DataError::format(
                path,
                format!("entry {}", name.display()),
                format!("{promised} bytes"),
                format!("{} bytes, then the end of the archive", bytes.len()),
            ));
        }
        visit(&name, bytes)?;
    }
    Ok(())
}

/// One line on what a path holds, for messages: `2 folders (a, b); 3 files (2 .csv, 1 .txt)`.
pub fn describe(path: &Path) -> String {
    if path.is_file() {
        return format!("a file ({})", kind_of(path));
    }
    let Ok(entries) = list(path) else {
        return "nothing readable".to_owned();
    };
    let (folders, files): (Vec<_>, Vec<_>) = entries.iter().partition(|p| p.is_dir());
    if folders.is_empty() && files.is_empty() {
        return "nothing".to_owned();
    }
    let mut parts = Vec::new();
    if !folders.is_empty() {
        let names: Vec<_> = folders.iter().map(|p| name_of(p)).collect();
        parts.push(format!(
            "{} ({})",
            plural(names.len(), "folder"),
            first_few(&names)
        ));
    }
    if !files.is_empty() {
        let kinds = count_kinds(files.iter().map(|file| file.as_path()));
        parts.push(format!(
            "{} ({})",
            plural(files.len(), "file"),
            first_few(&kinds)
        ));
    }
    parts.join("; ")
}

/// What a log should say about those of `found` that are of one of `kinds`, which nobody reads: nothing, or
/// `; left out: 2 .gif, 1 .webp (only PNG and JPEG are read)`, where `read` is `PNG and JPEG`.
pub(crate) fn left_out(found: &[PathBuf], kinds: &[&str], read: &str) -> String {
    let unread = found.iter().filter(|file| has_extension(file, kinds));
    let counts = count_kinds(unread.map(|file| file.as_path()));
    match counts.is_empty() {
        true => String::new(),
        false => format!("; left out: {} (only {read} are read)", counts.join(", ")),
    }
}

/// `1 .csv`, `2 .txt`: how many files there are of each kind.
fn count_kinds<'a>(files: impl Iterator<Item = &'a Path>) -> Vec<String> {
    let mut kinds = BTreeMap::<String, usize>::new();
    for file in files {
        *kinds.entry(kind_of(file)).or_default() += 1;
    }
    kinds
        .iter()
        .map(|(kind, n)| format!("{n} {kind}"))
        .collect()
}

/// `unlabelled`, `1 class`, `2 classes`.
pub(crate) fn classes(count: usize) -> String {
    match count {
        0 => "unlabelled".to_owned(),
        1 => "1 class".to_owned(),
        n => format!("{n} classes"),
    }
}

/// `1 file`, `2 files`.
pub(crate) fn plural(count: usize, noun: &str) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{s}")
}

fn kind_of(file: &Path) -> String {
    match file.extension() {
        Some(extension) => format!(".{}", extension.to_string_lossy()),
        None => "without extension".to_owned(),
    }
}

fn first_few(names: &[String]) -> String {
    const SHOWN: usize = 6;
    let shown = names[..names.len().min(SHOWN)].join(", ");
    if names.len() > SHOWN {
        format!("{shown}, …")
    } else {
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn lists_without_hidden_entries_and_in_order() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("sub")).unwrap();
        for name in ["b.txt", "a.csv", ".hidden", "sub/c.txt", "sub/._c.txt"] {
            std::fs::write(folder.path().join(name), "x").unwrap();
        }
        let names: Vec<_> = walk(folder.path())
            .unwrap()
            .iter()
            .map(|p| name_of(p))
            .collect();
        assert_eq!(names, ["a.csv", "b.txt", "c.txt"]);
        assert_eq!(
            describe(folder.path()),
            "1 folder (sub); 2 files (1 .csv, 1 .txt)"
        );
        assert_eq!(describe(&folder.path().join("none")), "nothing readable");
        assert_eq!(describe(&folder.path().join("a.csv")), "a file (.csv)");
        let found = walk(folder.path()).unwrap();
        assert_eq!(left_out(&found, &["gif"], "PNG and JPEG"), "");
        assert_eq!(
            left_out(&found, &["txt", "csv"], "PNG and JPEG"),
            "; left out: 1 .csv, 2 .txt (only PNG and JPEG are read)"
        );
    }

    #[test]
    fn extensions_ignore_case_and_need_their_dot() {
        assert!(has_extension(Path::new("a/B.JPG"), &["png", "jpg"]));
        assert!(!has_extension(Path::new("a/jpg"), &["jpg"]));
        assert!(is_tar(Path::new("x.tar.gz")) && is_tar(Path::new("x.TGZ")));
        assert!(!is_tar(Path::new("x.gz")));
    }

    #[test]
    fn gzip_is_told_by_content_and_damage_is_reported() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Default::default());
        encoder.write_all(b"hello").unwrap();
        let packed = encoder.finish().unwrap();
        std::fs::write(&path, &packed).unwrap();
        assert_eq!(read_unpacked(&path).unwrap(), b"hello");
        std::fs::write(&path, &packed[..packed.len() - 6]).unwrap();
        let message = read_unpacked(&path).unwrap_err().to_string();
        assert!(message.contains("cannot unpack"), "{message}");
        std::fs::write(&path, b"").unwrap();
        assert_eq!(read_unpacked(&path).unwrap(), b"");
    }

    #[test]
    fn archives_are_walked_and_cuts_are_reported() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.tar");
        let mut builder = tar::Builder::new(Vec::new());
        for (name, size) in [("x/1.bin", 3), ("x/2.txt", 5), ("x/3.bin", 2000)] {
            let mut header = tar::Header::new_gnu();
            header.set_size(size as u64);
            header.set_mode(0o644);
            header.set_cksum();
            builder
                .append_data(&mut header, name, &vec![7u8; size][..])
                .unwrap();
        }
        let bytes = builder.into_inner().unwrap();
        let visit = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            let mut seen = Vec::new();
            each_in_tar(
                &path,
                |p| has_extension(p, &["bin"]),
                |name, bytes| {
                    seen.push((name_of(name), bytes.len()));
                    Ok(())
                },
            )
            .map(|()| seen)
        };
        let seen = visit(&bytes).unwrap();
        assert_eq!(seen, [("1.bin".to_owned(), 3), ("3.bin".to_owned(), 2000)]);
        let message = visit(&bytes[..3500]).unwrap_err().to_string();
        assert!(
            message.contains("x/3.bin") || message.contains("archive"),
            "{message}"
        );
    }
}
