//! PNG and JPEG files, in a folder per class, on the disk or in archives.

use super::ImageConfig;
use super::blob::Blob;
use super::decode::{self, Frame};
use super::layout::{self, Place};
use super::pictures::{MAX_MEMORY, Origins, Pictures};
use super::source::{Part, Parts};
use super::video;
use crate::dataset::evenly_spaced;
use crate::{DataError, files};
use rayon::prelude::*;
use std::path::{Path, PathBuf};

/// Files whose header tells whether the data are grey or coloured.
const LOOKED_AT: usize = 64;

/// Opens picture files below `root`.
pub(super) fn open(
    root: &Path,
    blobs: Vec<Blob>,
    config: &ImageConfig,
) -> Result<Parts, DataError> {
    let inside = |blob: &Blob| {
        let path = blob.path();
        path.strip_prefix(root).unwrap_or(path).to_path_buf()
    };
    let paths = blobs.iter().map(inside).collect();
    arrange(root, blobs, paths, config, "pictures")
}

/// Opens picture files taken out of `archives`, which together are one data set.
pub(super) fn open_entries(
    archives: &[PathBuf],
    blobs: Vec<Blob>,
    config: &ImageConfig,
) -> Result<Parts, DataError> {
    let inside = |blob: &Blob| {
        let path = blob.path();
        let entry = archives
            .iter()
            .find_map(|archive| path.strip_prefix(archive).ok());
        entry.unwrap_or(path).to_path_buf()
    };
    let paths = blobs.iter().map(inside).collect();
    let format = format!("pictures in {}", files::plural(archives.len(), "archive"));
    arrange(&archives[0], blobs, paths, config, &format)
}

fn arrange(
    source: &Path,
    blobs: Vec<Blob>,
    paths: Vec<PathBuf>,
    config: &ImageConfig,
    format: &str,
) -> Result<Parts, DataError> {
    let mut named: Vec<_> = blobs.into_iter().zip(paths).collect();
    if config.frames {
        video::sort(&mut named);
    }
    let (blobs, paths): (Vec<_>, Vec<_>) = named.into_iter().unzip();
    let layout = match config.frames {
        true => layout::of(
            source,
            &paths
                .iter()
                .map(|p| video::without_video(p))
                .collect::<Vec<_>>(),
        )?,
        false => layout::of(source, &paths)?,
    };
    let frame = config.frame(native_channels(&blobs)?);
    let of = |part| {
        let chosen: Vec<_> = blobs
            .iter()
            .zip(&layout.places)
            .filter(|(_, p)| p.part == part)
            .collect();
        if chosen.is_empty() {
            return Ok(None);
        }
        let pictures = pictures(&chosen, frame)?;
        if !config.frames {
            return Ok(Some(pictures));
        }
        let paths: Vec<_> = chosen.iter().map(|(blob, _)| blob.path()).collect();
        Ok(Some(pictures.with_videos(video::ranges(&paths)?)))
    };
    Ok(Parts {
        train: of(Some(Part::Train))?,
        test: of(Some(Part::Test))?,
        class_names: layout.class_names,
        format: match config.frames {
            true => format!("{format}, a video in every folder"),
            false => format.to_owned(),
        },
        stats: None,
    })
}

/// 3 if any of some pictures from all over the data is coloured, else 1.
fn native_channels(blobs: &[Blob]) -> Result<usize, DataError> {
    for index in evenly_spaced(blobs.len(), LOOKED_AT) {
        let blob = &blobs[index];
        if decode::is_coloured(blob.path(), &blob.read()?)? {
            return Ok(3);
        }
    }
    Ok(1)
}

fn pictures(chosen: &[(&Blob, &Place)], frame: Frame) -> Result<Pictures, DataError> {
    let labels: Vec<_> = chosen.iter().map(|(_, place)| place.class).collect();
    let paths = || {
        chosen
            .iter()
            .map(|(blob, _)| blob.path().to_path_buf())
            .collect()
    };
    if chosen.len().saturating_mul(frame.len()) > MAX_MEMORY {
        if let Some((blob, _)) = chosen
            .iter()
            .find(|(blob, _)| matches!(blob, Blob::Entry(..)))
        {
            let why = format!(
                "the {} pictures of {} × {} pixels do not fit into memory: unpack the archive, \
                 or lower data.image.size",
                chosen.len(),
                frame.height,
                frame.width
            );
            return Err(DataError::unusable(blob.path(), why));
        }
        return Ok(Pictures::on_demand(frame, paths(), labels));
    }
    let mut bytes = vec![0; chosen.len() * frame.len()];
    bytes
        .par_chunks_exact_mut(frame.len())
        .zip(chosen)
        .try_for_each(|(out, (blob, _))| {
            out.copy_from_slice(&decode::picture(blob.path(), &blob.read()?, frame)?);
            Ok(())
        })?;
    Ok(Pictures::in_memory(
        frame,
        bytes,
        labels,
        Origins::Files(paths()),
    ))
}

/// Opens single files as unlabelled pictures of `frame`.
pub(super) fn open_files(paths: &[PathBuf], frame: Frame) -> Result<Pictures, DataError> {
    let place = Place {
        part: None,
        class: None,
    };
    let blobs: Vec<_> = paths.iter().cloned().map(Blob::File).collect();
    let chosen: Vec<_> = blobs.iter().map(|blob| (blob, &place)).collect();
    pictures(&chosen, frame)
}
