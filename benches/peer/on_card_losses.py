"""The contrastive losses of `viewmaker bench loss`, by the same names and with the same division of N
embeddings, in the obvious form: all similarities, logsumexp, autograd. Logits are in single precision.
"""

import math

import torch
import torch.nn.functional as F

EXAMPLES_OF_A_CLASS = 4


def itself(z):
    return torch.eye(len(z), dtype=torch.bool, device=z.device)


def both_ways(z1, z2, temperature, without_positives):
    """Every row asks for its partner among all others."""
    z = F.normalize(torch.cat((z1, z2)))
    logits = (z @ z.T / temperature).float()
    left_out = itself(z)
    if without_positives:
        left_out = left_out | left_out.roll(len(z1), 0)
    positives = (z[: len(z1)] * z[len(z1) :]).float().sum(1) / temperature
    return torch.logsumexp(logits.masked_fill(left_out, float("-inf")), 1).mean() - positives.mean()


def ntxent(z1, z2, temperature):
    return both_ways(z1, z2, temperature, False)


def dcl(z1, z2, temperature):
    return both_ways(z1, z2, temperature, True)


def viewmaker_simclr(z1, z2, temperature):
    u, v = F.normalize(z1), F.normalize(z2)
    logits = (u @ torch.cat((u, v)).T / temperature).float()
    positives = (u * v).float().sum(1) / temperature
    return (torch.logsumexp(logits, 1) - positives).mean() - math.log(2 * len(u))


def diagonal(logits):
    return F.cross_entropy(logits, torch.arange(len(logits), device=logits.device))


def infonce(z1, z2, temperature):
    return diagonal((F.normalize(z1) @ F.normalize(z2).T / temperature).float())


def clip(z1, z2, log_scale):
    logits = (F.normalize(z1) @ F.normalize(z2).T).float() * log_scale.exp()
    return (diagonal(logits) + diagonal(logits.T)) / 2


def moco(queries, keys, queue, temperature):
    q, k = F.normalize(queries), F.normalize(keys)
    logits = torch.cat(((q * k).sum(1, keepdim=True), q @ F.normalize(queue).T), 1).float()
    return F.cross_entropy(logits / temperature, torch.zeros(len(q), dtype=torch.long, device=q.device))


def supcon(z1, z2, labels, temperature):
    z = F.normalize(torch.cat((z1, z2)))
    logits = (z @ z.T / temperature).float()
    own = itself(z)
    positives = (labels[:, None] == labels) & ~own
    attract = torch.where(positives, logits, 0.0).sum(1) / positives.sum(1)
    return (torch.logsumexp(logits.masked_fill(own, float("-inf")), 1) - attract).mean()


OF_TWO_VIEWS = {
    "viewmaker-simclr": viewmaker_simclr,
    "ntxent": ntxent,
    "dcl": dcl,
    "infonce": infonce,
}
NAMES = [*OF_TWO_VIEWS, "moco-v2", "clip", "supcon"]


def prepare(name, count, temperature, rows):
    """The loss called `name` and its arguments for `count` embeddings. `rows(n, trained)` makes n of them,
    with a gradient or as constants."""
    if name == "moco-v2":
        queries = count // 4
        parts = [rows(queries, True), rows(queries, False), rows(count - 2 * queries, False)]
        return moco, [*parts, temperature]
    views = [rows(count // 2, True) for _ in range(2)]
    device = views[0].device
    if name == "clip":
        log_scale = torch.tensor(-math.log(temperature), device=device, requires_grad=True)
        return clip, [*views, log_scale]
    if name == "supcon":
        labels = torch.arange(count, device=device) % (count // 2) // EXAMPLES_OF_A_CLASS
        return supcon, [*views, labels, temperature]
    return OF_TWO_VIEWS[name], [*views, temperature]
