"""Processes that train one network together, each on a card of its own, through Hugging Face's accelerate."""

from __future__ import annotations

import multiprocessing
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from importlib.util import find_spec
from multiprocessing import connection
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from bench.errors import MissingInputError

__all__ = ["Team", "recruit"]

#: How long the others wait for one of them; validation is done by the first alone.
PATIENCE = timedelta(hours=4)

Value = TypeVar("Value")


class Team:
    """A process on its own.

    Attributes
    ----------
    rank, size : int
        The number of this process, 0 for the first, and how many there are.
    """

    rank = 0
    size = 1

    def module(self, network: nn.Module) -> nn.Module:
        """What to call instead of ``network``, so that gradients are shared."""
        return network

    def waiting(self, module: nn.Module) -> AbstractContextManager[None]:
        """Where gradients are kept back, to be shared later."""
        return nullcontext()

    def same(self, value: Value) -> Value:
        """The value that the first process has."""
        return value

    def total(self, tensor: Tensor) -> Tensor:
        """The sum over all processes."""
        return tensor

    def all_of(self, value: Value) -> list[Value]:
        """The values of all processes, by rank."""
        return [value]

    def random(self, device: torch.device) -> dict[str, Tensor]:
        """The states of the random generators of all processes, by name."""
        own = {"cpu": torch.get_rng_state()}
        if device.type == "cuda":
            own["cuda"] = torch.cuda.get_rng_state(device)
        return {
            f"random/{rank}/{kind}": state
            for rank, states in enumerate(self.all_of(own))
            for kind, state in states.items()
        }

    def set_random(self, states: dict[str, Tensor], device: torch.device) -> None:
        """Go on with what :meth:`random` gave."""
        torch.set_rng_state(states[f"random/{self.rank}/cpu"])
        if device.type == "cuda":
            torch.cuda.set_rng_state(states[f"random/{self.rank}/cuda"], device)


class _Member(Team):
    """One process of several."""

    def __init__(self, device: torch.device) -> None:
        from accelerate import Accelerator, InitProcessGroupKwargs

        wait = InitProcessGroupKwargs(timeout=PATIENCE)
        self._accelerator = Accelerator(cpu=device.type == "cpu", kwargs_handlers=[wait])
        self.rank, self.size = self._accelerator.process_index, self._accelerator.num_processes

    @property
    def device(self) -> torch.device:
        """The card of this process."""
        return self._accelerator.device

    def module(self, network: nn.Module) -> nn.Module:
        """See :meth:`Team.module`."""
        return self._accelerator.prepare_model(network)

    def waiting(self, module: nn.Module) -> AbstractContextManager[None]:
        """See :meth:`Team.waiting`."""
        return self._accelerator.no_sync(module)

    def same(self, value: Value) -> Value:
        """See :meth:`Team.same`."""
        from accelerate.utils import broadcast_object_list

        return broadcast_object_list([value])[0]

    def total(self, tensor: Tensor) -> Tensor:
        """See :meth:`Team.total`."""
        return self._accelerator.reduce(tensor.clone(), reduction="sum")

    def all_of(self, value: Value) -> list[Value]:
        """See :meth:`Team.all_of`."""
        from accelerate.utils import gather_object

        return gather_object([value])

    def dissolve(self) -> None:
        """Leave the group, so that another may be formed."""
        from accelerate.state import AcceleratorState, GradientState

        AcceleratorState().destroy_process_group()
        AcceleratorState._reset_state(reset_partial_state=True)
        GradientState._reset_state()


@contextmanager
def recruit(size: int, device: torch.device, follow: Callable[..., None], *arguments: Any) -> Iterator[Team]:
    """Start the other processes of a team; this one is its first.

    Parameters
    ----------
    size : int
        Of the team; 1: this process stays alone.
    device : torch.device
        ``cuda``: each process has a card; ``cpu``: they share the processor.
    follow : callable
        A function of a module, called in each other process with its team, its device and ``arguments``.

    Raises
    ------
    MissingInputError
        When accelerate is not installed, or there are not as many cards.
    """
    if size == 1:
        yield Team()
        return
    if find_spec("accelerate") is None:
        raise MissingInputError(
            f"`processes: {size}` needs the package accelerate: pip install 'llm-rec-bench[multi-gpu]'"
        )
    if device.type == "cuda" and torch.cuda.device_count() < size:
        raise MissingInputError(f"`processes: {size}`, but there are {torch.cuda.device_count()} graphics cards")
    place = _meeting_place(size)
    context = multiprocessing.get_context("spawn")
    others = [
        context.Process(target=_join, args=(rank, place, device, follow, arguments), daemon=True)
        for rank in range(1, size)
    ]
    for process in others:
        process.start()
    done = threading.Event()
    threading.Thread(target=_end_with_others, args=(others, done), daemon=True).start()
    try:
        with _at(place, 0):
            member = _Member(device)
            try:
                yield member
            finally:
                member.dissolve()
        for process in others:
            process.join()
    finally:
        done.set()
        for process in others:
            process.kill()


def _join(
    rank: int, place: dict[str, str], device: torch.device, follow: Callable[..., None], arguments: tuple[Any, ...]
) -> None:
    """Be a process other than the first, for as long as that lives."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with _at(place, rank):
        member = _Member(device)
        follow(member, member.device, *arguments)
        member.dissolve()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _end_with_others(others: list[multiprocessing.process.BaseProcess], done: threading.Event) -> None:
    """End this process, like any launcher of teams, when another fails: it would wait for it for hours."""
    connection.wait([process.sentinel for process in others])
    failed = [process.exitcode for process in others if process.exitcode]
    if failed and not done.is_set():
        print(f"a process of the team ended with exit code {failed[0]}; see its error above", file=sys.stderr)
        os._exit(1)


def _meeting_place(size: int) -> dict[str, str]:
    """Variables by which the processes find each other."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(size),
        "LOCAL_WORLD_SIZE": str(size),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(torch.get_num_threads())),
    }


@contextmanager
def _at(place: dict[str, str], rank: int) -> Iterator[None]:
    """Set the variables of the meeting place, and afterwards put back what was there."""
    wanted = {**place, "RANK": str(rank), "LOCAL_RANK": str(rank)}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
