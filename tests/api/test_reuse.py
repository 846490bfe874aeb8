"""What clients see of reused prompts."""
import json
import random

SYSTEM = " ".join(random.Random(7).choice("red green blue black white".split()) for _ in range(150))
MESSAGES = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": "Say hi."}]


def usage(server, path, **body):
    status, answer = server.call("POST", path, dict(body, model="smollm2", max_tokens=2, temperature=0))
    assert status == 200, answer
    if not body.get("stream"):
        return answer["usage"]
    chunks = [json.loads(l[6:]) for l in answer.splitlines() if l.startswith("data: {")]
    told = [c["usage"] for c in chunks if c.get("usage")]
    return told[-1]


def cached(u):
    return u.get("prompt_tokens_details", {}).get("cached_tokens", 0)


def test_cached_tokens(server):
    whole = {"messages": MESSAGES}
    stream = dict(whole, stream=True, stream_options={"include_usage": True})
    first, second, third = (usage(server, "/v1/chat/completions", **b) for b in (whole, whole, stream))
    assert cached(first) == 0 and "prompt_tokens_details" not in first
    assert cached(second) == first["prompt_tokens"] - 1  # the last one is computed for its logits
    assert third == second
    assert {k: v for k, v in second.items() if k != "prompt_tokens_details"} == first


def test_cached_tokens_completions(server):
    prompt = "Colours: " + SYSTEM
    first, second = (usage(server, "/v1/completions", prompt=prompt) for _ in range(2))
    assert cached(second) > cached(first) and second["prompt_tokens"] == first["prompt_tokens"]


def test_native_counts_whole_prompt(server):
    body = {"model": "smollm2", "messages": MESSAGES, "stream": False, "options": {"num_predict": 2}}
    answers = [server.call("POST", "/api/chat", body)[1] for _ in range(2)]
    assert answers[0]["prompt_eval_count"] == answers[1]["prompt_eval_count"] > 150
