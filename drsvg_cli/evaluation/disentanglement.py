"""How well content and pose are told apart: swaps that a classifier reads, and probes of latents.

A swap shows A moving as B (Section 4.3). It is right where every garment, or whatever else content
is, is that of A, and the pose is that of B, frame by frame. How it moves can be measured without
anybody who knows what it shows. Latents are probed directly as well: by a linear classifier, and by
an adversary (Eq. 5) that is trained afresh for `ADVERSARY_STEPS` steps.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from drsvg_cli.evaluation.classifier import Classifier, read
from drsvg_cli.evaluation.metrics import LEAST_SHARPNESS, sharpness
from drsvg_cli.inference.rollout import swap
from drsvg_cli.model.discriminator import PoseDiscriminator
from drsvg_cli.model.drsvg import DRSVG
from drsvg_cli.model.gaussian import Gaussian
from drsvg_cli.model.losses import discriminator_loss
from drsvg_cli.model.noise import BatchNoise
from drsvg_cli.optical_flow import measure

PAIRS_AT_ONCE = 8
GRID = 4
"""Places along each side at which motion is compared."""
ADVERSARY_STEPS = 600
ADVERSARY_BATCH = 64
ADVERSARY_RATE = 1e-3
WEIGHT_DECAY = 1e-4
"""Of a linear probe."""


class Known(NamedTuple):
    """What sequences show, and who reads it."""

    classifier: Classifier
    content: Mapping[str, Tensor]
    """Class indices `(N,)`, an attribute each."""
    poses: Mapping[str, Tensor]
    """Class indices `(N, T)`, an attribute each; only those that the classifier reads."""

    def judge(self, frames: Tensor, *, content: Tensor, poses: Tensor) -> "Reading":
        """Read swaps `(N, S, T - 1, C, H, W)`.

        Args:
            frames: floats in [0, 1].
            content: the sequences that gave the content, `(N,)` indices.
            poses: those that gave the pose.
        """
        found = read(self.classifier, frames)
        device = frames.device
        return Reading(
            {
                name: (found[name] == labels[content].to(device)[:, None, None]).float().cpu()
                for name, labels in self.content.items()
            },
            {
                name: (found[name] == labels[poses, 1:].to(device)[:, None]).float().cpu()
                for name, labels in self.poses.items()
            },
        )


class Reading(NamedTuple):
    """Whether frames show what they should: 1 or 0, `(N, S, T)`, an attribute each."""

    content: Mapping[str, Tensor]
    poses: Mapping[str, Tensor]

    @property
    def kept(self) -> Tensor:
        """All of the content at once, `(N, S, T)`."""
        return _all(self.content)

    @property
    def taken(self) -> Tensor:
        """All of the pose at once."""
        return _all(self.poses)

    @property
    def both(self) -> Tensor:
        """Everything at once."""
        return self.kept * self.taken


def _all(table: Mapping[str, Tensor]) -> Tensor:
    return torch.stack(list(table.values())).amin(0)


class Made(NamedTuple):
    """What is measured of what a model made of pairs of sequences."""

    reading: Reading | None
    """None where nobody knows what sequences show."""
    sharpness: Tensor
    """In shares of that of the true frames of A, `(N, S, T)`."""
    motion: Tensor
    """How it moves, `(N, S, T, M)`, see `movement`."""


class Swaps(NamedTuple):
    """The two things that a model makes of A."""

    swap: Made
    reconstruction: Made
    """A gives the pose as well."""


def movement(frames: Tensor) -> Tensor:
    """Measure how sequences move.

    Args:
        frames: `(N, T, C, S, S)` in [0, 1].

    Returns:
        `(N, T - 1, M)`: the motion between neighbouring frames, averaged over a grid of
        `GRID` x `GRID` places, along each axis.
    """
    found = measure(frames[:, 1:].flatten(0, 1), frames[:, :-1].flatten(0, 1))
    coarse = functional.adaptive_avg_pool2d(found, GRID).flatten(1)
    return coarse.unflatten(0, (len(frames), -1)).cpu()


def agreement(motion: Tensor, other: Tensor) -> float:
    """Return how much alike two things of equal shape move: the cosine of all motion at once.

    1 is the same motion, if not as far; 0 is motion that has nothing to do with the other.
    """
    return float(functional.cosine_similarity(motion.flatten(), other.flatten(), dim=0))


def partners(count: int) -> Tensor:
    """Return which sequence gives the pose to each of `count`: never itself, and one that is far.

    Neighbours may be of one clip.

    Raises:
        ValueError: there is no other one.
    """
    if count < 2:
        raise ValueError(f"a swap takes two sequences or more, not {count}")
    return torch.arange(count).roll(-(count // 2))


def swap_all(
    model: DRSVG,
    frames: Tensor,
    *,
    seeds: Sequence[int],
    temperature: float = 1.0,
    known: Known | None = None,
    tick: Callable[[int], object] | None = None,
) -> Swaps:
    """Swap all sequences with their partners and measure what comes out, in turns.

    Args:
        model: in evaluation mode.
        frames: uint8 `(N, T, C, S, S)`.
        seeds: one a sample.
        temperature: as for `rollout.swap`.
        known: what the sequences show, if that is known.
        tick: called with the number of pairs that have been swapped since.
    """
    device, parts = next(model.parameters()).device, []
    for some in torch.arange(len(frames)).split(PAIRS_AT_ONCE):
        others = partners(len(frames))[some]
        content, pose = (frames[each].to(device).float() / 255 for each in (some, others))
        # Poses differ from frame to frame, so true frames are the measure on average only.
        true = sharpness(content[:, None, 1:]).mean(-1, keepdim=True)
        true = true.clamp(min=LEAST_SHARPNESS)
        made = []
        for giver, numbers in ((pose, others), (content, some)):
            shown = swap(model, content, giver, seeds=seeds, temperature=temperature).frames
            made.append(
                Made(
                    known and known.judge(shown, content=some, poses=numbers),
                    (sharpness(shown) / true).cpu(),
                    _movement_of(content, shown),
                )
            )
        parts.append(made)
        if tick is not None:
            tick(len(some))
    return Swaps(*map(_joined, zip(*parts, strict=True)))


def _movement_of(content: Tensor, made: Tensor) -> Tensor:
    """Measure how swaps `(N, S, T - 1, ...)` move, from the first frame of `content` on."""
    first = content[:, None, :1].expand(-1, made.shape[1], -1, -1, -1, -1)
    moved = movement(torch.cat([first, made], dim=2).flatten(0, 1))
    return moved.unflatten(0, made.shape[:2])


def _joined(parts: Sequence[Made]) -> Made:
    """Join what was measured of different pairs, in order."""
    readings, sharpnesses, motions = zip(*parts, strict=True)
    return Made(_joined_readings(readings), torch.cat(sharpnesses), torch.cat(motions))


def _joined_readings(parts: Sequence[Reading | None]) -> Reading | None:
    known = [part for part in parts if part is not None]
    if not known:
        return None
    content, poses = zip(*known, strict=True)
    return Reading(_joined_tables(content), _joined_tables(poses))


def _joined_tables(tables: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.cat([table[name] for table in tables]) for name in tables[0]}


@torch.inference_mode()
def infer(model: DRSVG, frames: Tensor) -> tuple[Gaussian, ...]:
    """Return the posteriors of sequences, uint8 `(N, T, C, S, S)`: `(T, N, Z)`, the pose last."""
    device, parts = next(model.parameters()).device, []
    for some in frames.split(PAIRS_AT_ONCE):
        features = model.encode(some.transpose(0, 1).to(device).float() / 255).features
        parts.append(model.observe(features).posteriors)
    return tuple(
        Gaussian(*(torch.cat(tensors, dim=1).cpu() for tensors in zip(*each, strict=True)))
        for each in zip(*parts, strict=True)
    )


class Probe(NamedTuple):
    """How often a linear classifier reads an attribute from a latent."""

    accuracy: float
    chance: float
    """Of naming the most frequent class always."""


def probe(latent: Gaussian, labels: Tensor) -> Probe:
    """Read an attribute, class indices `(N,)` or `(N, T)`, from the means of a latent `(T, N, Z)`.

    The first half of the sequences is learned from, the other one tested on, frame by frame.
    """
    half = len(labels) // 2
    wanted = labels if labels.dim() == 2 else labels[:, None].expand(-1, len(latent.mean))
    values = latent.mean.float().transpose(0, 1)
    values = (values - values.mean((0, 1))) / values.std((0, 1)).clamp(min=1e-6)
    classes = int(labels.max()) + 1
    weights = torch.zeros(values.shape[-1] + 1, classes, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=100, line_search_fn="strong_wolfe")
    learned, tested = values[:half].flatten(0, 1), values[half:].flatten(0, 1)
    right, truth = wanted[:half].flatten(), wanted[half:].flatten()

    def loss() -> Tensor:
        optimizer.zero_grad()
        error = functional.cross_entropy(learned @ weights[1:] + weights[0], right)
        total = error + WEIGHT_DECAY * weights.square().sum()
        total.backward()
        return total

    with torch.enable_grad():
        optimizer.step(loss)
    named = (tested @ weights[1:] + weights[0]).argmax(1)
    most = torch.bincount(truth, minlength=classes).max()
    return Probe(float((named == truth).float().mean()), float(most / len(truth)))


def adversary_accuracy(pose: Gaussian) -> float:
    """Train a discriminator afresh on pose latents `(T, N, Z)`; return its accuracy on new pairs.

    It learns from the first half of the sequences and is measured on the other one. 0.5 means that
    nothing tells latents of one sequence from those of two.

    Raises:
        ValueError: there are fewer than four sequences, and no two of them in a half.
    """
    if pose.mean.shape[1] < 4:
        raise ValueError(f"an adversary takes four sequences or more, not {pose.mean.shape[1]}")
    half = pose.mean.shape[1] // 2
    learned, tested = (
        Gaussian(*(part[:, chosen].float() for part in pose))
        for chosen in (slice(None, half), slice(half, None))
    )
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        discriminator = PoseDiscriminator(pose.mean.shape[-1])
    optimizer = torch.optim.Adam(discriminator.parameters(), lr=ADVERSARY_RATE)
    generator, noise = torch.Generator().manual_seed(0), BatchNoise(0)
    for _ in range(ADVERSARY_STEPS):
        some = torch.randperm(half, generator=generator)[:ADVERSARY_BATCH]
        drawn = Gaussian(*(part[:, some] for part in learned)).sample(noise)
        loss = discriminator_loss(discriminator, drawn)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    return discriminator_accuracy(discriminator, tested.sample(noise))


@torch.inference_mode()
def discriminator_accuracy(discriminator: PoseDiscriminator, pose: Tensor) -> float:
    """Return how often pairs of latents `(T, N, Z)` are told rightly; half are of one clip."""
    first = pose[:1].expand_as(pose[1:])
    same = discriminator(first, pose[1:]) > 0
    other = discriminator(first, pose[1:, partners(pose.shape[1])]) <= 0
    return float((same.float().mean() + other.float().mean()) / 2)


def ideal(poses: Mapping[str, Tensor]) -> Gaussian:
    """Return pose latents `(T, N, Z)` that say what is done, `(N, T)` an attribute, and no more.

    A discriminator does better than one half on them too: what comes next follows from the pose.
    """
    parts = [functional.one_hot(labels.T).float() for labels in poses.values()]
    mean = torch.cat(parts, dim=-1)
    return Gaussian(mean, torch.full_like(mean, -20.0))
