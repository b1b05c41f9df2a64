"""Reports faults in the timestamps of a camera's source: in its condition, in metrics and in the log."""

from typing import Final

from countline_common.logs import get_logger
from countline_pipelines import metrics
from countline_pipelines.sources import SourceSpec, SourceWarning, WarningCode
from countline_pipelines.sources.stamps import CLEAN, StampReport

MANY_DISORDERED: Final = 10
"""A file with fewer timestamps out of order is not worth a warning."""
_log = get_logger(__name__)


class StampWatch:
    """Watches the timestamps of one camera.

    Args:
        camera_id: of the camera.
        source: its source.
    """

    def __init__(self, camera_id: str, source: SourceSpec) -> None:
        self._source = source
        self._log = _log.bind(camera=camera_id, source=source.label)
        self._logged: set[str] = set()
        self._last = CLEAN
        self._jumps = metrics.STAMP_FAULTS.labels(camera_id, "jump")
        self._disorder = metrics.STAMP_FAULTS.labels(camera_id, "disorder")
        self._rate = metrics.STAMP_RATE.labels(camera_id)
        self._rate.set(1.0)
        self.warning: SourceWarning | None = None
        """Until the source is opened again."""

    @property
    def warnings(self) -> tuple[SourceWarning, ...]:
        """The warning, if there is one."""
        warning = self.warning
        return () if warning is None else (warning,)

    def opened(self) -> None:
        """The source was opened: its timestamps begin anew."""
        self._last, self.warning = CLEAN, None

    def observe(self, report: StampReport) -> None:
        """Take the report of the newest frame."""
        last = self._last
        if report is last or report == last:
            return
        self._last = report
        self._jumps.inc(report.jumps - last.jumps)
        self._disorder.inc(report.disordered - last.disordered)
        self._rate.set(report.rate)
        self.warning = _warning(self._source, report)
        if self.warning is not None:
            self._log_once(self.warning, report)

    def _log_once(self, warning: SourceWarning, report: StampReport) -> None:
        kind = "jump" if report.jumps else "pace" if report.rate != 1.0 or report.by_arrival else "disorder"
        if kind not in self._logged:
            self._logged.add(kind)
            self._log.warning("source.timestamps", kind=kind, problem=warning.message)


def _warning(source: SourceSpec, report: StampReport) -> SourceWarning | None:
    if report.jumps:
        times = "once" if report.jumps == 1 else f"{report.jumps} times, first"
        what = f"its timestamps jump {times} by {report.first_jump_s:+.1f} s after {report.first_jump_at_s:.1f} s"
        does, hint = "the time of its frames goes on without the jump", "check the clock of the camera or recorder"
    elif report.by_arrival:
        what, does = "its timestamps have no steady pace", "frames are dated by their arrival"
        hint = "check the frame rate that the camera is set to"
    elif report.rate != 1.0:
        what = f"its timestamps advance by {1.0 / report.rate:.2f} s in a second"
        does, hint = "frames are dated at the pace of their arrival", "check the frame rate that the camera is set to"
    elif report.disordered >= MANY_DISORDERED and source.playback.is_finite:
        what = f"{report.disordered} of its timestamps are repeated or out of order"
        does, hint = "its frames are dated evenly there", "convert the file with new timestamps if times matter"
    else:
        return None
    return SourceWarning(WarningCode.TIMESTAMPS, f"{source.label}: {what}; {does}", hint)
