"""Branches that get no more frames. The camera's task stops them."""

from collections.abc import Callable, Iterator

from countline_pipelines.planes.software.change.branch import Branch
from countline_pipelines.planes.software.source.tee import Tee


class RetiredBranches:
    """The retired branches of one camera.

    Args:
        tee: hands pictures to the branches.
        on_retired: wakes the camera's task, which stops retired branches.
    """

    def __init__(self, tee: Tee, on_retired: Callable[[], None]) -> None:
        self._tee = tee
        self._on_retired = on_retired
        self._branches: list[Branch] = []

    def __iter__(self) -> Iterator[Branch]:
        return iter(tuple(self._branches))

    def retire(self, branch: Branch) -> None:
        """Hand a branch no more frames; a second call changes nothing."""
        branch.halt()
        self._tee.detach(branch.feeder)
        if not branch.is_retired:
            branch.is_retired = True
            self._branches.append(branch)
            self._on_retired()

    def take(self) -> list[Branch]:
        """The retired branches, each returned once; the caller stops them."""
        branches, self._branches = self._branches, []
        return branches
