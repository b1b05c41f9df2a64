"""`countline models quantize`: makes a contract model in eight bits and measures the effect."""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from countline_common.cli.tables import new_table
from countline_common.cli.terminal import Terminal, progress_bar
from countline_common.cli.tools import JsonOption
from countline_common.files.output_files import OutputFiles
from countline_common.files.scratch import scratch_folder

if TYPE_CHECKING:
    from countline_models.contract import ContractModel
    from countline_models.quantize.effect import DetectionAgreement, SpeedGain
    from countline_models.quantize.frames import Frames
    from countline_models.quantize.int8 import Quantized
    from countline_models.quantize.verdict import ClipCounts, QuantizeVerdict

# As in `countline_models.quantize.int8`, which is too heavy to import before a command is called.
Format = Literal["qdq", "qoperator"]
Calibration = Literal["percentile", "minmax"]
PartDone = Callable[[], None]


def quantize(
    model: Annotated[Path, typer.Argument(help="Contract model (ONNX).", show_default=False)],
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write the quantised model to.")],
    clip: Annotated[list[Path], typer.Option(help="Video of the scenes that the model will count; repeatable.")],
    frames: Annotated[int, typer.Option(help="Frames to calibrate on; as many others are used to test.", min=2)] = 64,
    format_: Annotated[Format, typer.Option("--format", help="Form of the graph; most runtimes read qdq.")] = "qdq",
    per_channel: Annotated[
        bool, typer.Option("--per-channel/--per-tensor", help="One scale for each channel of weights, or one for all.")
    ] = True,
    calibration: Annotated[
        Calibration, typer.Option(help="Range of activations: without the rarest values, or with all values.")
    ] = "percentile",
    exclude: Annotated[
        list[str] | None,
        typer.Option(help="Name or kind of nodes to keep in floating point; * and ? are wildcards. Repeatable."),
    ] = None,
    line: Annotated[
        list[str] | None,
        typer.Option(help="Line NAME:x1,y1,x2,y2[,...] over which both models count the clips; repeatable."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Quantise a contract model to INT8, and measure its speed, boxes and counts.

    Frames of the clips calibrate the model. The nodes before the first convolution and after the last ones stay in
    floating point. The command reports whether the quantised model pays.

    Example: countline models quantize gates.onnx -o gates.int8.onnx --clip gate.mp4 --line gate:0.1,0.6,0.9,0.6
    """
    from countline_models.contract import check_contract
    from countline_models.onnx.reading import network_files
    from countline_models.quantize.int8 import Options
    from countline_models.quantize.int8 import quantize as quantize_model
    from countline_models.quantize.verdict import judge

    with OutputFiles([*network_files(model), *clip]) as outputs, _bar() as steps:
        file = outputs.open("--output", output, makes_folder=True)
        contract = check_contract(model, run=False)
        calibrating, held_out = _frames_of(clip, contract, frames, steps)
        options = Options(format_, per_channel, calibration, tuple(exclude or ()))
        source = model.read_bytes()
        made = quantize_model(source, calibrating, options, steps("calibrating", len(calibrating)))
        file.write(made.model)
        measured = _measured(source, made.model, held_out, contract.score_threshold, steps)
        counts = _counted(clip, model, made.model, line or [], steps)
        err = outputs.takes_standard_output
    effect = _Effect(len(source), made, *measured, tuple(counts), *judge(measured[0], counts))
    if as_json:
        print(json.dumps(effect.to_json(output), indent=2), file=sys.stderr if err else sys.stdout)
    else:
        _show(effect, output, err=err)


@dataclass(frozen=True, slots=True)
class _Effect:
    """All measurements."""

    float_bytes: int
    made: "Quantized"
    speed: "SpeedGain"
    agreement: "DetectionAgreement"
    counts: tuple["ClipCounts", ...]
    verdict: "QuantizeVerdict"
    reason: str

    def to_json(self, output: Path) -> dict[str, Any]:
        """The measurements in the form of JSON."""
        speed, agreement = self.speed, self.agreement
        return {
            "output": str(output),
            "convolutions": self.made.convolutions,
            "convolutions_eight_bit": self.made.convolutions_eight_bit,
            "float_bytes": self.float_bytes,
            "int8_bytes": len(self.made.model),
            "speed": {**asdict(speed), "gain": speed.gain, "is_faster": speed.is_faster},
            "detections": {**asdict(agreement), "recall": agreement.recall, "precision": agreement.precision},
            "counts": [asdict(counts) for counts in self.counts],
            "verdict": self.verdict.value,
            "reason": self.reason,
        }


@contextmanager
def _bar() -> Iterator[Callable[[str, int], PartDone]]:
    """A progress bar on standard error.

    Yields a function that begins a step with a number of parts; it returns a function to call after each part.
    """
    with progress_bar() as bar:

        def begin(description: str, total: int) -> PartDone:
            task = bar.add_task(description, total=total)
            return lambda: bar.advance(task)

        yield begin


def _frames_of(
    clips: Sequence[Path], contract: "ContractModel", frames: int, steps: Callable[[str, int], PartDone]
) -> tuple["Frames", "Frames"]:
    """Frames to calibrate on and frames to test on, equally many from each clip."""
    import numpy as np

    from countline_models.quantize.frames import chosen_frames, count_frames, read_frames

    each = -(-frames // len(clips))
    calibrating, held_out = [], []
    for clip, total in [(clip, count_frames(clip)) for clip in clips]:
        train, test = chosen_frames(total, each, each)
        both = sorted((*train, *test))
        found = read_frames(clip, (contract.width, contract.height), both, steps(f"reading {clip.name}", both[-1] + 1))
        calibrating.append(found[np.isin(both, train)])
        held_out.append(found[np.isin(both, test)])
    return np.concatenate(calibrating), np.concatenate(held_out)


def _measured(
    source: bytes, quantized: bytes, held_out: "Frames", threshold: float, steps: Callable[[str, int], PartDone]
) -> tuple["SpeedGain", "DetectionAgreement"]:
    from countline_models.quantize.effect import ROUNDS, compare, measure_speed

    agreement = compare(source, quantized, held_out, threshold, steps("comparing boxes", len(held_out)))
    return measure_speed(source, quantized, held_out, steps("timing both", ROUNDS)), agreement


def _counted(
    clips: Sequence[Path], model: Path, quantized: bytes, lines: Sequence[str], steps: Callable[[str, int], PartDone]
) -> list["ClipCounts"]:
    from countline_models.quantize.counting import count_lines
    from countline_models.quantize.verdict import ClipCounts

    if not lines:
        return []
    step = steps("counting with both", 2 * len(clips))
    counts = []
    with scratch_folder("quantize") as folder:
        in_int8 = folder / "int8.onnx"
        in_int8.write_bytes(quantized)
        for clip in clips:
            in_float = count_lines(clip, model, lines)
            step()
            counts.append(ClipCounts(clip.name, in_float, count_lines(clip, in_int8, lines)))
            step()
    return counts


def _show(effect: _Effect, output: Path, *, err: bool) -> None:
    terminal = Terminal(stderr=err)
    table = new_table("MEASURED", "FLOAT", "INT8", "COMPARISON", numbers=("FLOAT", "INT8"))
    for row in (*_rows(effect), *_count_rows(effect.counts)):
        table.add_row(*row)
    made = effect.made
    terminal.print(f"{output}: {made.convolutions_eight_bit} of {made.convolutions} convolutions in eight bits")
    terminal.print(table)
    terminal.print(f"\n{effect.verdict.value}: {effect.reason}")


def _rows(effect: _Effect) -> Iterator[tuple[str, ...]]:
    speed, agreement = effect.speed, effect.agreement
    in_int8 = len(effect.made.model)
    yield "size, MB", f"{effect.float_bytes / 1e6:.2f}", f"{in_int8 / 1e6:.2f}", f"{in_int8 / effect.float_bytes:.2f}"
    gains = (
        f"{speed.gain:.2f} times as fast, {speed.gains[0]:.2f} to {speed.gains[-1]:.2f} in {len(speed.gains)} rounds"
    )
    yield "ms of a core for a frame", f"{speed.float_ms:.2f}", f"{speed.int8_ms:.2f}", gains
    noise = f"{speed.noise[0]:.2f} to {speed.noise[-1]:.2f}: float against itself"
    yield "noise of this machine", "", "", noise
    same = f"{agreement.matched} the same: recall {agreement.recall:.3f}, precision {agreement.precision:.3f}"
    yield f"detections, {agreement.frames} other frames", str(agreement.in_float), str(agreement.in_int8), same


def _count_rows(counts: Sequence["ClipCounts"]) -> Iterator[tuple[str, ...]]:
    for clip in counts:
        for before, after in zip(clip.in_float, clip.in_int8, strict=True):
            name = f"{clip.clip}, {before.line}: in, out"
            same = "the same" if before == after else "different"
            yield name, f"{before.into}, {before.out}", f"{after.into}, {after.out}", same
