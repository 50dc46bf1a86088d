"""An epoch of CIFAR-10 records through a data set as in torchvision and PyTorch's DataLoader."""

import glob
import os

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from tasks import optional

RECORD = 1 + 3 * 32 * 32


def variants(_work, _skipped):
    pictures = ("PIL pictures", "arrays")
    return [f"{kind}, {workers} workers" for kind in pictures for workers in (0, 2)]


def build(work, variant):
    return Loading(work, variant)


class Records(Dataset):
    """Pictures in memory as height × width × channel bytes, transformed one by one."""

    def __init__(self, folder, transform, as_pictures):
        files = sorted(glob.glob(os.path.join(folder, "data_batch_*.bin")))
        records = np.concatenate([np.fromfile(f, np.uint8).reshape(-1, RECORD) for f in files])
        self.labels = records[:, 0].astype(np.int64).tolist()
        maps = records[:, 1:].reshape(-1, 3, 32, 32)
        self.pictures = np.ascontiguousarray(maps.transpose(0, 2, 3, 1))
        self.transform = transform
        self.image = optional("PIL.Image") if as_pictures else None

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        picture = self.pictures[index]
        if self.image:
            picture = self.image.fromarray(picture)
        return self.transform(picture), self.labels[index]


class Loading:
    def __init__(self, work, variant):
        kind, workers = variant.removesuffix(" workers").split(", ")
        transforms = optional("torchvision.transforms")
        transform = transforms.Compose(
            [transforms.ToTensor(), transforms.Normalize(work["mean"], work["std"])]
        )
        self.loader = DataLoader(
            Records(work["folder"], transform, kind == "PIL pictures"),
            batch_size=work["batch"],
            shuffle=True,
            drop_last=True,
            num_workers=int(workers),
            persistent_workers=int(workers) > 0,
        )

    def check(self):
        count, total, squares = 0, 0.0, 0.0
        for batch, _labels in self.loader:
            count += batch.numel()
            total += batch.sum(dtype=torch.float64).item()
            squares += batch.double().square().sum().item()
        return {
            "values of an epoch": [count],
            "mean and root mean square": [total / count, (squares / count) ** 0.5],
        }

    def run(self):
        for _batch, _labels in self.loader:
            pass
