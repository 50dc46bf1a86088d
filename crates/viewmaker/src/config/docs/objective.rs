//! The sections `encoder` and `objective`.

pub(super) const DOCS: &[(&str, &str)] = &[
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
];
