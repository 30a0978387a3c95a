"""An Adam optimiser that stops updating after a loss or gradient that is not finite.

Open this to change how an update is skipped.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


class GuardedAdam(torch.optim.Adam):
    """PyTorch's fused Adam, which changes nothing from the first forbidden update on.

    The decision stays on the device, where the fused kernels read `found_inf`, as for `torch.amp.GradScaler`. So the
    host need not wait for it: it may read the loss many updates later, and weights, moments and their count are still
    those from before the forbidden update.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float) -> None:
        super().__init__(parameters, lr=lr, fused=True)
        self.found_inf = torch.zeros((), device=self.param_groups[0]["params"][0].device)

    def forbid_unless(self, allowed: Tensor) -> None:
        """Forbid the next update and all after it unless a scalar truth value on the device is true."""
        self.found_inf = torch.maximum(self.found_inf, (~allowed).to(self.found_inf.dtype))
