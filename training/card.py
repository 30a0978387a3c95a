"""The model card that goes with a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dialog_cvae.checkpoint import Provenance
from dialog_cvae.config import ModelConfig


def model_card(
    provenance: Provenance, model: ModelConfig, topics: int, metrics: Mapping[str, Any], command: str
) -> str:
    """Markdown for people: what the model is, what it saw, what was measured, what it must not be used for."""
    kind = "CVAE with bag-of-words loss" if model.bow else "CVAE"
    licence = provenance.licence or "that of the conversations it was fitted on, which are its user's own"
    style = f", text style `{provenance.style}`" if provenance.style else ""
    figures = "\n".join(f"| {name} | {_shown(value)} |" for name, value in metrics.items())
    return f"""# {kind} fitted on {provenance.data}

A conditional variational autoencoder that samples several replies to a conversation.

- Fitted on: {provenance.data}{style}; {topics} topics; {provenance.step} updates.
- Licence of the weights: {licence}.
- Command: `{command}`

## Validation at this step

| measure | value |
|---|---|
{figures}

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


def _shown(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
