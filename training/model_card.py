"""The model card that goes with a checkpoint, one for each task, and the licence of its weights.

Open it to change the text of a card, or how the licences of several corpora are combined.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dialog_cvae.storage.checkpoint_config import CheckpointConfig

OWN_LICENCE = "that of the user's own conversations"
_AND_OWN = f" and {OWN_LICENCE}"


def joint_licence(licences: Sequence[str | None]) -> str | None:
    """The licence of weights that were fitted on several corpora in turn.

    Args:
        licences: of each corpus, None for a user's own; each may itself be the result of an earlier call.

    Returns:
        Every licence once; None where all texts are the user's own.
    """
    published = [licence.removesuffix(_AND_OWN).split("; ") for licence in licences if licence is not None]
    if not published:
        return None
    own = any(licence is None or licence.endswith(_AND_OWN) for licence in licences)
    return "; ".join(dict.fromkeys(name for names in published for name in names)) + (_AND_OWN if own else "")


def dialog_card(config: CheckpointConfig, metrics: Mapping[str, Any], command: str) -> str:
    """The card of a dialog model, Markdown: its data, validation and limits.

    Args:
        config: of the checkpoint.
        metrics: of its validation, by name.
        command: that fitted the model.
    """
    provenance = config.provenance
    model, topics = config.model, len(config.topics)
    kind = ("CVAE" if model.latent_size else "Decoder without z") + (" with bag-of-words loss" if model.bow else "")
    what = (
        "A conditional variational autoencoder that samples several replies to a conversation."
        if model.latent_size
        else "An encoder-decoder without a latent code: replies to a conversation differ by how words are drawn alone."
    )
    roles = f"; roles {', '.join(config.roles)}" if config.roles else ""
    licence = provenance.licence or OWN_LICENCE
    style = (f", text style `{provenance.style}`" if provenance.style else "") + _roles(config)
    return f"""# {kind} fitted on {provenance.data}

{what}

- Fitted on: {provenance.data}{style}; {topics} topics{roles}; {provenance.step} updates.
- Licence of the weights: {licence}.
- Command: `{command}`

## Validation at this step

{_table(metrics)}

ELBO, reconstruction and KL are nats for each response, with one latent sample; perplexities are over the corpus.

## Use

```python
import dialog_cvae

responder = dialog_cvae.load("path/to/this/folder")
```

## Limits

The model imitates the text it was fitted on, with its errors and opinions. It knows no facts, and a reply may be wrong,
rude or off the point: show its replies as suggestions to a person.
"""


def sentence_card(config: CheckpointConfig, metrics: Mapping[str, Any], command: str) -> str:
    """The card of a sentence model, Markdown: its data and validation. Arguments as for `dialog_card`."""
    model, provenance = config.sentence, config.provenance
    assert model is not None
    kind = "VAE of sentences" if model.latent_size else "Language model of sentences"
    return f"""# {kind} fitted on {provenance.data}

Made for measurements of posterior collapse, not for writing text.

- Fitted on: {provenance.data}; {provenance.step} updates; z has {model.latent_size} dimensions.
- Licence of the weights: {provenance.licence or OWN_LICENCE}.
- Command: `{command}`

## Validation at this step

{_table(metrics)}

ELBO, reconstruction and KL are nats for each sentence, with one latent sample; perplexities are over the corpus.
"""


def language_card(config: CheckpointConfig, metrics: Mapping[str, Any], command: str) -> str:
    """Markdown: what the adapters are, their backbone, data and validation; arguments as for `dialog_card`."""
    model, backbone, provenance = config.language, config.base, config.provenance
    assert model is not None
    assert backbone is not None
    kind = ("CVAE" if model.latent_size else "Adapters") + (" with bag-of-words loss" if model.bow else "")
    style = (f", text style `{provenance.style}`" if provenance.style else "") + _roles(config)
    return f"""# {kind} on {backbone.name}, fitted on {provenance.data}

Low-rank adapters of a pre-trained language model, and the small networks of a latent code: several replies to a
conversation. The language model's own weights are not in this folder.

- Language model: {backbone.name}, SHA-256 of its file `{backbone.sha256}`.
- Fitted on: {provenance.data}{style}; {provenance.step} updates; z has {model.latent_size} dimensions.
- Licence of the weights: {provenance.licence or OWN_LICENCE}.
- Command: `{command}`

## Validation at this step

{_table(metrics)}

ELBO, reconstruction and KL are nats for each reply, with one latent sample; `without_z` is the negative log likelihood
of the same adapters without z, which the ELBO is to be compared with. Perplexities are over the corpus.

## Limits

The model imitates the text that it and its language model were fitted on. A reply may be wrong, rude or off the point:
show its replies as suggestions to a person.
"""


def _roles(config: CheckpointConfig) -> str:
    """Whose replies were learnt, if not everyone's."""
    return f", replies of {' and '.join(config.respond_as)} alone" if config.respond_as else ""


def _table(metrics: Mapping[str, Any]) -> str:
    return "\n".join(
        ("| measure | value |", "|---|---|", *(f"| {name} | {_shown(v)} |" for name, v in metrics.items()))
    )


def _shown(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
