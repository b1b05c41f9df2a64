"""nvdsanalytics: a place holder in a pipeline; Countline counts for itself."""

from pathlib import Path

from tests.doubles.deepstream.elements.base import NVMM, BatchFilter, always


class Analytics(BatchFilter):
    """Passes everything on, and needs its file as the real one does."""

    __gstmetadata__ = ("DsAnalytics plugin", "Filter/Video", "Double of nvdsanalytics", "Countline tests")
    __gsttemplates__ = always(f"{NVMM}, format={{NV12,RGBA}}")

    def start(self) -> None:
        path = self.value("config-file")
        if not path or not Path(path).exists():
            raise FileNotFoundError(f"config-file {path!r} cannot be read")
