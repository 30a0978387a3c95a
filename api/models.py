"""The models that a process serves, by name: opened at the start, chosen by requests, and reloaded.

Open it to see what happens while a checkpoint is opened again: requests in work finish on the old model, which is then
closed, and later ones get the new model.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import NamedTuple

from api import logs
from api.batcher import Batcher
from api.checkpoints import NamedCheckpoint
from api.guard import set_refusals
from api.problems import UnknownModelError
from api.prometheus import Metrics
from api.room import Room
from api.service import Service, WorkerThread
from api.settings import Settings
from dialog_cvae.errors import DialogCvaeError
from dialog_cvae.generate.responder import Responder

Accepts = Callable[[str], bool]


class Outcome(NamedTuple):
    """The result of a reload for one checkpoint: `model` answers now; `reason` says why it is still the old one."""

    name: str
    model: str
    reason: str | None


@dataclass(eq=False)
class Slot:
    """A name under which a model is served; the model behind it changes when its checkpoint is reloaded.

    Attributes:
        checkpoint: the folder, and the name in the metrics.
        service: answers requests now.
        own_name: the name in answers. None means the model's own name: the checkpoint is the only one, without a name.
        former: the own names of earlier models of this slot; clients may still use them.
    """

    checkpoint: NamedCheckpoint
    service: Service
    own_name: str | None
    former: set[str] = field(default_factory=set)

    @property
    def name(self) -> str:
        """The name in answers, and in the list of models."""
        return self.own_name or self.service.responder.name

    @property
    def other_names(self) -> list[str]:
        """Further names that requests may use: the checkpoint's, and the own names of this and earlier models."""
        return [self.checkpoint.name, self.service.responder.name, *sorted(self.former)]


class Models:
    """All models of a process.

    Args:
        settings: the settings of the process; a reload does not change them.
        load: opens the checkpoint of settings that name one.
        accepts: the word filter, if there is one.
        metrics: receives the measurements.
    """

    def __init__(
        self, settings: Settings, load: Callable[[Settings], Responder], accepts: Accepts | None, metrics: Metrics
    ) -> None:
        self.settings, self._load, self._accepts, self._metrics = settings, load, accepts, metrics
        self.room, self.worker_thread = Room(settings.max_waiting), WorkerThread()
        self.slots: list[Slot] = []
        self.changed: Callable[[], None] = lambda: None
        self._reloading = asyncio.Lock()
        self._next: asyncio.Task[list[Outcome]] | None = None  # a reload that has not begun
        self._tasks: set[asyncio.Task[list[Outcome]]] = set()

    async def open(self) -> None:
        """Open all checkpoints, one after another, and let each model answer once.

        Raises:
            CheckpointError: one is missing or damaged.
            ConfigError: the device is not available, or a model gave no reply.
        """
        found = self.settings.checkpoints
        for each in found:
            own_name = each.name if each.given or len(found) > 1 else None
            service = await self._open(each, own_name)
            self.slots.append(Slot(each, service, own_name))
            self._metrics.describe(each.name, self._labels(service))

    async def close(self) -> None:
        """Cancel a reload, finish accepted requests, and end all threads."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for slot in self.slots:
            await asyncio.to_thread(slot.service.batcher.close)
        self.worker_thread.close()

    @property
    def names(self) -> list[str]:
        """The names of all models, the default first."""
        return [slot.name for slot in self.slots]

    @property
    def accepted_names(self) -> list[str]:
        """All names that a request may use."""
        return list(self._by_name())

    def _by_name(self) -> dict[str, Slot]:
        """The slots by all their names. If several models have the same own name, it means the first."""
        found = {slot.name: slot for slot in self.slots}
        for slot in self.slots:
            for name in slot.other_names:
                found.setdefault(name, slot)
        return found

    @property
    def default(self) -> Service:
        """The model of requests that name none."""
        return self.slots[0].service

    def named(self, name: str | None) -> Service:
        """The model of this name; None: the default.

        Raises:
            UnknownModelError: there is none.
        """
        if name is None:
            return self.default
        slot = self._by_name().get(name)
        if slot is None:
            raise UnknownModelError(name, self.names)
        return slot.service

    @contextmanager
    def lease(self, name: str | None) -> Iterator[Service]:
        """The model of this name, which is not closed before the end of the `with` block.

        Raises:
            UnknownModelError: there is none.
        """
        service = self.named(name)
        with service.used():
            yield service

    async def reload(self) -> list[Outcome]:
        """Open all checkpoints again, and replace each model by the new one.

        There is one reload at a time. Calls during a reload share the next one.
        """
        if self._next is None:
            self._next = asyncio.create_task(self._reload())
            self._tasks.add(self._next)
            self._next.add_done_callback(self._tasks.discard)
        return await asyncio.shield(self._next)

    async def _reload(self) -> list[Outcome]:
        async with self._reloading:
            self._next = None
            return [await self._replace(slot) for slot in self.slots]

    async def _replace(self, slot: Slot) -> Outcome:
        """Replace a slot's model; if the new one can't be used, the old one stays."""
        old = slot.service
        try:
            new = await self._open(slot.checkpoint, slot.own_name)
        except Exception as error:  # whatever is in the folder, the old model keeps answering
            known = isinstance(error, DialogCvaeError)
            reason = str(error) if known else f"{type(error).__name__}; the log has the traceback"
            line = {"model": slot.name, "folder": str(slot.checkpoint.folder), "reason": reason}
            logs.event("not reloaded", logging.ERROR, error=None if known else error, **line)
            return Outcome(slot.name, old.responder.name, reason)
        slot.former.add(old.responder.name)
        slot.service = new
        self._metrics.describe(slot.checkpoint.name, self._labels(new))
        self.changed()
        logs.event("reloaded", model=slot.name, checkpoint=new.responder.name, licence=new.licence)
        try:
            await old.unused()
        finally:
            await asyncio.to_thread(old.batcher.close)
        return Outcome(slot.name, new.responder.name, None)

    async def _open(self, checkpoint: NamedCheckpoint, own_name: str | None) -> Service:
        """Open a checkpoint now; return its service after its first reply."""
        settings = self.settings.of(checkpoint)
        responder = await asyncio.to_thread(self._load, settings)
        set_refusals(responder, settings, self._accepts)
        metrics = self._metrics.of_model(checkpoint.name)
        batcher = Batcher(responder, max_rows=settings.max_rows, metrics=metrics)
        service = Service(responder, batcher, settings, own_name, self.worker_thread)
        try:
            await service.warm_up()
            await self.worker_thread.run(lambda: service.topics)  # so that no request has to wait for it
        except BaseException:
            await asyncio.to_thread(batcher.close)
            raise
        batcher.share(self.room)  # only now: the first reply needs no place, and clients may have taken all places
        return service

    def _labels(self, service: Service) -> dict[str, str]:
        """The labels of the metric that describes a model."""
        return {
            "model": service.responder.name,
            "licence": service.licence or "",
            "engine": self.settings.engine_name,
            "version": version("dialog-cvae"),
        }
