"""The official Python clients, as people use them."""
import threading
import time

import ollama
import openai
import pytest

from conftest import SMOLLM2, digest_of

QUESTION = [{"role": "user", "content": "What is the capital of France?"}]
GREEDY = {"temperature": 0, "num_predict": 12, "seed": 1}


@pytest.fixture(scope="module")
def oll(server):
    return ollama.Client(host=server.url)


@pytest.fixture(scope="module")
def oai(server):
    return openai.OpenAI(base_url=server.url + "/v1", api_key="dummy", max_retries=0)


def test_ollama_chat(oll):
    r = oll.chat(model="smollm2", messages=QUESTION, options=GREEDY)
    assert "Paris" in r.message.content and r.message.role == "assistant"
    assert r.done and r.done_reason in ("stop", "length")
    assert r.prompt_eval_count > 10 and 0 < r.eval_count <= 12
    assert r.total_duration > 0 and r.eval_duration > 0


def test_ollama_stream_equals_whole(oll):
    whole = oll.chat(model="smollm2", messages=QUESTION, options=GREEDY).message.content
    parts = list(oll.chat(model="smollm2", messages=QUESTION, options=GREEDY, stream=True))
    assert "".join(p.message.content for p in parts) == whole
    assert [p.done for p in parts] == [False] * (len(parts) - 1) + [True]
    assert len(parts) > 3


def test_ollama_generate_and_context(oll):
    r = oll.generate(model="smollm2", prompt="What is the capital of France?", options=GREEDY)
    assert "Paris" in r.response and len(r.context) > 10
    again = oll.generate(model="smollm2", prompt="And of Italy?", context=r.context, options=GREEDY)
    assert again.prompt_eval_count > r.prompt_eval_count


def test_ollama_seed_repeats(oll):
    opts = {"temperature": 1.2, "seed": 42, "num_predict": 20}
    a, b = (oll.generate(model="smollm2", prompt="Tell a story.", options=opts).response for _ in range(2))
    c = oll.generate(model="smollm2", prompt="Tell a story.", options=dict(opts, seed=43)).response
    assert a == b and a != c


def test_ollama_stop(oll):
    whole = oll.generate(model="smollm2", prompt="Count: one, two, three,", raw=True, options=dict(GREEDY, num_predict=30)).response
    word = whole.split()[3]
    cut = oll.generate(model="smollm2", prompt="Count: one, two, three,", raw=True, options=dict(GREEDY, num_predict=30, stop=[word]))
    assert cut.response == whole[:whole.index(word)] and cut.done_reason == "stop"


def test_ollama_embed(oll):
    texts = ["a cat sat on the mat", "a kitten sits on a rug", "interest rates rose"]
    e = oll.embed(model="all-minilm", input=texts)
    a, b, c = e.embeddings
    dot = lambda x, y: sum(p * q for p, q in zip(x, y))
    assert len(a) == 384 and abs(dot(a, a) - 1) < 1e-5
    assert dot(a, b) > dot(a, c) + 0.2
    one = oll.embeddings(model="all-minilm", prompt=texts[0])
    assert len(one.embedding) == 384


def test_ollama_list_show_ps(oll):
    names = [m.model for m in oll.list().models]
    assert "smollm2:latest" in names and "mistral:latest" in names
    s = oll.show("smollm2")
    assert s.details.family == "llama" and s.details.quantization_level == "Q4_1"
    assert "completion" in s.capabilities and s.modelinfo["general.architecture"] == "llama"
    oll.generate(model="smollm2", prompt="")
    assert any(m.model.startswith("smollm2") or m.model.startswith("mistral") for m in oll.ps().models)


def test_ollama_create_from_blob(oll):
    digest = oll.create_blob(SMOLLM2)
    assert digest == digest_of(SMOLLM2)
    states = [p.status for p in oll.create(model="made", files={"m.gguf": digest}, system="Answer in one word.", stream=True)]
    assert states[-1] == "success"
    assert oll.show("made").modelfile.count("Answer in one word.") == 1
    oll.copy("made", "made2")
    oll.delete("made")
    with pytest.raises(ollama.ResponseError) as e:
        oll.show("made")
    assert e.value.status_code == 404
    oll.delete("made2")


