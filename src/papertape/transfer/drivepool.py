"""Several drives share the tasks of one job: each takes the next task when it has finished one."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

T = TypeVar("T")


class OutOfService(Exception, Generic[T]):
    """A drive takes no more tasks, because of ``error``; ``tasks`` are left for the other drives."""

    def __init__(self, error: BaseException, tasks: Sequence[T]) -> None:
        super().__init__(str(error))
        self.error = error
        self.tasks = tasks


class DrivePool(Generic[T]):
    """One worker thread for each drive, and the queue of the ``tasks`` that are left.

    ``work(task, drive)`` does a task in the drive's thread and returns the tasks that follow from it. If it raises
    OutOfService, this worker ends and the others go on; the last one raises the error inside if tasks are left. Any
    other exception ends all workers, each after its current task.
    """

    def __init__(self, tasks: Iterable[T], work: Callable[[T, int], Sequence[T]]) -> None:
        self._tasks = deque(tasks)
        self._work = work
        self._changed = threading.Condition()  # guards the tasks and the two counters
        self._busy = 0
        self._workers = 0
        self._failed = False

    @property
    def is_alone(self) -> bool:
        """Whether only one worker is left."""
        return self._workers < 2

    def run(self, drives: Sequence[int]) -> None:
        """Do all tasks on ``drives`` (numbers), the first task on the first drive; raise the first worker's error."""
        self._workers = len(drives)
        with ThreadPoolExecutor(max(len(drives), 1), thread_name_prefix="drive") as threads:
            # Dealt out before a thread runs: else a quick one could take the task of another drive.
            firsts = [self._tasks.popleft() if self._tasks else None for _ in drives]
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
                with self._changed:
                    self._workers -= 1
                    # The last drive fails only if there is still something to do.
                    if self._workers or not (more or self._tasks):
                        return
                    self._failed = True
                raise out.error from out
            except BaseException:
                self._failed = True
                raise
            finally:
                # New tasks go first: they continue what this one began. They are queued in the same step in which this
                # worker stops being busy: the others end when nothing is queued and nobody is busy.
                with self._changed:
                    self._busy -= 1
                    self._tasks.extendleft(reversed(more))
                    self._changed.notify_all()
            task = self._take()

    def _take(self) -> T | None:
        """Return the next task, waiting for those that other workers may still add; None when everything is done."""
        with self._changed:
            while not self._tasks and self._busy and not self._failed:
                self._changed.wait()
            if self._failed or not self._tasks:
                return None
            self._busy += 1
            return self._tasks.popleft()
