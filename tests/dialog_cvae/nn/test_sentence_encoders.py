"""The convolutions by hand and by plain loops, and words' vectors of length 1."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from dialog_cvae.model.sentence_vae import SentenceBatch, SentenceVAE
from dialog_cvae.model_config import SentenceModelConfig
from dialog_cvae.nn.sentence_encoders import CNNEncoder, WordEmbedding


def config(**fields: object) -> SentenceModelConfig:
    sizes = {"encoder": "cnn", "embedding_size": 3, "filters": 2, "filter_width": 3, "max_tokens": 6}
    return SentenceModelConfig.model_validate(sizes | fields)


def test_sizes_are_the_released_ones() -> None:
    encoder = CNNEncoder(SentenceModelConfig(encoder="cnn", max_tokens=17))
    assert encoder.width == 25
    shapes = [tuple(layer.weight.shape) for layer in (encoder.first, encoder.second, encoder.third)]
    assert shapes == [(300, 256, 5), (600, 300, 5), (900, 600, 4)]
    assert encoder(torch.randn(2, 17, 256)).shape == (2, encoder.output_size)


def test_by_hand() -> None:
    """Filters of three places, each weight 1, over two words of one dimension, with W = 4 + 2 * 2 = 8."""
    encoder = CNNEncoder(config(embedding_size=1, filters=1, max_tokens=4))
    with torch.no_grad():
        for layer in (encoder.first, encoder.second, encoder.third):
            layer.weight.fill_(1.0)
            layer.bias.zero_()
        encoder.first.bias.fill_(-1.0)
        encoder.third.weight[:] = torch.tensor([0.1, -0.1, 0.01])[:, None, None].expand(3, 2, 1)
    # <s> (9) is left out: 0 0 2 3 0 0 0 0; sums of three in steps of two, less 1: 1, 4, -1, of which the last is cut
    # off at 0; both filters above have their sum, 5, and the third layer's weigh it twice
    found = encoder(torch.tensor([[[9.0], [2.0], [3.0]]]))
    expected = torch.tanh(torch.tensor([[1.0, -1.0, 0.1]]))
    torch.testing.assert_close(found, expected)


def naive(encoder: CNNEncoder, sentence: Tensor) -> Tensor:
    """The same for one sentence (L, E), place by place."""
    rows = [torch.zeros_like(sentence[0])] * encoder.margin + list(sentence[1:])
    rows += [torch.zeros_like(sentence[0])] * (encoder.width - len(rows))
    for layer, act, step in (
        (encoder.first, torch.relu, 2),
        (encoder.second, torch.relu, 2),
        (encoder.third, torch.tanh, 1),
    ):
        kernel = layer.weight.shape[2]
        rows = [
            act(layer.bias + sum(layer.weight[:, :, k] @ rows[begin + k] for k in range(kernel)))
            for begin in range(0, len(rows) - kernel + 1, step)
        ]
    (found,) = rows
    return found


@pytest.mark.parametrize("width", [3, 4, 5])
@pytest.mark.parametrize("length", [2, 3, 6, 9])
def test_agrees_with_plain_loops_and_sees_no_neighbours(width: int, length: int) -> None:
    torch.manual_seed(0)
    encoder = CNNEncoder(config(filter_width=width, max_tokens=9)).double()
    sentences = torch.randn(4, length, 3, dtype=torch.float64)
    found = encoder(sentences)
    for one, sentence in zip(found, sentences, strict=True):
        torch.testing.assert_close(one, naive(encoder, sentence))
        torch.testing.assert_close(one, encoder(sentence[None])[0])


def test_the_width_is_fixed_so_that_zeros_behind_change_nothing() -> None:
    encoder = CNNEncoder(config(max_tokens=9)).double()
    sentence = torch.randn(1, 5, 3, dtype=torch.float64)
    longer = torch.cat((sentence, torch.zeros(1, 4, 3, dtype=torch.float64)), dim=1)
    torch.testing.assert_close(encoder(sentence), encoder(longer))
    assert encoder.width == 13


@pytest.mark.parametrize("width", [3, 4, 5])
@pytest.mark.parametrize("most", range(5, 18))
def test_every_word_counts_and_the_start_does_not(width: int, most: int) -> None:
    torch.manual_seed(0)
    encoder = CNNEncoder(config(filters=16, max_tokens=most, filter_width=width)).double()
    sentence = torch.randn(1, most, 3, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(encoder(sentence).sum(), sentence)
    assert (gradient[0].norm(dim=1) > 0).tolist() == [False] + [True] * (most - 1)


def test_a_sentence_shorter_than_a_filter_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="max_tokens must be at least filter_width, 7, for the convolutions, but is 6"):
        config(filter_width=7)


def test_vectors_of_length_one_in_encoder_decoder_and_softmax() -> None:
    torch.manual_seed(0)
    words = WordEmbedding(5, 3, unit=True)
    ids = torch.tensor([[1, 4], [0, 1]])
    torch.testing.assert_close(words(ids).norm(dim=-1), torch.tensor([[1.0, 1.0], [0.0, 1.0]]))
    torch.testing.assert_close(words(ids)[0, 1], words.weight[4] / words.weight[4].norm())
    words.vectors.square().sum().backward()
    assert words.weight.grad is not None
    assert torch.isfinite(words.weight.grad).all()
    sizes = config(unit_embedding=True, tied_output=True, shared_embedding=True, decoder_size=4, latent_size=2)
    model = SentenceVAE(sizes, 7)
    batch = SentenceBatch(torch.tensor([[2, 4, 5, 3]]))
    noise = torch.randn(1, 2)
    before = model(batch, noise)
    with torch.no_grad():
        model.embedding.weight *= torch.linspace(0.5, 3, 7)[:, None]
    after = model(batch, noise)
    torch.testing.assert_close(after.reconstruction, before.reconstruction)
    torch.testing.assert_close(after.kl, before.kl)
