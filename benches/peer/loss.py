"""The obvious form of the contrastive losses: all similarities, logsumexp, autograd."""

import torch
import torch.nn.functional as F

from fill import fill, probe
from networks import viewmaker_simclr


def ntxent(z1, z2, temperature):
    """Every row asks for its partner among all others."""
    z = F.normalize(torch.cat((z1, z2)))
    logits = z @ z.T / temperature
    itself = torch.eye(len(z), dtype=torch.bool)
    logits = logits.masked_fill(itself, float("-inf"))
    positives = (F.normalize(z1) * F.normalize(z2)).sum(1) / temperature
    return torch.logsumexp(logits, 1).mean() - positives.mean()


OBJECTIVES = {"viewmaker-simclr": viewmaker_simclr, "ntxent": ntxent}


def variants(_work, _skipped):
    return ["eager", "compiled"]


def build(work, variant):
    return Loss(work, variant)


class Loss:
    def __init__(self, work, variant):
        shape = (work["embeddings"] // 2, work["dim"])
        self.views = [torch.from_numpy(fill(name, shape)).requires_grad_() for name in ("z1", "z2")]
        self.temperature = work["temperature"]
        self.objective = OBJECTIVES[work["objective"]]
        if variant == "compiled":
            self.objective = torch.compile(self.objective, dynamic=False)

    def run(self):
        for view in self.views:
            view.grad = None
        loss = self.objective(*self.views, self.temperature)
        loss.backward()
        return loss

    def check(self):
        loss = self.run()
        check = {"loss": [loss.item()]}
        for name, view in zip(("gradient 1", "gradient 2"), self.views):
            check[name] = probe(view.grad)
        return check
