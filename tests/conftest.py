"""Tiny models and clips that every test may ask for."""

import gzip
import logging
import os
import resource
import signal
import struct
import sys
from contextlib import contextmanager
from fractions import Fraction
from typing import NamedTuple

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from drsvg_cli.cli.app import main
from drsvg_cli.commands import prediction, prediction_report, swap
from drsvg_cli.config import DataConfig, ModelConfig, Recipe, TrainingConfig
from drsvg_cli.data.sprites import COLUMNS, GARMENTS, ROWS, SIZE
from drsvg_cli.model.drsvg import DRSVG
from drsvg_cli.video.clip import Clip
from drsvg_cli.video.writing import write_clip
from drsvg_cli.weights.files import save_model

TINY = {
    "size": 32,
    "width": 4,
    "feature_dim": 8,
    "content_dim": 5,
    "pose_dim": 3,
    "hidden": 8,
}


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Tiny tensors are slower with more threads, and sums come out in one order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session", autouse=True)
def no_power_failure():
    """Let nothing wait for the disk: what a killed process wrote is there all the same."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def interruptible():
    """Let Ctrl-C interrupt, also where a job in the background was told to take no notice of it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def tiny_config():
    """Return a function: changes to the tiny configuration in, `ModelConfig` out."""

    def make(**changes):
        return ModelConfig(**(TINY | changes))

    return make


@pytest.fixture(scope="session")
def tiny_model(tiny_config):
    """Return a function that builds a tiny model, all weights and statistics at random."""

    def make(*, seed=0, **changes):
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(seed)
            model = DRSVG(tiny_config(**changes))
            for parameter in model.parameters():
                parameter += 0.1 * torch.randn_like(parameter)
            for module in model.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.running_mean.normal_(std=0.3)
                    module.running_var.uniform_(0.3, 1.5)
            # Strong latents: a test that they matter must not hang on the last digits.
            for name, parameter in model.named_parameters():
                if name.startswith(("latents.", "predictor.")):
                    parameter *= 3 if "weight" in name else 0
                if name.startswith("decoder.start"):
                    parameter *= 3
        return model.eval()

    return make


@pytest.fixture(scope="session")
def noisy_frames():
    """Return a function: a shape in, frames uniform in [0, 1] out."""

    def make(*shape, seed=0):
        return torch.rand(shape, generator=torch.Generator().manual_seed(seed))

    return make


class Outcome(NamedTuple):
    """What a command ended with and said."""

    code: int
    out: str
    err: str


@pytest.fixture
def drsvg(monkeypatch, capfd, tmp_path):
    """Return a function that runs the command line in an empty folder, as a shell would."""
    monkeypatch.chdir(tmp_path)
    logger = logging.getLogger("drsvg_cli")
    for name in ("DRSVG_DEVICE", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    # What a model with random weights predicts resembles nothing: there is nothing to warn of.
    monkeypatch.setattr(prediction, "UNLIKE", 255)
    for module in (prediction_report, swap):  # pictures cost most of a tiny prediction
        monkeypatch.setattr(module, "TILE", 64)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["drsvg", *map(str, arguments)])
        capfd.readouterr()
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        level = logger.level
        try:
            with pytest.raises(SystemExit) as end:
                main()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            logger.setLevel(level)
        return Outcome(end.value.code, *capfd.readouterr())

    return run


@pytest.fixture(scope="session")
def full_disk():
    """Return a context: no file can grow beyond `spare` bytes, as on a full disk."""

    @contextmanager
    def limit(spare=2000):
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (spare, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return limit


@pytest.fixture(scope="session")
def model_folder(tiny_model, tiny_config, tmp_path_factory):
    """Write a tiny model that observes 3 frames at 10 a second and learns to predict 4."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    recipe = Recipe(
        "tiny",
        model=tiny_config(),
        data=DataConfig(frame_rate=10.0, context=3, horizon=4),
        training=TrainingConfig(steps=10, batch=2, validate_every=5, checkpoint_every=5),
    )
    save_model(folder, recipe, tiny_model().state_dict())
    return folder


@pytest.fixture(scope="session")
def make_clip():
    """Return a function that writes a clip of a square that moves, 10 frames a second."""

    def make(path, count=20, *, seed=0, **options):
        frames = np.full((count, 40, 48, 3), 40, np.uint8)
        frames += np.arange(48, dtype=np.uint8)[:, None]
        for index, frame in enumerate(frames):
            top, left = (index + 7 * seed) % 28, (2 * index + 5 * seed) % 36
            frame[top : top + 12, left : left + 12] = (230, 200 - 40 * seed, 90)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_clip(path, Clip(frames, Fraction(options.pop("rate", 10))), **options)
        return path

    return make


@pytest.fixture(scope="session")
def write_mnist():
    """Return a function that writes the four idx files of a tiny MNIST into a folder.

    A digit is a block with its own brightness; the first pixels number the images.
    """

    def write(path, values, packed):
        header = struct.pack(f">{1 + values.ndim}I", 0x800 + values.ndim, *values.shape)
        data = header + values.tobytes()
        path = path.with_name(path.name + ".gz") if packed else path
        path.write_bytes(gzip.compress(data, mtime=0) if packed else data)

    def make(folder, *, counts=(80, 40), packed=True):
        folder.mkdir(parents=True, exist_ok=True)
        for name, count, first in zip(("train", "t10k"), counts, (0, counts[0]), strict=True):
            labels = (np.arange(count) % 10).astype(np.uint8)
            images = np.zeros((count, 28, 28), np.uint8)
            images[:, 6:22, 6:22] = (100 + 10 * labels)[:, None, None]
            images[:, 0, :3] = (first + np.arange(count))[:, None] // (1, 64, 4096) % 64
            write(folder / f"{name}-images-idx3-ubyte", images, packed)
            write(folder / f"{name}-labels-idx1-ubyte", labels, packed)
        return folder

    return make


BGRA = [2, 1, 0, 3]


def garment_colour(place, number):
    """Return what a sheet of the fixture `sheets` is painted with, RGBA."""
    return 60 + 60 * number, 30 * place, 200 - 60 * number, 255


@pytest.fixture(scope="session")
def sheets(tmp_path_factory):
    """Write three tiny sheets a garment, and return their folder.

    A garment is a block of its own with a colour of its own. The body's first pixel holds the
    number of the cell, and what is transparent is white.
    """
    folder = tmp_path_factory.mktemp("sprites")
    for place, garment in enumerate(GARMENTS):
        (folder / garment).mkdir()
        for number in range(3):
            cells = np.zeros((ROWS * COLUMNS, SIZE, SIZE, 4), np.uint8)
            cells[..., :3] = 255
            cells[:, 8 + 10 * place : 18 + 10 * place, 16:48] = garment_colour(place, number)
            if garment == "body":
                cells[:, 0, 0] = np.arange(ROWS * COLUMNS)[:, None] % 256
                cells[:, 0, 0, 3] = 255
            sheet = cells.reshape(ROWS, COLUMNS, SIZE, SIZE, 4).swapaxes(1, 2)
            picture = np.ascontiguousarray(sheet.reshape(ROWS * SIZE, COLUMNS * SIZE, 4)[..., BGRA])
            cv2.imwrite(str(folder / garment / f"{number}.png"), picture)
    return folder
