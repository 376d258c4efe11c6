"""Swaps that are judged, and latents that are probed."""

import pytest
import torch
from torch.nn import functional

from drsvg_cli.commands.evaluate_swap import STILL, TRUTH, _bounds
from drsvg_cli.evaluation import disentanglement
from drsvg_cli.evaluation.classifier import Classifier, Known
from drsvg_cli.evaluation.disentanglement import agreement, movement, partners, swap_all
from drsvg_cli.evaluation.metrics import sharpness
from drsvg_cli.inference.rollout import swap

LEVELS = 4
"""Who is the brightness of a frame's left half, what is done that of its right half."""


class Reader(Classifier):
    """Reads both exactly."""

    def __init__(self):
        super().__init__({"who": LEVELS, "act": LEVELS}, size=32, channels=3)

    def forward(self, frames):
        halves = {"who": frames[..., :16], "act": frames[..., 16:]}
        levels = {k: (x.mean((1, 2, 3)) * LEVELS).long() for k, x in halves.items()}
        return {k: functional.one_hot(level, LEVELS).float() for k, level in levels.items()}


def paint(who, act):
    """Frames `(N, T, 3, 32, 32)` in [0, 1] of who `(N,)` acts how `(N, T)`."""
    frames = torch.zeros(*act.shape, 3, 32, 32)
    frames[..., :16] += ((who + 0.5) / LEVELS)[:, None, None, None, None]
    frames[..., 16:] += ((act + 0.5) / LEVELS)[..., None, None, None]
    return frames


@pytest.fixture
def known():
    generator = torch.Generator().manual_seed(0)
    who = torch.tensor([0, 1, 2, 3])
    act = torch.randint(0, LEVELS, (4, 5), generator=generator)
    act[:, 1:] = (act[:, :1] + torch.tensor([0, 1, 2, 3])) % LEVELS
    act[1] = (act[0] + 1) % LEVELS  # never what the first one does
    return Known(Reader().eval(), {"who": who}, {"act": act})


class TestJudge:
    """The judge of swaps: a wrong one would praise what it should not."""

    FIRST, OTHER = torch.tensor([0]), torch.tensor([1])

    def judge(self, known, who, act):
        frames = paint(who, act[:, 1:])[:, None]
        return known.judge(frames, content=self.FIRST, poses=self.OTHER)

    def test_a_swap_has_the_content_of_one_and_the_pose_of_the_other(self, known):
        who, act = known.content["who"], known.poses["act"]
        right = self.judge(known, who[:1], act[1:2])
        assert right["both"].shape == (1, 1, 4) and right["both"].all()
        unmoved = self.judge(known, who[:1], act[:1])
        assert unmoved["content"].all() and not unmoved["pose"].any() and not unmoved["both"].any()
        replaced = self.judge(known, who[1:2], act[1:2])
        assert (
            not replaced["content"].any() and replaced["pose"].all() and not replaced["both"].any()
        )

    def test_it_looks_at_every_frame(self, known):
        act = known.poses["act"][1:2].clone()
        act[0, 3] = (act[0, 3] + 1) % LEVELS
        found = self.judge(known, known.content["who"][:1], act)
        assert found["pose"][0, 0].tolist() == [1, 1, 0, 1]

    def test_all_attributes_must_be_right(self, known):
        classes = known.content["who"]
        stricter = known._replace(content={"who": classes, "act": classes})
        found = self.judge(stricter, classes[:1], known.poses["act"][1:2])
        assert found["who"].all() and not found["content"].all()


def test_content_is_that_of_its_own_sequence():
    content = Known(Reader().eval(), {"who": torch.tensor([0, 1, 2])})
    frames = paint(torch.tensor([0, 1, 3]), torch.zeros(3, 4))
    assert [content.shows(each, n).tolist() for n, each in enumerate(frames)] == [
        [1] * 4,
        [1] * 4,
        [0] * 4,
    ]


def test_what_stands_still_keeps_the_content_and_takes_no_pose(known):
    frames = (paint(known.content["who"], known.poses["act"]) * 255).round().to(torch.uint8)
    found = _bounds(frames, known)
    assert found[TRUTH]["both"].all()
    assert found[STILL]["content"].all() and not found[STILL]["pose"].all()


