"""Train the classifiers that `drsvg evaluate` reads content and pose with; two ship already.

    python -m benchmarks.train_classifier moving-mnist --data MNIST -o moving-mnist.safetensors
    python -m benchmarks.train_classifier sprites

A classifier never sees a predicted frame in training, but some of its frames are blurred, as
predictions are. It learns from the training part of a data set, digits or characters, and is
measured on the test part.
"""

import argparse
import json
import math
from pathlib import Path

import safetensors.torch
import torch
from torch.nn import functional

from drsvg_cli import __version__
from drsvg_cli.config import ModelConfig
from drsvg_cli.data import moving_mnist, sprites
from drsvg_cli.data.dataset import DataPaths
from drsvg_cli.evaluation.classifier import Classifier, read

LEARNING_RATE = 3e-3
TESTED = 10_000


def digits(folder):
    """Draw frames of two digits each; what they show is the pair, in either order."""
    model = ModelConfig(channels=1)

    def draw(which):
        part = moving_mnist.part(folder, which)
        moving = moving_mnist.MovingDigits(part, model, 1, "stochastic")

        def frames(size, seed):
            drawn = moving.draw(size, seed=seed)
            return drawn.frames[0], drawn.labels

        return frames

    return {"digits": len(moving_mnist.PAIRS)}, model, draw("training"), draw("test")


def characters(folder):
    """Draw frames of which every garment, the action and the direction are known."""
    layers, model = sprites.read_sheets(folder), ModelConfig(channels=3, size=sprites.SIZE)

    def draw(which):
        moving = sprites.MovingSprites(layers, which, model, 1)

        def frames(size, seed):
            shown = moving.draw(size, seed=seed)
            poses = {name: shown.poses[name][0] for name in ("action", "direction")}
            return shown.frames[0], {**shown.labels, **poses}

        return frames

    classes = {name: len(layer.colours) for name, layer in layers.items()}
    classes |= {"action": len(sprites.ACTIONS), "direction": len(sprites.DIRECTIONS)}
    return classes, model, draw("training"), draw("test")


EXAMPLES = {"moving-mnist": ("mnist", digits), "sprites": ("sprites", characters)}


def learn(classifier, draw, *, steps, batch):
    """Train on frames that `draw` gives and leave the classifier in evaluation mode."""
    optimizer = torch.optim.AdamW(classifier.parameters(), lr=LEARNING_RATE, weight_decay=1e-3)
    device = next(classifier.parameters()).device
    classifier.train()
    for step in range(steps):
        frames, labels = draw(batch, str(step))
        for group in optimizer.param_groups:
            rise = min(1.0, (step + 1) / 100)
            group["lr"] = LEARNING_RATE * rise * (0.505 + 0.495 * math.cos(math.pi * step / steps))
        logits = classifier(softened(frames.to(device), step))
        losses = [
            functional.cross_entropy(logits[name], wanted.to(device))
            for name, wanted in labels.items()
        ]
        loss = torch.stack(losses).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if (step + 1) % 100 == 0:
            print(f"step {step + 1}: {loss.item():.3f} nats an attribute", flush=True)
    classifier.eval()


def softened(frames, step):
    """Blur frames, each by its own amount, half of them not at all; floats in [0, 1] come out."""
    frames = frames if frames.is_floating_point() else frames.float() / 255
    blurred = functional.avg_pool2d(frames, 5, 1, 2, count_include_pad=False)
    generator = torch.Generator().manual_seed(step)
    share = (2 * torch.rand(len(frames), 1, 1, 1, generator=generator) - 1).clamp(min=0)
    return frames.lerp(blurred, share.to(frames.device))


def accuracy(classifier, draw, *, frames):
    """Return the share of frames that are read rightly: all attributes at once, and each."""
    drawn, labels = draw(frames, "accuracy")
    found = read(classifier, drawn.to(next(classifier.parameters()).device))
    right = {name: (found[name].cpu() == each).float() for name, each in labels.items()}
    every = torch.stack(list(right.values())).amin(0)
    return {name: float(each.mean()) for name, each in {"all": every, **right}.items()}


def save(path, classifier, *, words):
    """Write the weights in half precision, with what they read in the header."""
    header = {
        "attributes": json.dumps(classifier.attributes),
        "size": str(classifier.size),
        "channels": str(classifier.channels),
        "words": words,
    }
    tensors = {
        name: (tensor.half() if tensor.is_floating_point() else tensor).cpu().contiguous()
        for name, tensor in classifier.state_dict().items()
    }
    safetensors.torch.save_file(tensors, path, header)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("source", choices=EXAMPLES)
    parser.add_argument("--data", action="append", help="the data set's folder")
    parser.add_argument("-o", "--out", type=Path)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args(arguments)
    name, examples = EXAMPLES[given.source]
    folder = DataPaths(given.data or [], Path()).folder(name, given.source)
    attributes, model, learned, tested = examples(folder)
    torch.manual_seed(0)
    classifier = Classifier(attributes, size=model.size, channels=model.channels)
    classifier.to(given.device, memory_format=torch.channels_last)
    learn(classifier, learned, steps=given.steps, batch=given.batch)
    shares = accuracy(classifier, tested, frames=TESTED)
    words = (
        f"{given.steps} steps of {given.batch} frames of {given.source}, drsvg {__version__}; of "
        f"{TESTED} test frames " + ", ".join(f"{v:.2%} right in {k}" for k, v in shares.items())
    )
    out = given.out or Path(f"{given.source}.safetensors")
    save(out, classifier, words=words)
    print(f"{out}: {words}")


if __name__ == "__main__":
    main()