def test_ollama_errors(oll):
    with pytest.raises(ollama.ResponseError) as e:
        oll.chat(model="nothing-here", messages=QUESTION)
    assert e.value.status_code == 404 and "not found" in e.value.error
    with pytest.raises(ollama.ResponseError) as e:
        oll.generate(model="a b", prompt="x")
    assert e.value.status_code == 400


def test_ollama_cancel(server, oll):
    stream = oll.generate(model="smollm2", prompt="Write a very long story.", stream=True, options={"num_predict": 4000, "num_ctx": 8192})
    for _, _ in zip(range(3), stream):
        pass
    stream.close()
    deadline = time.time() + 5
    while time.time() < deadline:
        t = time.time()
        oll.generate(model="smollm2", prompt="Hi", options={"num_predict": 1})
        if time.time() - t < 2:
            return
    pytest.fail("the abandoned stream keeps the model busy")


def test_openai_chat(oai):
    r = oai.chat.completions.create(model="smollm2", messages=QUESTION, temperature=0, max_tokens=12, seed=1)
    assert "Paris" in r.choices[0].message.content
    assert r.usage.total_tokens == r.usage.prompt_tokens + r.usage.completion_tokens
    assert r.object == "chat.completion" and r.choices[0].finish_reason in ("stop", "length")


def test_openai_stream(oai):
    whole = oai.chat.completions.create(model="smollm2", messages=QUESTION, temperature=0, max_tokens=12).choices[0].message.content
    chunks = list(oai.chat.completions.create(model="smollm2", messages=QUESTION, temperature=0, max_tokens=12, stream=True,
                                              stream_options={"include_usage": True}))
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == whole
    assert chunks[-1].usage.completion_tokens > 0 and chunks[-1].choices == []
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] in ("stop", "length")


def test_openai_stop_and_models(oai):
    r = oai.chat.completions.create(model="smollm2", messages=QUESTION, temperature=0, max_tokens=20, stop=["Paris"])
    assert "Paris" not in r.choices[0].message.content and r.choices[0].finish_reason == "stop"
    assert "smollm2:latest" in [m.id for m in oai.models.list()]
    assert oai.models.retrieve("smollm2").id == "smollm2"


def test_openai_errors(oai):
    with pytest.raises(openai.NotFoundError):
        oai.chat.completions.create(model="nothing-here", messages=QUESTION)
    with pytest.raises(openai.BadRequestError):
        oai.chat.completions.create(model="smollm2", messages=[])


def test_openai_embeddings(oai):
    r = oai.embeddings.create(model="all-minilm", input=["one", "two"])
    assert [d.index for d in r.data] == [0, 1] and len(r.data[0].embedding) == 384 and r.usage.prompt_tokens > 0


def test_many_at_once_give_the_same_text(oll):
    """The same greedy request alone and among 15 others gives the same text."""
    prompts = ["Write about %s." % w for w in "rain snow wind sun moon sea fire ice sand wood iron gold salt tea milk".split()]
    mine = "What is the capital of France?"
    ask = lambda p: oll.generate(model="smollm2", prompt=p, options={"temperature": 0, "num_predict": 40}).response
    alone = ask(mine)
    got = {}
    threads = [threading.Thread(target=lambda p=p: got.__setitem__(p, ask(p))) for p in [mine] + prompts]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert len(got) == 16 and got[mine] == alone
    assert ask(prompts[7]) == got[prompts[7]]


def test_openai_max_completion_tokens(oai):
    r = oai.chat.completions.create(model="smollm2", messages=QUESTION, temperature=0, max_completion_tokens=3)
    assert r.usage.completion_tokens == 3 and r.choices[0].finish_reason == "length"
