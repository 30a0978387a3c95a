"""The documentation page works without internet."""

from __future__ import annotations

import re

import pytest

from api.documentation import FOLDER, SERVED


def test_the_page_names_no_other_host_and_all_its_files_are_served(client):
    page = client.get("/docs")
    assert page.status_code == 200
    assert "//" not in page.text
    named = set(re.findall(r'(?:src|href)="docs/([^"]+)"', page.text))
    assert named == SERVED
    for name in named:
        answer = client.get(f"/docs/{name}")
        assert answer.content == (FOLDER / name).read_bytes()
        assert answer.headers["content-security-policy"] == page.headers["content-security-policy"]


def test_its_policy_allows_no_other_host_and_no_inline_script(client):
    policy = client.get("/docs").headers["content-security-policy"]
    directives = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert directives["default-src"] == "'self'"
    assert "script-src" not in directives
    assert "connect-src" not in directives
    assert "http" not in policy


def test_it_loads_this_servers_document_and_uses_no_validator(client):
    script = client.get("/docs/start.js").text
    (url,) = re.findall(r'url: "(.+?)"', script)
    assert client.get(f"/{url}").json()["openapi"].startswith("3.")
    assert "validatorUrl: null" in script


@pytest.mark.parametrize("name", ["README.md", "nothing.js", "..%2fapp.py"])
def test_nothing_else_is_served(client, name):
    answer = client.get(f"/docs/{name}")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


def test_redoc_redirects_here(client):
    answer = client.get("/redoc", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (307, "docs")


def test_it_needs_no_key_and_works_without_the_page(serve, stub):
    client = serve(stub, api_keys="a-key-of-sufficient-length", page=False)
    assert client.get("/docs").status_code == 200
    assert client.get("/docs/start.js").status_code == 200
