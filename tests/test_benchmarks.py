"""The yardstick of the benchmarks computes what drsvg computes."""

import copy

import pytest
import torch

from benchmarks.textbook import Textbook, TextbookTraining
from drsvg_cli.config import TrainingConfig
from drsvg_cli.inference.rollout import predict
from drsvg_cli.model.discriminator import PoseDiscriminator
from drsvg_cli.model.losses import model_loss
from drsvg_cli.model.noise import BatchNoise

T, B, CONTEXT = 6, 3, 2


@pytest.fixture
def frames(noisy_frames):
    return noisy_frames(T, B, 3, 32, 32)


def test_the_textbook_draws_the_same_futures(tiny_model, frames):
    model = tiny_model()
    book = Textbook(copy.deepcopy(model)).eval()
    context = frames[:, :1].transpose(0, 1)
    expected = predict(model, context, 4, seeds=[5, 6]).frames[0]
    for number, seed in enumerate((5, 6)):
        torch.testing.assert_close(book.sample(context[0], 4, seed), expected[number])
    assert not torch.allclose(expected[0], expected[1], atol=1e-3)


def test_the_textbook_has_the_same_loss_and_learns(tiny_model, tiny_config, frames):
    model = tiny_model()
    noise = BatchNoise(1)
    drawn = [noise(torch.empty(T, B, latent.dim)) for latent in model.latents]
    discriminator = PoseDiscriminator(3)
    with torch.no_grad():
        terms, _ = model_loss(
            model,
            frames,
            context=CONTEXT,
            noise=BatchNoise(1),
            discriminator=discriminator,
        )
        book = Textbook(copy.deepcopy(model)).eval()
        reconstruction, kl, _ = book.loss(frames, CONTEXT, drawn)
    torch.testing.assert_close(reconstruction[0], terms.reconstruction)
    torch.testing.assert_close(kl[0], terms.content_kl + terms.pose_kl)
    training = TextbookTraining(model, tiny_config(), TrainingConfig())
    before = copy.deepcopy(training.model.state_dict())
    training.step(frames, CONTEXT, drawn)
    after = training.model.state_dict()
    assert not torch.equal(before["start.0.weight"], after["start.0.weight"])
