//! Pictures of one size as a data set: bytes in memory, or files decoded when they are asked for.

use super::decode::{self, Frame};
use crate::dataset::Source;
use crate::{DataError, Dataset, Draw, files};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Pictures that take more bytes than this are not kept in memory.
pub(super) const MAX_MEMORY: usize = 2 << 30;

/// Pictures of one [`Frame`] with their labels.
pub(super) struct Pictures {
    frame: Frame,
    labels: Vec<Option<u32>>,
    content: Content,
    /// The frames of every video, ascending; empty where pictures are no frames.
    videos: Vec<Range<usize>>,
}

enum Content {
    /// C × H × W bytes of every picture, one after the other, and where they come from.
    Memory { bytes: Vec<u8>, origins: Origins },
    /// Too many to keep.
    Files(Vec<PathBuf>),
}

/// Where pictures in memory come from.
pub(super) enum Origins {
    /// Record files: number of the first picture and path of each, ascending.
    Records(Vec<(usize, PathBuf)>),
    /// One file or archive entry a picture.
    Files(Vec<PathBuf>),
}

impl Pictures {
    /// Pictures whose bytes were read already: C × H × W each, as `frame` says.
    pub(super) fn in_memory(
        frame: Frame,
        bytes: Vec<u8>,
        labels: Vec<Option<u32>>,
        origins: Origins,
    ) -> Self {
        debug_assert_eq!(bytes.len(), labels.len() * frame.len());
        let content = Content::Memory { bytes, origins };
        Self {
            frame,
            labels,
            content,
            videos: Vec::new(),
        }
    }

    /// Picture files that are decoded whenever they are asked for.
    pub(super) fn on_demand(frame: Frame, files: Vec<PathBuf>, labels: Vec<Option<u32>>) -> Self {
        debug_assert_eq!(files.len(), labels.len());
        let content = Content::Files(files);
        Self {
            frame,
            labels,
            content,
            videos: Vec::new(),
        }
    }

    /// Says that the pictures are frames of these videos, which together are all pictures in order.
    pub(super) fn with_videos(mut self, videos: Vec<Range<usize>>) -> Self {
        self.videos = videos;
        self
    }

    /// The video of every picture; `None` where pictures are no frames.
    pub(super) fn video_of_each(&self) -> Option<Vec<u32>> {
        let of = |index| self.video(index).map(|video| video as u32);
        (0..self.labels.len()).map(of).collect()
    }

    /// Number of the video that a picture is a frame of.
    fn video(&self, index: usize) -> Option<usize> {
        let number = self.videos.partition_point(|video| video.end <= index);
        (number < self.videos.len()).then_some(number)
    }

    /// The label of every picture.
    pub(super) fn labels(&self) -> &[Option<u32>] {
        &self.labels
    }
}

impl Dataset for Pictures {
    fn len(&self) -> usize {
        self.labels.len()
    }

    fn shape(&self) -> [usize; 3] {
        self.frame.shape()
    }

    fn label(&self, index: usize) -> Option<u32> {
        self.labels[index]
    }

    fn load(&self, index: usize, _draw: Draw, out: &mut [f32]) -> Result<(), DataError> {
        match &self.content {
            Content::Memory { bytes, .. } => {
                let size = self.frame.len();
                to_unit(&bytes[index * size..][..size], out);
            }
            Content::Files(paths) => {
                let path = &paths[index];
                to_unit(
                    &decode::picture(path, &files::read(path)?, self.frame)?,
                    out,
                );
            }
        }
        Ok(())
    }

    fn file(&self, index: usize) -> Option<PathBuf> {
        match &self.content {
            Content::Files(paths)
            | Content::Memory {
                origins: Origins::Files(paths),
                ..
            } => Some(paths[index].clone()),
            Content::Memory { .. } => None,
        }
    }

    fn sequence(&self, index: usize) -> Option<usize> {
        self.video(index)
    }

    fn levels(&self, source: Source<'_>, out: &mut [f32]) -> Result<(), DataError> {
        match source {
            Source::Example { index, draw } => self.load(index, draw, out),
            Source::Frame { index, place } => match self.video(index) {
                Some(video) => {
                    let video = &self.videos[video];
                    self.load(video.start + place.of(video.len()), Draw::FIXED, out)
                }
                None => {
                    let why = "is no frame of a video; with data.image.frames = true every folder \
                               of pictures is one";
                    Err(DataError::example(self.origin(index), why))
                }
            },
            Source::Signal(_) => Err(DataError::example("a signal", "is no example of pictures")),
        }
    }

    fn origin(&self, index: usize) -> String {
        let place = |path: &Path| path.display().to_string();
        match &self.content {
            Content::Files(paths) => place(&paths[index]),
            Content::Memory {
                origins: Origins::Files(paths),
                ..
            } => place(&paths[index]),
            Content::Memory {
                origins: Origins::Records(starts),
                ..
            } => match starts.iter().rfind(|(first, _)| *first <= index) {
                Some((first, path)) => format!("{}: record {}", place(path), index - first),
                None => format!("example {index}"),
            },
        }
    }
}

/// Bytes to numbers in [0, 1].
pub(super) fn to_unit(bytes: &[u8], out: &mut [f32]) {
    for (x, &byte) in out.iter_mut().zip(bytes) {
        *x = f32::from(byte) / 255.0;
    }
}
