"""What a GPU replays is what it would have computed; elsewhere nothing is recorded."""

import copy

import pytest
import torch

from drsvg_cli.config import DataConfig, Recipe, TrainingConfig
from drsvg_cli.training import step as training_step
from drsvg_cli.training.cuda_graph import Recorded
from drsvg_cli.training.step import Learner

CPU = torch.device("cpu")
gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU with CUDA")


def test_elsewhere_every_call_computes():
    plans = []

    def double(plan, inputs):
        plans.append(plan)
        return 2 * inputs[0]

    recorded = Recorded(double, CPU, torch.Generator())
    results = [float(recorded("a", (torch.tensor(float(n)), None))) for n in range(4)]
    assert results == [0, 2, 4, 6] and plans == ["a"] * 4


@gpu
def test_a_replay_takes_new_inputs_and_new_noise():
    device, plans = torch.device("cuda"), []
    generator = torch.Generator(device)

    def noisy(plan, inputs):
        plans.append(plan)
        return plan * inputs[0] + torch.randn(3, generator=generator, device=device)

    recorded = Recorded(noisy, device, generator)
    for number in range(6):
        for plan in (1, 10):
            generator.manual_seed(number)
            found = recorded(plan, (torch.full((3,), float(number), device=device), None)).clone()
            generator.manual_seed(number)
            noise = torch.randn(3, generator=generator, device=device)
            torch.testing.assert_close(found, plan * number + noise)
    assert sorted(plans) == [1, 1, 10, 10], "the third call must not run Python again"


def test_a_plan_tells_which_tensors_there_are(tiny_config, noisy_frames):
    """A usual step and a swapped one may have one observed frame and start from the first one."""
    training = TrainingConfig(batch=2, swapped=0.5, blind=0.3)
    data = DataConfig(context=2, horizon=2, shortest_context=1)
    recipe = Recipe("r", model=tiny_config(), data=data, training=training)
    frames, kinds = noisy_frames(4, 2, 3, 32, 32), {}
    for step in range(200):
        plan, inputs = training_step._drawn(recipe, step, frames, None)
        there = tuple(given is not None for given in inputs)
        assert kinds.setdefault(plan, there) == there
    assert {plan.swapped for plan in kinds if plan[:2] == (1, 0)} == {False, True}


@gpu
@pytest.mark.parametrize(
    ("head", "settings"),
    [
        ("pixels", {}),
        ("pixels", {"swapped": 0.5, "blind": 0.3, "decoded": 2}),
        ("warp", {"motion": 0.02, "drawing": 3e-3, "closed_loop": True, "prior_dropout": 0.5}),
    ],
)
def test_replayed_steps_learn_what_computed_ones_learn(tiny_config, noisy_frames, head, settings):
    device = torch.device("cuda")
    model = tiny_config(normalization="group", head=head)
    training = TrainingConfig(batch=4, steps=40, kl_warmup=5, autoencoded_steps=6, **settings)
    data = DataConfig(context=3, horizon=4, shortest_context=1)
    recipe = Recipe("r", "", model=model, data=data, training=training)
    frames = [noisy_frames(7, 4, 3, 32, 32).to(device).roll(n, -1) for n in range(3)]
    weights, reports = [], []
    for replayed in (True, False):
        learner = Learner(recipe, device, None)
        if not replayed:
            learner._update = learner._updated
        reports.append([learner.learn(frames[step % 3]) for step in range(24)])
        weights.append(copy.deepcopy(learner.average.state_dict()))
    assert learner.step == 24
    for one, two in zip(*reports, strict=True):
        assert one == pytest.approx(two, rel=0.02, abs=2e-3)
    for name, one in weights[0].items():
        torch.testing.assert_close(one, weights[1][name], rtol=0.02, atol=2e-3)


@gpu
def test_a_run_moves_between_devices(tiny_config, noisy_frames):
    recipe = Recipe(
        "r", model=tiny_config(), data=DataConfig(context=3, horizon=4), training=TrainingConfig()
    )
    frames, learner = noisy_frames(7, 4, 3, 32, 32), Learner(recipe, CPU, None)
    for name in ("cpu", "cuda", "cpu", "cuda"):
        state, device = learner.state(), torch.device(name)
        learner = Learner(recipe, device, None)
        learner.restore(state)
        for _ in range(3):
            assert learner.learn(frames.to(device))["reconstruction"] > 0
    assert learner.step == 12
