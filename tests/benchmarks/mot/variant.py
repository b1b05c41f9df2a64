"""Count the sequences once, with one constant changed or none; print the scores by sequence as JSON.

python -m tests.benchmarks.mot.variant [--set KEY=VALUE] [FOLDER ...]
"""

import argparse
import json
from pathlib import Path


def main() -> None:
    """Change the constant first, then import what uses it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--set", default="")
    parser.add_argument("folders", nargs="*", type=Path)
    options = parser.parse_args()
    if options.set:
        from tests.benchmarks.mot.constants import vary

        key, value = options.set.split("=")
        vary(key, float(value))
    from tests.benchmarks.mot.recordings import recordings
    from tests.benchmarks.mot.scoring import LINES, counted_passages, score, true_lines

    from countline_counting.spec import CountingSpec
    from countline_pipelines.evaluation.run import run_detections

    scores = {}
    for each in recordings(options.folders):
        run = run_detections(each.detections, each.sequence, CountingSpec(lines=LINES))
        truth = true_lines(each.truth.objects, each.sequence.size_wh)
        scores[each.name] = vars(score(truth, counted_passages(run.crossings, each.sequence.fps), each.sequence.fps))
    print(json.dumps(scores))


if __name__ == "__main__":
    main()
