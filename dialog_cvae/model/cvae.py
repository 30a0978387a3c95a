"""The conditional VAE of Zhao et al. (2017) and Fu et al. (2019): prior, recognition and generation networks.

Open it to change a network of the model.

Generation: z ~ p(z | c), x ~ p(x | z, c), with the condition c = [topic; responder's profile; other's profile;
context; responder's role]. Recognition: q(z | x, c). Without latent dimensions the model is p(x | c), an
encoder-decoder like HRED (Serban et al., 2016) with an exact likelihood.

Differences from the official code (github.com/snakeztc/NeuralDialog-CVAE, github.com/haofuml/cyclical_annealing), which
is meant by "there":

- The GRU is PyTorch's; see `encoders`.
- An unknown topic has a learnt vector; there it is an error. An unknown feature of a profile has a learnt value; there
  an unknown education is the code 9, so the feature is 9 / 3 = 3.
- The features of a profile are [age, education, female, male]; there [age, education, other, female]. There the strings
  for the sex are in quotes, so that the feature is always [1, 0].
- Where speakers have roles, such as customer and agent, each utterance of the context has its speaker's role beside
  its floor, and c has the role of the one who replies. There are none there.
- The pseudo-utterance `<d>` has no speaker, so its floor is 0; all checkpoints are trained so. There it is speaker A's,
  so its floor is 1 where A answers.
- 5 special tokens are added to the 10,000 most frequent words. There `<s>`, `</s>` and `<d>` are among the 10,000, and
  only `<pad>` and `<unk>` are added.
- Word dropout (off in the paper) never hides `<s>`; there it hides `<s>` too.
- An utterance that is too long keeps its beginning without `</s>` as a response, and both ends as context. There it
  keeps its beginning and `</s>`.
- A batch has windows from any positions of any conversations. There it has one position of 30 conversations of similar
  length, and a conversation that is already over repeats its last windows.
- Every utterance is a response, in training, validation and tests. There the last one of each conversation is not, and
  validation skips most positions of longer conversations; see `eval.latent.subset_perplexity`.

Shape legend: U utterances, L tokens, B windows, K context slots, Z latent, C the condition, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from dialog_cvae.data.batches import collate
from dialog_cvae.data.encoded_corpus import EncodedCorpus
from dialog_cvae.data.windows import Integers
from dialog_cvae.model.latent_model import Encoded, LatentModel, Vectors
from dialog_cvae.model.weights import UNIFORM_RANGE, condition_size, skip_size
from dialog_cvae.model_config import ModelConfig
from dialog_cvae.nn import distributions
from dialog_cvae.nn.decoder import Decoder, Dropout
from dialog_cvae.nn.devices import moved
from dialog_cvae.nn.encoders import ContextEncoder, UtteranceEncoder
from dialog_cvae.nn.posterior_norm import PosteriorNorm
from dialog_cvae.types import PROFILE_FEATURES, DialogBatch, Gaussian


class TensorBatch(NamedTuple):
    """`DialogBatch` as tensors, with the same fields; all lengths stay on the CPU, where packing needs them.

    `target_lengths` (B,) is the number of tokens to predict for each window: the response's, `</s>` included. `dropped`
    (B, T) is true where word dropout hides an input word from the decoder; None without word dropout.
    """

    tokens: Tensor
    lengths: Tensor
    context: Tensor
    context_lengths: Tensor
    floors: Tensor
    response: Tensor
    topic: Tensor
    profiles: Tensor
    profiles_known: Tensor
    roles: Tensor
    role: Tensor
    target_lengths: Tensor
    dropped: Tensor | None = None

    @classmethod
    def from_arrays(cls, batch: DialogBatch, device: torch.device | str = "cpu") -> TensorBatch:
        """Copy a batch to a device; see `moved`."""
        tensors = {name: torch.from_numpy(array) for name, array in batch._asdict().items()}
        for name in tensors.keys() - {"lengths", "context_lengths"}:
            tensors[name] = moved(tensors[name], device)
        return cls(**tensors, target_lengths=torch.from_numpy(batch.lengths[batch.response] - 1))

    @property
    def targets(self) -> Tensor:
        """(B, T) ids of `x_1 ... x_n </s>`, then padding."""
        return self.tokens[self.response, 1 : int(self.target_lengths.max()) + 1]

    @property
    def inputs(self) -> Tensor:
        """(B, T) ids of `<s> x_1 ... x_n`, then padding; dropped words become padding, whose embedding is zero."""
        inputs = self.tokens[self.response, : int(self.target_lengths.max())]
        return inputs if self.dropped is None else inputs.masked_fill(self.dropped, 0)

    def repeated(self, rows: Tensor) -> TensorBatch:
        """The batch with the responses of windows `rows` (R,), which may repeat; `rows` is on the CPU."""
        there = moved(rows, self.response.device)
        return self._replace(response=self.response[there], target_lengths=self.target_lengths[rows])


class CVAE(LatentModel):
    """The model. Noise is an argument, so outputs depend only on parameters and inputs.

    Args:
        config: sizes.
        vocab_size: V, with the special tokens.
        topics: number of known topics; one more row is `<unknown>`.
        roles: number of known roles; one more row is the unknown one. Without `role_size` there are none.
    """

    def __init__(self, config: ModelConfig, vocab_size: int, topics: int, roles: int = 0) -> None:
        super().__init__()
        self.config = config
        condition, added = condition_size(config), skip_size(config)
        self.embedding = nn.Embedding(vocab_size, config.embedding_size, padding_idx=0)
        self.topic = nn.Embedding(topics + 1, config.topic_size)
        self.role = nn.Embedding(roles + 1, config.role_size) if config.role_size else None
        self.unknown_profile = nn.Parameter(torch.zeros(PROFILE_FEATURES))
        self.utterance_encoder = UtteranceEncoder(config.embedding_size, config.utterance_size)
        self.context_encoder = ContextEncoder(2 * config.utterance_size, config.context_size, config.role_size)
        self.prior_network: nn.Sequential | None = None
        self.recognition_network: nn.Linear | None = None
        if config.latent_size:
            self.prior_network = nn.Sequential(
                nn.Linear(condition, config.prior_size),
                nn.Tanh(),
                nn.Linear(config.prior_size, 2 * config.latent_size),
            )
            self.recognition_network = nn.Linear(condition + 2 * config.utterance_size, 2 * config.latent_size)
        self.mean_norm: PosteriorNorm | None = None
        if config.latent_size and config.posterior_norm:
            self.mean_norm = PosteriorNorm(config.latent_size, config.posterior_norm)
        start_size = condition + config.latent_size
        self.decoder = Decoder(config.embedding_size, config.decoder_size, start_size, vocab_size, added)
        self.bow_head = (
            nn.Sequential(nn.Linear(start_size, config.bow_size), nn.Tanh(), nn.Linear(config.bow_size, vocab_size))
            if config.bow
            else None
        )
        self.initialise((self,))

    @torch.no_grad()
    def initialise(self, modules: Sequence[nn.Module]) -> None:
        """Initialise as the official code does: U(-0.08, 0.08) for embeddings, recurrent kernels and the output
        projection; 1 for GRU gate biases; Xavier and zero biases for the fully connected layers.
        """
        if self.config.initialisation == "torch":
            return
        for module in (each for part in modules for each in part.modules()):
            if isinstance(module, nn.Embedding):
                module.weight.uniform_(-UNIFORM_RANGE, UNIFORM_RANGE)
            elif isinstance(module, nn.GRU | nn.GRUCell):
                for name, parameter in module.named_parameters():
                    if name.startswith("weight"):
                        parameter.uniform_(-UNIFORM_RANGE, UNIFORM_RANGE)
                    else:
                        parameter.zero_()
                        if name.startswith("bias_ih"):
                            parameter[: 2 * module.hidden_size] = 1.0  # reset and update gates
            elif isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        self.decoder.output.weight.uniform_(-UNIFORM_RANGE, UNIFORM_RANGE)
        self.embedding.weight[0] = 0.0

    def batch(self, corpus: EncodedCorpus, chosen: Integers, device: torch.device | str = "cpu") -> TensorBatch:
        """The windows that end with the utterances `chosen` (B,), on a device."""
        return TensorBatch.from_arrays(collate(corpus, chosen, self.config.max_context), device)

    def encode(self, batch: TensorBatch) -> Encoded:
        """Encode every utterance of the batch once, then every window from those vectors."""
        utterances = self.utterance_encoder(self.embedding, batch.tokens, batch.lengths)
        roles = () if self.role is None else (batch.roles, self.role.weight)
        context = self.context_encoder(utterances, batch.context, batch.context_lengths, batch.floors, *roles)
        profiles = torch.where(batch.profiles_known > 0, batch.profiles, self.unknown_profile)  # (B, 2, 4)
        responder = () if self.role is None else (self.role(batch.role),)
        condition = torch.cat((self.topic(batch.topic), profiles.flatten(1), context, *responder), dim=-1)
        return Vectors(condition, utterances[batch.response])

    def prior(self, condition: Tensor) -> Gaussian:
        """p(z | c): (B, C) -> Gaussian of (B, Z)."""
        if self.prior_network is None:
            return _no_latent(condition)
        with torch.autocast(condition.device.type, enabled=False):  # a small product, and the KL needs the precision
            return Gaussian(*self.prior_network(condition).chunk(2, dim=-1))

    def posterior(self, encoded: Encoded) -> Gaussian:
        """q(z | x, c) by the recognition network: Gaussian of (B, Z).

        With `posterior_norm` the network's mean is normalised and used as the distance from the prior's mean, in units
        of the prior's standard deviation; see `PosteriorNorm`.
        """
        if self.recognition_network is None:
            return _no_latent(encoded.condition)
        with torch.autocast(encoded.condition.device.type, enabled=False):
            mean, logvar = self.recognition_network(torch.cat((encoded.condition, encoded.response), dim=-1)).chunk(
                2, dim=-1
            )
        if self.mean_norm is not None:
            mean = distributions.sample(self.prior(encoded.condition), self.mean_norm(mean))
        return Gaussian(mean, logvar)

    def reconstruction(self, batch: TensorBatch, encoded: Encoded, z: Tensor, dropout: Dropout | None = None) -> Tensor:
        """(B,) -log p(x | z, c) in nats, summed over the response's tokens and `</s>`."""
        state = self.decoder.initial_state(encoded.condition, z)
        embedded = self.embedding(batch.inputs)
        added = z if skip_size(self.config) else None
        losses = self.decoder.teacher_forced(embedded, batch.targets, batch.target_lengths, state, dropout, added)
        return losses.per_example(len(z))

    def bag_of_words(self, batch: TensorBatch, encoded: Encoded, z: Tensor) -> Tensor | None:
        """(B,) -log of the bag-of-words head, summed over the response's tokens and `</s>`; None without the head.

        Zhao et al. (2017), section 3.3: the words of x are predicted from z and c without their order.
        """
        if self.bow_head is None:
            return None
        targets = batch.targets
        logits = self.bow_head(torch.cat((encoded.condition, z), dim=-1))
        log_probs = torch.log_softmax(logits.to(z.dtype), dim=-1)  # (B, V)
        positions = torch.arange(targets.shape[1], device=targets.device)
        real = positions < moved(batch.target_lengths, targets.device)[:, None]
        return -(log_probs.gather(1, targets) * real).sum(-1)

    def inference_parameters(self) -> Iterator[nn.Parameter]:
        """phi: the recognition network; the encoders are shared with prior and generation."""
        for part in (self.recognition_network, self.mean_norm):
            if part is not None:
                yield from part.parameters()

    def generation_modules(self) -> Sequence[nn.Module]:
        """theta: the decoder and, if there is one, the bag-of-words head."""
        return (self.decoder,) if self.bow_head is None else (self.decoder, self.bow_head)


def _no_latent(condition: Tensor) -> Gaussian:
    """A Gaussian without dimensions, (B, 0): its samples are empty and its KL is 0."""
    nothing = condition.new_zeros(len(condition), 0)
    return Gaussian(nothing, nothing)
