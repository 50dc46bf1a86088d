//! Files that are there whole or not at all.

use super::RunError;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

/// Writes a file beside its place, brings it to the disk and renames it: a reader (or a later
/// process, after a kill) sees the old content or the new, never a part.
///
/// # Errors
/// When the folder cannot be written.
pub fn write_atomically(path: &Path, content: &[u8]) -> Result<(), RunError> {
    let folder = parent(path);
    let mut file = temporary(folder).map_err(RunError::io(path, "write"))?;
    file.write_all(content)
        .and_then(|()| file.as_file().sync_all())
        .map_err(RunError::io(path, "write"))?;
    file.persist(path)
        .map_err(|error| RunError::io(path, "rename a temporary file to")(error.error))?;
    sync_folder(folder)
}

/// A file with a free name in `folder`. Temporary files are private to their owner by default;
/// results are as public as any new file, which is what the user's umask says.
fn temporary(folder: &Path) -> std::io::Result<tempfile::NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(folder)
}

/// Writes a file and brings it to the disk; for files inside a folder that is renamed later.
pub(super) fn write_synced(path: &Path, content: &[u8]) -> Result<(), RunError> {
    let mut file = File::create(path).map_err(RunError::io(path, "create"))?;
    file.write_all(content)
        .and_then(|()| file.sync_all())
        .map_err(RunError::io(path, "write"))
}

/// Brings the names in a folder to the disk.
pub(super) fn sync_folder(folder: &Path) -> Result<(), RunError> {
    // Windows cannot open folders, and has no need to.
    if cfg!(unix) {
        File::open(folder)
            .and_then(|file| file.sync_all())
            .map_err(RunError::io(folder, "write"))?;
    }
    Ok(())
}

/// Removes a folder and all in it; fine when it does not exist.
pub(super) fn remove_folder(path: &Path) -> Result<(), RunError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(RunError::io(path, "remove")(error))
        }
        _ => Ok(()),
    }
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_content_and_leaves_nothing_beside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        write_atomically(&path, b"one").unwrap();
        write_atomically(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_missing_folder_is_an_error_that_names_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nowhere").join("a.txt");
        let message = write_atomically(&path, b"x").unwrap_err().to_string();
        assert!(message.contains("a.txt: cannot write"), "{message}");
    }
}
