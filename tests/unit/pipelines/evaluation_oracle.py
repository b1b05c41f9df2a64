"""An independent implementation of the metrics, run with the Python of the peers' environment.

python evaluation_oracle.py FRAMES.json      prints the counts of CLEAR MOT, identity and HOTA as the package `trackers`
                                             computes them (a port of TrackEval)
"""

import json
import sys
from pathlib import Path

import numpy as np


def main():
    from trackers.eval.clear import compute_clear_metrics
    from trackers.eval.hota import compute_hota_metrics
    from trackers.eval.identity import compute_identity_metrics

    with Path(sys.argv[1]).open(encoding="utf-8") as file:
        runs = json.load(file)
    told = []
    for frames in runs:
        truth = [np.array(frame["truth"], dtype=int) for frame in frames]
        tracked = [np.array(frame["tracked"], dtype=int) for frame in frames]
        overlap = [
            np.array(frame["overlap"], dtype=float).reshape(len(frame["truth"]), len(frame["tracked"]))
            for frame in frames
        ]
        clear = compute_clear_metrics(truth, tracked, overlap)
        identity = compute_identity_metrics(truth, tracked, overlap)
        hota = compute_hota_metrics(truth, tracked, overlap)
        told.append(
            {
                "HOTA": float(hota["HOTA"]),
                "DetA": float(hota["DetA"]),
                "AssA": float(hota["AssA"]),
                "IDF1": float(identity["IDF1"]),
                "MOTA": float(clear["MOTA"]),
                "FP": int(clear["CLR_FP"]),
                "FN": int(clear["CLR_FN"]),
                "IDSW": int(clear["IDSW"]),
            }
        )
    print(json.dumps(told))


if __name__ == "__main__":
    main()
