//! The sections `viewmaker` and `views`.

pub(super) const DOCS: &[(&str, &str)] = &[
    ("viewmaker", "The network that makes views."),
    (
        "viewmaker.distortion_budget",
        "Budget ε: norm of the perturbation per element.",
    ),
    (
        "viewmaker.norm",
        "Norm of the budget: l1 (mean |δ|), l2 (root mean square) or linf (largest).",
    ),
    (
        "viewmaker.num_res_blocks",
        "Residual blocks in use, 0 to 5.",
    ),
    ("viewmaker.widths", "Channels at the three resolutions."),
    (
        "viewmaker.activation",
        "Nonlinearity of the convolution stages: relu or leaky_relu.",
    ),
    ("viewmaker.clamp", "Clamp views to [0, 1] (images only)."),
    (
        "viewmaker.frequency_domain",
        "Perturb DCT coefficients instead of the signal.",
    ),
    (
        "viewmaker.downsample_to",
        "Height and width the network works at; 0: those of the data.",
    ),
    (
        "viewmaker.perturbs",
        "Which views it perturbs: both, or first (the second is the example itself).",
    ),
    (
        "viewmaker.budget_warmup_epochs",
        "Epochs in which the budget grows linearly from 0; fractions are fine.",
    ),
    ("views", "Where views come from."),
    (
        "views.source",
        "learned (the viewmaker), expert (augmentations), noise (random, same budget), patch, \
         temporal, ends (speech: the first or last window of a recording, for each view), none; or \
         several in order: [\"expert\", \"learned\"].",
    ),
    (
        "views.expert",
        "Hand-made augmentations; the options of each modality.",
    ),
    (
        "views.expert.image",
        "Expert views of images: SimCLR's; the defaults are those for 32×32.",
    ),
    (
        "views.expert.image.crop",
        "Probability of a random crop, resized to the whole picture.",
    ),
    (
        "views.expert.image.crop_scale",
        "Smallest and largest part of the area that a crop keeps.",
    ),
    (
        "views.expert.image.crop_ratio",
        "Smallest and largest ratio of width to height of a crop.",
    ),
    (
        "views.expert.image.flip",
        "Probability of exchanging left and right.",
    ),
    (
        "views.expert.image.jitter",
        "Probability of changing brightness, contrast, saturation and hue, in random order.",
    ),
    (
        "views.expert.image.brightness",
        "Brightness is multiplied by a factor in 1 ± this.",
    ),
    (
        "views.expert.image.contrast",
        "Distances from the mean grey are multiplied by a factor in 1 ± this.",
    ),
    (
        "views.expert.image.saturation",
        "Distances from grey are multiplied by a factor in 1 ± this.",
    ),
    (
        "views.expert.image.hue",
        "Hues turn by up to ± this part of the circle, at most 0.5.",
    ),
    (
        "views.expert.image.grey",
        "Probability of taking the colour away.",
    ),
    ("views.expert.image.blur", "Probability of a Gaussian blur."),
    (
        "views.expert.image.blur_sigma",
        "Smallest and largest standard deviation of the blur, in pixels.",
    ),
    (
        "views.expert.speech",
        "Expert views of speech: the paper's, and the usual ones of the waveform.",
    ),
    (
        "views.expert.speech.mode",
        "What is changed: spectral (masks, noise), waveform, or both.",
    ),
    (
        "views.expert.speech.mask",
        "Spectrogram: probability of masking some bands and some frames.",
    ),
    (
        "views.expert.speech.mask_width",
        "Spectrogram: masks are narrower than this part of the side.",
    ),
    (
        "views.expert.speech.spectral_noise",
        "Spectrogram: deviation of added noise, in standard deviations of the data.",
    ),
    (
        "views.expert.speech.change",
        "Waveform: probability of each of the changes below, made in random order.",
    ),
    (
        "views.expert.speech.keep",
        "Waveform: smallest and largest part that is kept; the rest becomes silence.",
    ),
    (
        "views.expert.speech.noise_snr_db",
        "Waveform: range of the level of the signal over added noise, in dB.",
    ),
    (
        "views.expert.speech.gain_db",
        "Waveform: loudness changes by up to ± this many dB.",
    ),
    (
        "views.expert.speech.shift_seconds",
        "Waveform: moves by up to ± this many seconds, and round the ends.",
    ),
    (
        "views.expert.speech.speed",
        "Waveform: speed and pitch change by a factor in 1 ± this.",
    ),
    (
        "views.expert.sensor",
        "Expert views of sensor streams: the paper's masks, and the usual ones over time.",
    ),
    (
        "views.expert.sensor.mode",
        "What is changed: spectral (masks, noise), time (the stream), or both.",
    ),
    (
        "views.expert.sensor.mask",
        "Spectrogram: probability of masking some frequencies and some frames.",
    ),
    (
        "views.expert.sensor.mask_width",
        "Spectrogram: masks are narrower than this part of the side.",
    ),
    (
        "views.expert.sensor.spectral_noise",
        "Spectrogram: deviation of added noise, in standard deviations of the data.",
    ),
    (
        "views.expert.sensor.change",
        "Stream: probability of each of the changes below, made in this order.",
    ),
    (
        "views.expert.sensor.rotation",
        "Stream: largest angle that the axes are turned by, in degrees.",
    ),
    (
        "views.expert.sensor.scale",
        "Stream: deviation of a factor for each channel, around 1.",
    ),
    (
        "views.expert.sensor.segments",
        "Stream: most pieces that are put into another order; 1 for none.",
    ),
    (
        "views.expert.sensor.warp",
        "Stream: deviation of the pace of time, around 1.",
    ),
    (
        "views.expert.sensor.warp_knots",
        "Stream: number of places at which the pace of time is drawn.",
    ),
    (
        "views.expert.sensor.jitter",
        "Stream: deviation of added noise, in standard deviations of the channel.",
    ),
    (
        "views.patch",
        "Views by patch: random parts, resized to the whole.",
    ),
    (
        "views.patch.scale",
        "Smallest and largest part of the area that a patch covers.",
    ),
    (
        "views.temporal",
        "Views by time: two windows of one recording (speech and sensor).",
    ),
    (
        "views.temporal.max_gap",
        "The second window starts at most this many seconds before or after the first.",
    ),
    (
        "views.temporal.fill",
        "Speech: part of the window that is filled with sound; the rest is silence.",
    ),
];
