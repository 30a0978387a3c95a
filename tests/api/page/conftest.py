"""The page in a real browser, headless Chromium, with the real service and a small untrained model."""

from __future__ import annotations

import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from api.app import create_app, load_responder
from api.settings import PREFIX, Settings
from dialog_cvae.config import Decoding, TokenizerConfig
from dialog_cvae.generate.responder import Responder
from dialog_cvae.model.build import weights_of
from dialog_cvae.model_config import ModelConfig
from dialog_cvae.storage.checkpoint import Checkpoint
from dialog_cvae.storage.checkpoint_config import CheckpointConfig, Provenance
from dialog_cvae.text.tokenizer import Tokenizer
from tests.api.page.person import Person
from tests.conftest import make_conversations

FLAGS = (
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)
BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
TOPICS = ("AIR POLLUTION", "MUSIC", "PETS", "RECIPES/FOOD/COOKING", "PUBLIC EDUCATION")
DESKTOP = {"viewport": {"width": 1200, "height": 900}, "permissions": ["clipboard-read", "clipboard-write"]}
SEEDS = "{ let seed = 6; crypto.getRandomValues = (array) => array.fill((seed += 1)); }"
START_S = 60.0
PATIENCE_MS = 20_000


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of five topics that says random words, so that replies differ."""
    import torch

    from dialog_cvae.model.cvae import CVAE

    lines = [turn.text for conversation in make_conversations(60) for turn in conversation.utterances]
    tokenizer = Tokenizer.train(lines, TokenizerConfig())
    sizes = dict.fromkeys(("embedding", "utterance", "context", "latent", "decoder", "topic", "prior", "bow"), 8)
    model = ModelConfig(**{f"{name}_size": size for name, size in sizes.items()}, initialisation="torch")
    torch.manual_seed(0)
    weights = {name: 3 * array for name, array in weights_of(CVAE(model, len(tokenizer), len(TOPICS))).items()}
    config = CheckpointConfig(
        model=model,
        vocab_size=len(tokenizer),
        topics=TOPICS,
        decoding=Decoding(temperature=1.0, candidates=16, max_tokens=8),
        provenance=Provenance(data="sayings", licence="CC BY 4.0", step=3),
    )
    path = tmp_path_factory.mktemp("model") / "best"
    Checkpoint(config, weights, tokenizer).save(path)
    return path


@contextmanager
def serving(checkpoint: Path, load: Callable[[Settings], Responder] = load_responder, **settings: Any) -> Iterator[str]:
    """The URL of the service around a checkpoint, in a thread of this process."""
    with socket.create_server(("127.0.0.1", 0)) as listener, pytest.MonkeyPatch.context() as patch:
        for name in Settings.model_fields:
            patch.delenv(f"{PREFIX}{name.upper()}", raising=False)
        app = create_app(load, lambda: Settings(checkpoint=checkpoint, **settings))
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, ws="none", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            until = threading.Event()
            waited = 0.0
            while not server.started and thread.is_alive() and waited < START_S:
                until.wait(0.02)
                waited += 0.02
            assert server.started, "the service did not start"
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        finally:
            server.should_exit = True
            thread.join(START_S)


@pytest.fixture(scope="module")
def site(checkpoint: Path) -> Iterator[str]:
    """The page's address."""
    with serving(checkpoint) as url:
        yield url


@pytest.fixture(scope="module")
def guarded_site(checkpoint: Path) -> Iterator[tuple[str, str]]:
    """The address of a page whose service needs a key, and the key."""
    key = "correct-horse-battery"
    with serving(checkpoint, api_keys=key) as url:
        yield url, key


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Headless Chromium; skips if it or Playwright is missing."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")
    path = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if path is None:
        pytest.skip(f"needs one of {', '.join(BROWSERS)} on the path")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=path, args=list(FLAGS))
        yield chromium
        chromium.close()


@pytest.fixture
def visit(browser: Any, site: str) -> Iterator[Callable[..., Person]]:
    """Open the page in a context of its own: `visit(url, color_scheme=..., ...)`."""
    with ExitStack() as stack:

        def open_page(url: str = site, **options: Any) -> Person:
            context = opened(browser, options)
            stack.callback(context.close)
            return stack.enter_context(watched(context.new_page(), url))

        yield open_page


@pytest.fixture(scope="module")
def desktop(browser: Any) -> Iterator[Any]:
    """A page of the browser that tests share: opening one takes longer than most tests."""
    context = opened(browser, {})
    yield context.new_page()
    context.close()


@pytest.fixture
def person(desktop: Any, site: str) -> Iterator[Person]:
    """A user at a desktop who has just opened the page."""
    with watched(desktop, site) as user:
        yield user.arrive()
        desktop.evaluate("sessionStorage.clear()")


def opened(browser: Any, options: dict[str, Any]) -> Any:
    """A context of the browser in which the seeds that a page draws are 7, 8, 9, ..."""
    context = browser.new_context(**DESKTOP | options)
    context.set_default_timeout(PATIENCE_MS)
    context.add_init_script(SEEDS)
    return context


@contextmanager
def watched(page: Any, url: str) -> Iterator[Person]:
    """Checks of every test: the browser asks no other origin, and its console shows only expected messages."""
    person = Person(page, url)
    yield person
    person.leave()
    assert person.complaints == []
    assert all(asked.startswith(url) for asked in person.urls), person.urls
