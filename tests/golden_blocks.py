#!/usr/bin/env python3
"""Holds the dequantizers to raw blocks with known values: golden_blocks.py "cria probe" blocks.json"""
import json
import math
import subprocess
import sys

TYPES = "F16 BF16 Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q2_K Q3_K Q4_K Q5_K Q6_K".split()


def main():
    probe, path = sys.argv[1:]
    blocks = json.load(open(path))
    asks = [(t, r) for t in TYPES for r in blocks[t]["rows"]]
    text = "".join(json.dumps({"op": "dequantize", "type": t, "bytes": r["hex"]}) + "\n" for t, r in asks)
    out = subprocess.run(probe.split() if probe.endswith("probe") else [probe], input=text, capture_output=True, text=True, check=True).stdout
    failed = 0
    for (t, r), line in zip(asks, out.splitlines()):
        got, want = json.loads(line).get("values", []), r["values"]
        same = len(got) == len(want) and all(
            (a is None and (b is None or not math.isfinite(b))) or (a is not None and b is not None and abs(a - b) <= 1e-6 * max(abs(b), 1e-30))
            for a, b in zip(got, want))
        if not same:
            failed += 1
            print("blocks %s %s: values differ" % (t, r.get("kind")))
    print("%d rows of blocks, %d failed" % (len(asks), failed))
    return 1 if failed or len(out.splitlines()) != len(asks) else 0


if __name__ == "__main__":
    sys.exit(main())
