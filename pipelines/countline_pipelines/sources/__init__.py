"""Where frames come from: files and streams, decoded, each frame with its capture time.

spec.py    what is watched and how it is played
errors.py  what can be wrong with it, with cures
clock.py   capture times, and which frames are due; pure
video.py   one open container; every call has a deadline
play.py    fast, real time, loop, live
"""

from countline_pipelines.sources.errors import SourceError, SourceFailure
from countline_pipelines.sources.play import ClockSteppedError, Picture, play
from countline_pipelines.sources.spec import Playback, RtspTransport, SourceSpec, default_playback, source_address
from countline_pipelines.sources.video import VideoInfo, VideoReader

__all__ = [
    "ClockSteppedError",
    "Picture",
    "Playback",
    "RtspTransport",
    "SourceError",
    "SourceFailure",
    "SourceSpec",
    "VideoInfo",
    "VideoReader",
    "default_playback",
    "play",
    "source_address",
]
