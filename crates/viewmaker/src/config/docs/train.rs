//! The sections `train` and `optim`.

pub(super) const DOCS: &[(&str, &str)] = &[
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
];
