"""Where frames come from: files and streams, decoded, each frame with its capture time.

spec.py        one source and how it is played
errors.py      why a source fails, with hints
stamps.py      presentation times without jumps; pure
drift.py       whether presentation times run at the pace of the clock; pure
clock.py       capture times, and which frames are due; pure
content.py     a hash of a file's content
warnings.py    what a person should know about a source that is read all the same
mp4.py         the recordings of which an MP4 file was joined
tracks.py      which video track is read
holes.py       times of a file without readable pictures
video.py       one open source; every call has a deadline
reading/       what video.py is made of: recordings, decoder, watch, description
wall_clock.py  by which clock live pictures are dated
decoding.py    which decoder a stream gets: the CPU's or the GPU's
play.py        the ways of playing: fast, real time, loop, live
"""

from countline_pipelines.sources.decoding import DecodeMode, Decoder, Decoding, decoding_of
from countline_pipelines.sources.errors import SourceError, SourceFailure
from countline_pipelines.sources.play import ClockSteppedError, Picture, play
from countline_pipelines.sources.reading.description import VideoInfo
from countline_pipelines.sources.spec import Playback, RtspTransport, SourceSpec, default_playback, source_address
from countline_pipelines.sources.video import VideoReader
from countline_pipelines.sources.warnings import SourceWarning, SourceWarnings, WarningCode

__all__ = [
    "ClockSteppedError",
    "DecodeMode",
    "Decoder",
    "Decoding",
    "Picture",
    "Playback",
    "RtspTransport",
    "SourceError",
    "SourceFailure",
    "SourceSpec",
    "SourceWarning",
    "SourceWarnings",
    "VideoInfo",
    "VideoReader",
    "WarningCode",
    "decoding_of",
    "default_playback",
    "play",
    "source_address",
]
