//! What every key means, for `viewmaker config` and the comments of a run's `config.toml`.

/// One line about a key or section; `None` for an unknown one.
pub fn doc(path: &str) -> Option<&'static str> {
    // Both optimisers have the same keys.
    let shared = path
        .strip_prefix("optim.")
        .and_then(|rest| rest.split_once('.'))
        .map(|(_, key)| format!("optim.*.{key}"));
    let path = shared.as_deref().unwrap_or(path);
    DOCS.iter()
        .find(|(known, _)| *known == path)
        .map(|(_, text)| *text)
}

const DOCS: &[(&str, &str)] = &[
    ("modality", "Kind of data."),
    (
        "seed",
        "Seed of every random choice; the same seed gives the same bits.",
    ),
    (
        "threads",
        "Threads; 0: one per core. The result does not depend on it.",
    ),
    (
        "device",
        "Where the computation runs: auto (the first CUDA card, else the processor), cpu, cuda, or cuda:N.",
    ),
    (
        "precision",
        "How convolutions multiply on a CUDA card: f32, or tf32 or bf16 on tensor cores (storage and sums stay f32).",
    ),
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
    ("encoder", "The network that is wanted in the end."),
    (
        "encoder.name",
        "tiny, resnet18-small (CIFAR-style), resnet18 (torchvision-style), …",
    ),
    (
        "encoder.embedding_dim",
        "Length of the embedding that the objective compares.",
    ),
    (
        "encoder.projection",
        "Between pooled features and embedding: none, linear, mlp or mlp-norm (with batch norm).",
    ),
    (
        "encoder.text_width",
        "Channels of the first stage of the text tower, where an objective has one.",
    ),
    ("objective", "The contrastive loss."),
    (
        "objective.name",
        "What is trained; `viewmaker objectives` explains each.",
    ),
    (
        "objective.temperature",
        "Temperature τ that similarities are divided by.",
    ),
    (
        "objective.distance",
        "What infonce compares by: cosine or euclidean.",
    ),
    (
        "objective.sigma",
        "Width σ of the weights of dclw: small values weight hard positives more.",
    ),
    (
        "objective.margin",
        "Margin of triplet, in squared distance.",
    ),
    (
        "objective.mining",
        "Negatives of triplet: random, semi-hard, hardest (in the batch) or hardest-queue.",
    ),
    (
        "objective.queue",
        "Rows of the queue of moco-v2 and of triplet with hardest-queue.",
    ),
    (
        "objective.negatives",
        "Noise rows per example of instdisc (NCE); negatives of each moment of tcn.",
    ),
    (
        "objective.bank_momentum",
        "What a memory bank keeps of an old row, 0 to 1.",
    ),
    (
        "objective.encoder_momentum",
        "What a momentum encoder keeps of itself in a step, 0 to 1.",
    ),
    (
        "objective.momentum_schedule",
        "Course of encoder_momentum: constant, or cosine up to 1 at the last step.",
    ),
    (
        "objective.ways",
        "Classes of a task of protonet, each an example of the batch.",
    ),
    (
        "objective.shots",
        "Support views of each class of protonet; their mean is its prototype.",
    ),
    (
        "objective.queries",
        "Query views of each class of protonet.",
    ),
    ("objective.tasks", "Tasks that protonet makes of a batch."),
    (
        "objective.l1",
        "Weight of the embeddings' mean L1 norm in tcn: makes them sparse.",
    ),
    (
        "objective.l2",
        "Weight of the embeddings' mean L2 norm in tcn.",
    ),
    (
        "objective.predictor_hidden",
        "Width of the hidden layer of a predictor.",
    ),
    (
        "objective.fused",
        "Use the streaming kernel where there is one: the same loss without the N×N matrix.",
    ),
    ("train", "The course of training."),
    ("train.batch_size", "Examples of a step."),
    (
        "train.chunk",
        "Examples in memory at once: the whole batch's gradient in two passes over chunks; 0: off.",
    ),
    ("train.epochs", "Passes over the training data."),
    ("train.steps", "Steps in all, instead of epochs."),
    (
        "train.update",
        "alternating (each batch runs twice) or simultaneous (once).",
    ),
    (
        "train.viewmaker_loss_weight",
        "Weight w: the viewmaker's loss is −w times the encoder's.",
    ),
    (
        "train.freeze_viewmaker_after",
        "Epochs after which the viewmaker stays as it is.",
    ),
    (
        "train.checkpoint_every",
        "Steps between checkpoints beside those of every epoch; 0: none.",
    ),
    (
        "train.keep_checkpoints",
        "Checkpoints kept beside the best.",
    ),
    (
        "train.knn_every",
        "Epochs between kNN measurements; 0: only before and after training.",
    ),
    ("optim", "One optimiser per network."),
    ("optim.encoder", "Optimiser of the encoder."),
    ("optim.viewmaker", "Optimiser of the viewmaker."),
    ("optim.*.name", "sgd, adam or adamw."),
    ("optim.*.lr", "Learning rate."),
    ("optim.*.momentum", "Momentum of SGD."),
    (
        "optim.*.weight_decay",
        "Added to the gradient by sgd and adam, decoupled in adamw.",
    ),
    ("optim.*.betas", "Decay rates of Adam's moments."),
    ("optim.*.eps", "Adam's ε."),
    (
        "optim.*.schedule",
        "constant, or cosine down to 0 at the last step.",
    ),
    (
        "optim.*.warmup_epochs",
        "Epochs of linear warm-up; fractions are fine.",
    ),
    ("eval", "How good the features are."),
    (
        "eval.clean_statistics",
        "Estimate batch-norm statistics on clean examples first; the reference does not.",
    ),
    ("eval.knn_k", "Neighbours that vote."),
    (
        "eval.knn_temperature",
        "Temperature of the votes' weights exp(cosine / temperature).",
    ),
    ("eval.linear_epochs", "Epochs of the linear probe."),
    ("eval.linear_lr", "Learning rate of the linear probe (SGD)."),
    ("eval.linear_momentum", "Momentum of the linear probe."),
    (
        "eval.linear_weight_decay",
        "Weight decay of the linear probe.",
    ),
    ("eval.linear_batch_size", "Batch size of the linear probe."),
    (
        "eval.linear_milestones",
        "Epochs at which the linear probe's rate drops to a tenth.",
    ),
    (
        "eval.prompts",
        "Prompts of a class in zero-shot classification; {} stands for its name.",
    ),
    (
        "eval.linear_views",
        "Pass the probe's training batches through the frozen viewmaker.",
    ),
    (
        "eval.logistic",
        "Logistic regression on frozen features, by L-BFGS.",
    ),
    (
        "eval.logistic.l2",
        "Weight λ of the penalty λ/2·|W|² beside the mean cross-entropy.",
    ),
    ("eval.logistic.max_iterations", "Most iterations."),
    (
        "eval.logistic.tolerance",
        "Largest component of the gradient at the end.",
    ),
    (
        "eval.finetune",
        "Fine-tuning of the whole network with few labels, by AdamW.",
    ),
    (
        "eval.finetune.fractions",
        "Parts of the labels of every class, in (0, 1]; at least one example each.",
    ),
    (
        "eval.finetune.seeds",
        "Repetitions, each with a seed of its own.",
    ),
    (
        "eval.finetune.steps",
        "Steps of every training, whatever the number of labels.",
    ),
    (
        "eval.finetune.batch_size",
        "Examples of a step; all there are, where there are fewer.",
    ),
    (
        "eval.finetune.lr",
        "Learning rate at the first step; it falls to 0 along half a cosine.",
    ),
    ("eval.finetune.weight_decay", "Decoupled weight decay."),
    (
        "eval.fewshot",
        "Few-shot episodes on frozen features, by the nearest class mean.",
    ),
    ("eval.fewshot.ways", "Classes of an episode."),
    (
        "eval.fewshot.shots",
        "Labelled examples of each class; one kind of episode for every number.",
    ),
    ("eval.fewshot.queries", "Classified examples of each class."),
    ("eval.fewshot.episodes", "Number of episodes."),
    (
        "eval.fewshot.distance",
        "euclidean, or cosine (features and means scaled to length 1).",
    ),
    (
        "eval.subjects",
        "A probe trained on few subjects, tested on the held-out ones.",
    ),
    (
        "eval.subjects.counts",
        "Numbers of training subjects; all of them are measured, too.",
    ),
    (
        "eval.subjects.repeats",
        "Draws of subjects for each number.",
    ),
    (
        "eval.corruptions",
        "Accuracy on corrupted pictures, by a probe that was trained on clean ones.",
    ),
    (
        "eval.corruptions.examples",
        "Held-out examples that are corrupted, spread evenly; 0: all.",
    ),
];
