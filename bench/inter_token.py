#!/usr/bin/env python3
"""How long streams wait between two tokens, alone and while a long prompt is read. Speaks Ollama's API to any server:

    bench/inter_token.py --url http://127.0.0.1:11434 --model smollm2 [--streams 8] [--prompt 4000] [--seconds 8]

Prints p50, p90 and p99 of the gaps of all streams, in milliseconds: with nothing else to do; from the moment the prompt was
sent until its first token came; and the ratios. The server needs OLLAMA_NUM_PARALLEL and OLLAMA_CONTEXT_LENGTH large enough."""
import argparse
import http.client
import json
import random
import threading
import time
import urllib.parse

WORDS = "river stone cloud lamp door green seven walk paper under night bread horse glass early north song wheel small deep".split()


class Stream(threading.Thread):
    """One streamed answer. times: when each token came."""

    def __init__(self, url, model, prompt, n_predict, n_ctx):
        super().__init__(daemon=True)
        at = urllib.parse.urlsplit(url)
        self.conn = http.client.HTTPConnection(at.hostname, at.port, timeout=600)
        self.body = {"model": model, "prompt": prompt, "raw": True, "stream": True,
                     "options": {"num_predict": n_predict, "num_ctx": n_ctx, "temperature": 0, "seed": 1}}
        self.times = []
        self.done = None
        self.first = threading.Event()
        self.leave = False

    def run(self):
        self.conn.request("POST", "/api/generate", json.dumps(self.body), {"Content-Type": "application/json"})
        answer = self.conn.getresponse()
        for line in answer:
            event = json.loads(line)
            if event.get("error"):
                raise SystemExit("the server says: " + event["error"])
            self.times.append(time.monotonic())
            self.first.set()
            if event.get("done"):
                self.done = event
            if self.leave:
                break
        self.first.set()
        self.conn.close()


def words(rng, n):
    return " ".join(rng.choice(WORDS) for _ in range(n))


def gaps(streams, begin, end):
    out = []
    for s in streams:
        times = [t for t in list(s.times) if begin <= t <= end]
        out += [(b - a) * 1000 for a, b in zip(times, times[1:])]
    return sorted(out)


def percentile(values, share):
    return values[min(len(values) - 1, int(len(values) * share))] if values else float("nan")


def show(name, values):
    print("%-12s n %5d   p50 %7.1f   p90 %7.1f   p99 %7.1f ms" % (
        name, len(values), *(percentile(values, p) for p in (0.5, 0.9, 0.99))))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--url", default="http://127.0.0.1:11434")
    p.add_argument("--model", required=True)
    p.add_argument("--streams", type=int, default=8)
    p.add_argument("--prompt", type=int, default=4000, help="words of the long prompt, about one token each")
    p.add_argument("--seconds", type=float, default=8, help="how long the streams are watched undisturbed")
    a = p.parse_args()
    rng = random.Random(time.time_ns())
    n_ctx = a.prompt + 1000
    streams = [Stream(a.url, a.model, "A long list of words: " + words(rng, 12), 4000, n_ctx) for _ in range(a.streams)]
    for s in streams:
        s.start()
    for s in streams:
        s.first.wait()
    begin = time.monotonic()
    time.sleep(a.seconds)
    middle = time.monotonic()
    late = Stream(a.url, a.model, words(rng, a.prompt), 1, n_ctx)
    late.start()
    late.first.wait()
    end = time.monotonic()
    n_ended = sum(s.done is not None for s in streams)
    for s in streams:
        s.leave = True
    late.join()
    alone, beside = gaps(streams, begin, middle), gaps(streams, middle, end)
    show("undisturbed", alone)
    show("beside", beside)
    print("ratio                  p50 %7.2f   p90 %7.2f   p99 %7.2f" % tuple(
        percentile(beside, p) / percentile(alone, p) for p in (0.5, 0.9, 0.99)))
    print("prompt of %d tokens: first token after %.2f s" % ((late.done or {}).get("prompt_eval_count", 0), late.times[0] - middle))
    if n_ended:
        print("%d streams ended before the measurement did" % n_ended)


if __name__ == "__main__":
    main()
