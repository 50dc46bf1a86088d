//! Compiled kernels on disk. Anything that goes wrong here only costs a compilation.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

const MAGIC: &[u8; 8] = b"vmkernel";

/// 128-bit FNV-1a over several byte strings and the borders between them.
pub(crate) fn hash(parts: &[&[u8]]) -> u128 {
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013B;
    let mut state: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    for part in parts {
        for byte in (part.len() as u64).to_le_bytes().iter().chain(*part) {
            state = (state ^ u128::from(*byte)).wrapping_mul(PRIME);
        }
    }
    state
}

/// `$XDG_CACHE_HOME/viewmaker/kernels` or `~/.cache/viewmaker/kernels`, if either is known.
pub(crate) fn folder() -> Option<PathBuf> {
    let absolute = |name| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|p| p.is_absolute())
    };
    let base = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
    Some(base.join("viewmaker").join("kernels"))
}

/// What was stored under `key`, if it is whole.
pub(crate) fn read(folder: &Path, key: u128) -> Option<Vec<u8>> {
    let bytes = std::fs::read(file(folder, key)).ok()?;
    let rest = bytes.strip_prefix(MAGIC)?;
    let (sum, content) = rest.split_at_checked(16)?;
    (sum == hash(&[content]).to_le_bytes()).then(|| content.to_vec())
}

/// Whether there is something under `key`, whole or not.
pub(crate) fn holds(folder: &Path, key: u128) -> bool {
    file(folder, key).is_file()
}

/// Stores `content` under `key`: written beside its place and renamed, so that readers see all of it
/// or nothing.
pub(crate) fn write(folder: &Path, key: u128, content: &[u8]) -> std::io::Result<()> {
    // Threads of this process may be writing the same entry, each for a device of its own.
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    std::fs::create_dir_all(folder)?;
    let place = file(folder, key);
    let temporary = place.with_extension(format!("{}-{number}.part", std::process::id()));
    let bytes = [MAGIC, &hash(&[content]).to_le_bytes()[..], content].concat();
    let written =
        std::fs::write(&temporary, bytes).and_then(|()| std::fs::rename(&temporary, &place));
    if written.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    written
}

fn file(folder: &Path, key: u128) -> PathBuf {
    folder.join(format!("{key:032x}.bin"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_entry_is_no_entry() {
        let folder = tempfile::tempdir().unwrap();
        let (key, content) = (hash(&[b"source", b"options"]), b"compiled kernel");
        assert_eq!(read(folder.path(), key), None);
        assert!(!holds(folder.path(), key));
        write(folder.path(), key, content).unwrap();
        assert!(holds(folder.path(), key));
        assert_eq!(read(folder.path(), key).as_deref(), Some(&content[..]));
        let path = file(folder.path(), key);
        let mut bytes = std::fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(read(folder.path(), key), None);
        std::fs::write(&path, &bytes[..10]).unwrap();
        assert_eq!(read(folder.path(), key), None);
        write(folder.path(), key, content).unwrap();
        assert!(read(folder.path(), key).is_some());
    }

    #[test]
    fn threads_may_write_the_same_entry() {
        let folder = tempfile::tempdir().unwrap();
        let content = vec![7; 100_000];
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..25).for_each(|_| write(folder.path(), 5, &content).unwrap()));
            }
        });
        assert_eq!(read(folder.path(), 5), Some(content));
        let left = std::fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(left, 1, "temporary files");
    }

    #[test]
    fn an_unwritable_folder_is_an_error_not_a_panic() {
        let folder = tempfile::tempdir().unwrap();
        let blocked = folder.path().join("file");
        std::fs::write(&blocked, b"").unwrap();
        assert!(write(&blocked, 1, b"x").is_err());
        assert_eq!(read(&blocked, 1), None);
    }

    #[test]
    fn borders_between_parts_count() {
        assert_ne!(hash(&[b"ab", b"c"]), hash(&[b"a", b"bc"]));
    }
}