def test_nobody_is_swapped_with_themselves_or_a_neighbour():
    for count in (4, 5, 64):
        others = partners(count)
        assert sorted(others.tolist()) == list(range(count))
        distance = (others - torch.arange(count)).abs()
        assert distance.min() >= 2
    for count in (0, 1):
        with pytest.raises(ValueError, match="two sequences"):
            partners(count)


def test_swaps_are_measured_in_turns(tiny_model, noisy_frames, known, monkeypatch):
    model = tiny_model()
    frames = (noisy_frames(4, 5, 3, 32, 32) * 255).to(torch.uint8)
    ticks = []
    whole = swap_all(model, frames, seeds=[3, 4], known=known, tick=ticks.append)
    assert sum(ticks) == 4
    floats, own, others = frames.float() / 255, torch.arange(4), partners(4)
    true = sharpness(floats[:, 1:]).mean(1)[:, None, None]
    for kind, giver in (("swap", others), ("reconstruction", own)):
        found = whole[kind]
        made = swap(model, floats, floats[giver], seeds=[3, 4]).frames
        judged = known.judge(made, content=own, poses=giver)
        assert torch.equal(found.reading["content"], judged["content"])
        assert torch.equal(found.reading["pose"], judged["pose"])
        torch.testing.assert_close(found.sharpness, sharpness(made) / true)
        for sample in range(2):
            shown = torch.cat([floats[:, :1], made[:, sample]], dim=1)
            torch.testing.assert_close(found.motion[:, sample], movement(shown))
    monkeypatch.setattr(disentanglement, "PAIRS_AT_ONCE", 3)
    parts = swap_all(model, frames, seeds=[3, 4], known=known)
    for kind, one in whole.items():
        other = parts[kind]
        torch.testing.assert_close(one.sharpness, other.sharpness, rtol=1e-4, atol=1e-5)
        assert one.reading["pose"].shape == other.reading["pose"].shape
    blind = swap_all(model, frames, seeds=[3])
    assert not blind["swap"].reading and not blind["reconstruction"].reading


def test_whose_content_latents_matter_is_seen(tiny_model, noisy_frames):
    """The counter-test: the same swap with the content latents of B, from the same first frame."""
    frames = (noisy_frames(4, 5, 3, 32, 32) * 255).to(torch.uint8)
    made = swap_all(tiny_model(), frames, seeds=[3])
    assert [*made] == ["swap", "reconstruction", "content of B"]
    assert made["swap"].distance.eq(0).all()
    assert made["content of B"].distance.mean() > 0.1 < made["reconstruction"].distance.mean()
    model = tiny_model()
    with torch.no_grad():  # content that nobody reads: it comes from the first frame alone
        features, content = model.config.feature_dim, model.config.content_dim
        model.predictor.embed.weight[:, features : features + content] = 0
    assert swap_all(model, frames, seeds=[3])["content of B"].distance.max() < 1e-3
    assert [*swap_all(tiny_model(content_dim=0), frames, seeds=[3])] == ["swap", "reconstruction"]


def test_how_much_alike_sequences_move(noisy_frames):
    """Textures that travel: whatever they show, and however fast."""
    wide = [
        torch.nn.functional.interpolate(noisy_frames(1, 1, 3, 16, 16, seed=seed)[0], 160)
        for seed in range(3)
    ]

    def travel(picture, x, y):
        corners = [(40 + y * time, 40 + x * time) for time in range(4)]
        return torch.stack([picture[0, :, b : b + 64, a : a + 64] for b, a in corners])[None]

    right, fast, back, down = (
        movement(travel(picture, x, y))
        for picture, x, y in ((wide[0], 1, 0), (wide[1], 2, 0), (wide[2], -1, 0), (wide[0], 0, 1))
    )
    assert right.shape == (1, 3, 2 * 16)
    assert agreement(right, fast) > 0.95
    assert agreement(right, back) < -0.95
    assert abs(agreement(right, down)) < 0.1
    still = movement(travel(wide[0], 0, 0))
    assert agreement(still, right) == 0
