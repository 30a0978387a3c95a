"""Copies of replies side by side, one for each code that a reply is decoded from.

Open it to change how many copies are decoded together.

Shape legend: N replies, K copies of each, L tokens of the longest, S tokens of the longest context.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

CODES = 16  # most copies of a reply in one row
POSITIONS = 4096  # approximate number of tokens of replies and copies decoded together; limits memory


def similar_lengths(order: Tensor, lengths: Tensor, codes: int, rows: int) -> Iterator[Tensor]:
    """Parts of `order` that are decoded together, padded to their longest reply; at least one reply each.

    Args:
        order: (N,) replies by rising length.
        lengths: (N,) tokens of each reply.
        codes: copies of each.
        rows: most copies in a part, which also has at most about POSITIONS tokens.
    """
    begin, count = 0, len(order)
    while begin < count:
        end = begin + 1
        while end < count and (end + 1 - begin) * codes <= rows:
            if (end + 1 - begin) * codes * int(lengths[order[end]]) > POSITIONS:
                break
            end += 1
        yield order[begin:end]
        begin = end


def seen_by_copies(begin: Tensor, copies: int, longest: int) -> Tensor:
    """What each token of K copies of a reply sees: the conversation before it, and its own copy up to itself.

    Args:
        begin: (N,) where each reply begins in its conversation.
        copies: K.
        longest: L.

    Returns:
        (N, K L, S + K L), with S the largest value of `begin`.
    """
    steps = torch.arange(longest, device=begin.device)
    before = torch.arange(int(begin.max()), device=begin.device) < begin[:, None]  # (N, S)
    copy = torch.arange(copies, device=begin.device).repeat_interleave(longest)  # (K L,)
    step = steps.repeat(copies)
    own = (copy[:, None] == copy) & (step[:, None] >= step)  # (K L, K L)
    return torch.cat((before[:, None].expand(-1, len(copy), -1), own.expand(len(begin), -1, -1)), dim=-1)
