"""Several drives work off what there is to do: each takes the next task when it is done with one."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

T = TypeVar("T")


class OutOfService(Exception, Generic[T]):
    """A drive takes no more tasks, because of ``error``; ``tasks`` are left for the others."""

    def __init__(self, error: BaseException, tasks: Sequence[T]) -> None:
        super().__init__(str(error))
        self.error = error
        self.tasks = tasks


class DrivePool(Generic[T]):
    """A worker a drive, and the tasks that are left.

    ``work`` does a task on a drive and returns what there is to do next because of it. OutOfService ends that worker
    alone, unless it is the last one; whatever else it raises ends the work of all when they are done with what they
    have.
    """

    def __init__(self, tasks: Iterable[T], work: Callable[[T, int], Sequence[T]]) -> None:
        self._tasks = deque(tasks)
        self._work = work
        self._changed = threading.Condition()
        self._busy = 0
        self._workers = 0
        self._failed = False

    @property
    def is_alone(self) -> bool:
        """Whether there is but one worker."""
        return self._workers < 2

    def run(self, drives: Sequence[int]) -> None:
        """Work off all tasks; raises what the first worker that failed raised."""
        self._workers = len(drives)
        with ThreadPoolExecutor(max(len(drives), 1), thread_name_prefix="drive") as threads:
            firsts = [self._tasks.popleft() if self._tasks else None for _ in drives]  # in order: drive 0 has the first
            self._busy = sum(first is not None for first in firsts)
            futures = [threads.submit(self._run, *each) for each in zip(drives, firsts, strict=True)]
            errors = [error for future in futures if (error := future.exception()) is not None]
        for error in errors:
            for other in errors[1:]:
                error.add_note(f"at the same time: {other}")
            raise error

    def _run(self, drive: int, first: T | None) -> None:
        task = first if first is not None else self._take()
        while task is not None:
            more: Sequence[T] = ()
            try:
                more = self._work(task, drive)
            except OutOfService as out:
                more = out.tasks
                self._workers -= 1
                if self._workers or not (more or self._tasks):
                    return
                self._failed = True
                raise out.error from out
            except BaseException:
                self._failed = True
                raise
            finally:
                self._finish(more)
            task = self._take()

    def _take(self) -> T | None:
        """Return the next task, waiting for those that others may yet find; None when all is done."""
        with self._changed:
            while not self._tasks and self._busy and not self._failed:
                self._changed.wait()
            if self._failed or not self._tasks:
                return None
            self._busy += 1
            return self._tasks.popleft()

    def _finish(self, more: Sequence[T]) -> None:
        with self._changed:
            self._busy -= 1
            self._tasks.extendleft(reversed(more))
            self._changed.notify_all()
