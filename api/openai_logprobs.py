"""The log probabilities of a choice's tokens, in OpenAI's form.

Open it to see how a token is spelled, and which tokens belong to a choice that `stop` cuts or to a word of a stream.
Each log probability is log p(token | z, c, earlier tokens) at temperature 1. The token that ends a reply is not listed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from api.openai_schemas import ChoiceLogprobs, TokenLogprob, TopLogprob
from dialog_cvae.generate.codec import Codec, tidied_pieces
from dialog_cvae.generate.decoding import TokenScore
from dialog_cvae.generate.question import Reply


def logprobs(reply: Reply, codec: Codec) -> ChoiceLogprobs:
    """The log probabilities of a reply's tokens.

    If the model wrote the reply, the joined bytes of the tokens are its text. A reply from the training conversations
    is listed as the model reads it, which may be in lower case.
    """
    scores = reply.scores[:-1] if reply.finished else reply.scores
    ids = [score.token for score in scores]
    own = tidied_pieces([piece or b"" for piece in codec.spelled(ids)])
    others = codec.spelled_instead(ids, [[token for token, _ in score.likeliest] for score in scores])
    return ChoiceLogprobs(
        content=[
            _token(score, piece, instead, codec, first=not place)
            for place, (score, piece, instead) in enumerate(zip(scores, own, others, strict=True))
        ]
    )


def _token(
    score: TokenScore, own: bytes, instead: Sequence[bytes | None], codec: Codec, *, first: bool
) -> TokenLogprob:
    """One token and the likeliest tokens in its place, spelled as they would be there."""
    others = []
    for (token, log_prob), spelled in zip(score.likeliest, instead, strict=True):
        piece = own if token == score.token else spelled
        if piece is None:
            others.append(TopLogprob(token=codec.token_name(token), bytes=None, logprob=log_prob))
        else:
            piece = piece.lstrip(b" ") if first else piece
            others.append(TopLogprob(token=_shown(piece), bytes=list(piece), logprob=log_prob))
    return TokenLogprob(token=_shown(own), bytes=list(own), logprob=score.log_prob, top_logprobs=others)


def _shown(piece: bytes) -> str:
    r"""The bytes as text; bytes that are not whole characters are escaped, such as `\xf0\x9f`, as OpenAI does."""
    try:
        return piece.decode()
    except UnicodeDecodeError:
        return "".join(f"\\x{byte:02x}" for byte in piece)


def cut(found: ChoiceLogprobs, content: str) -> ChoiceLogprobs:
    """The tokens that begin within `content`, a text that the reply begins with."""
    return next(split(found, [content, ""]))


def split(found: ChoiceLogprobs, parts: Sequence[str]) -> Iterator[ChoiceLogprobs]:
    """The tokens of each part of a reply: those that begin in the part. The last part also gets all remaining tokens.

    Spaces do not count: a reply from the training conversations may have them in other places.
    """
    first, begin, end = 0, 0, 0
    for number, part in enumerate(parts, start=1):
        last, end = first, end + _size(part.encode())
        while last < len(found.content) and (begin < end or number == len(parts)):
            begin += _size(bytes(found.content[last].bytes or ()))
            last += 1
        yield ChoiceLogprobs(content=found.content[first:last])
        first = last


def _size(text: bytes) -> int:
    return len(text) - text.count(b" ")
