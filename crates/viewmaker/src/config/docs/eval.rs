//! The section `eval`.

pub(super) const DOCS: &[(&str, &str)] = &[
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
