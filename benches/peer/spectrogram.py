"""From sound files to normalised log-mel spectrograms, by torchaudio and by librosa."""

import numpy as np
import torch

from fill import probe
from tasks import optional

DYNAMIC_RANGE_DB = 80.0


def variants(_work, _skipped):
    return ["soundfile + torchaudio", "soundfile + librosa"]


def build(work, variant):
    return {"torchaudio": Torchaudio, "librosa": Librosa}[variant.split()[-1]](work)


class Spectrograms:
    """Reads each file up to the end of the window and leaves the rest to `decibels`."""

    def __init__(self, work):
        self.soundfile = optional("soundfile")
        self.files, self.mean, self.std = work["files"], work["mean"], work["std"]
        # What the paper's preset says where the configuration leaves a 0.
        speech = work["speech"]
        self.rate = speech["sample_rate"] or 16_000
        self.window = speech["max_samples"] or 150_526
        self.n_fft = speech["n_fft"] or 2048
        self.hop = speech["hop_length"]
        self.n_mels = speech["n_mels"]
        self.fmax = speech["fmax"] or 8000.0

    def load(self, path):
        samples, rate = self.soundfile.read(path, frames=self.window, dtype="float32")
        if rate != self.rate or samples.ndim != 1:
            raise ValueError(f"{path}: expected one channel at {self.rate} Hz")
        missing = self.window - len(samples)
        if missing > 0:
            samples = np.pad(samples, (0, missing))
        return (self.decibels(samples) - self.mean) / self.std

    def check(self):
        ends = {"first": self.files[0], "last": self.files[-1]}
        load = lambda path: torch.as_tensor(self.load(path))
        return {f"{name} spectrogram": probe(load(path)) for name, path in ends.items()}

    def run(self):
        for path in self.files:
            self.load(path)


class Torchaudio(Spectrograms):
    def __init__(self, work):
        super().__init__(work)
        transforms = optional("torchaudio.transforms")
        self.mel = transforms.MelSpectrogram(
            self.rate,
            n_fft=self.n_fft,
            hop_length=self.hop,
            n_mels=self.n_mels,
            f_max=self.fmax,
            norm="slaney",
            mel_scale="slaney",
        )
        self.to_db = transforms.AmplitudeToDB("power", DYNAMIC_RANGE_DB)

    def decibels(self, samples):
        with torch.inference_mode():
            # The mel power is squared once more before it becomes decibels.
            return self.to_db(self.mel(torch.from_numpy(samples)).square_())


class Librosa(Spectrograms):
    def __init__(self, work):
        super().__init__(work)
        self.librosa = optional("librosa")
        self.filters = self.librosa.filters.mel(
            sr=self.rate, n_fft=self.n_fft, n_mels=self.n_mels, fmax=self.fmax
        )

    def decibels(self, samples):
        spectrum = self.librosa.stft(
            samples, n_fft=self.n_fft, hop_length=self.hop, pad_mode="reflect"
        )
        mel = self.filters @ np.abs(spectrum) ** 2
        return self.librosa.power_to_db(mel**2, ref=1.0, top_db=DYNAMIC_RANGE_DB)
