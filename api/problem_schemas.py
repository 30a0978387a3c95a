"""The body of a refusal: a problem document (RFC 9457).

Open it to change its fields; `api.problems` makes these documents.
"""

from __future__ import annotations

from pydantic import Field

from api.schema import Schema

PROBLEM_TYPE = "application/problem+json"  # the media type of problem documents


class Problem(Schema):
    """Why the server did not answer, after RFC 9457."""

    type: str = Field(description="kind of problem, for programs: a stable relative URI, or about:blank")
    title: str = Field(description="the kind in words")
    status: int = Field(description="the HTTP status")
    detail: str = Field(description="what is wrong with this request, in words")
    instance: str = Field(description="this request as a URI, which ends in its X-Request-ID; the server logs it")


class FieldProblem(Schema):
    """One error in a request."""

    loc: list[str | int] = Field(description="path to the field, beginning with `body`")
    msg: str = Field(description="names the field, its limit and the value")
    type: str = Field(description="kind of problem, for programs")


class InvalidRequest(Problem):
    """The errors in a request, at most 20."""

    errors: list[FieldProblem]
