//! The section `data`.

pub(super) const DOCS: &[(&str, &str)] = &[
    ("data", "Which data, and how they are read."),
    (
        "data.path",
        "File or folder; without it the embedded data of the modality.",
    ),
    (
        "data.validation_fraction",
        "Part held out where the data have no official test set, in (0, 1).",
    ),
    (
        "data.limit",
        "At most this many examples of each of the two sets, spread evenly.",
    ),
    (
        "data.embedded_train",
        "Training examples of the embedded data.",
    ),
    (
        "data.embedded_test",
        "Held-out examples of the embedded data.",
    ),
    ("data.image", "Options of the modality image."),
    (
        "data.image.size",
        "Height and width that images are brought to, in pixels.",
    ),
    (
        "data.image.frames",
        "Read each folder of pictures as a video: its files, sorted by name, are the frames.",
    ),
    (
        "data.image.channels",
        "3 (RGB), 1 (grey), or 0 for those of the data.",
    ),
    (
        "data.speech",
        "Options of the modality speech; a 0 leaves the value to the preset.",
    ),
    (
        "data.speech.preset",
        "Kind of recordings: auto, reference (9.4 s, the paper's) or clip (1 s).",
    ),
    (
        "data.speech.labels",
        "Class of a recording: auto, speaker, folder, digit, manifest or none.",
    ),
    (
        "data.speech.sample_rate",
        "Samples per second that recordings are brought to.",
    ),
    (
        "data.speech.max_samples",
        "Samples of an example: longer recordings are cut, shorter ones padded.",
    ),
    (
        "data.speech.n_fft",
        "Points of the Fourier transform and its window.",
    ),
    (
        "data.speech.hop_length",
        "Samples from one frame to the next.",
    ),
    (
        "data.speech.n_mels",
        "Mel bands: the height of the spectrogram.",
    ),
    ("data.speech.fmax", "Upper end of the highest band, in Hz."),
    (
        "data.speech.normalize_mean",
        "Mean to normalise with, in dB; without it that of the training data.",
    ),
    (
        "data.speech.normalize_std",
        "Standard deviation to normalise with, in dB; without it that of the training data.",
    ),
    (
        "data.speech.cache_mib",
        "Memory for spectrograms that are kept between epochs, in MiB.",
    ),
    ("data.sensor", "Options of the modality sensor."),
    (
        "data.sensor.window",
        "Steps of a window; without it 1000 for PAMAP2, 128 for UCI HAR, else 256.",
    ),
    (
        "data.sensor.stride",
        "Steps between evaluation windows; without it half a window.",
    ),
    (
        "data.sensor.n_fft",
        "Points of the Fourier transform: n_fft / 2 + 1 rows.",
    ),
    (
        "data.sensor.hop_length",
        "Steps between columns; without it what gives 32 columns.",
    ),
    (
        "data.sensor.rate_hz",
        "Samples per second; by default what the time column of tables says, or the format.",
    ),
    (
        "data.sensor.columns",
        "CSV: columns that are channels; [] for all without another meaning.",
    ),
    ("data.sensor.label_column", "CSV: column with the class."),
    (
        "data.sensor.subject_column",
        "CSV: column that says who wore the sensors.",
    ),
    (
        "data.sensor.time_column",
        "CSV: column with the time in seconds; no channel.",
    ),
    (
        "data.sensor.activities",
        "Activities to use, by name or number; [] for the usual ones.",
    ),
    (
        "data.sensor.test_subjects",
        "Subjects never trained on; [] for the official split.",
    ),
    (
        "data.sensor.validation_subjects",
        "Further subjects never trained on, for choosing options.",
    ),
    (
        "data.sensor.held_out",
        "Which of the two accuracy is measured on: test or validation.",
    ),
    (
        "data.sensor.train_examples",
        "Random windows that make an epoch.",
    ),
];
