"""LangChain's package for Ollama, as its users call it."""
import asyncio
import time

import langchain_ollama
import pytest

QUESTION = "What is the capital of France?"


def chat(server, **more):
    args = dict(model="smollm2", base_url=server.url, temperature=0, num_predict=12)
    return langchain_ollama.ChatOllama(**dict(args, **more))


def test_invoke(server):
    r = chat(server).invoke([("system", "You answer in English."), ("human", QUESTION)])
    assert "Paris" in r.content
    assert r.response_metadata["done_reason"] in ("stop", "length") and r.response_metadata["model"] == "smollm2"
    assert r.usage_metadata["input_tokens"] > 10 and 0 < r.usage_metadata["output_tokens"] <= 12


def test_stream_equals_invoke(server):
    parts = list(chat(server).stream(QUESTION))
    assert len(parts) > 3
    assert "".join(p.content for p in parts) == chat(server).invoke(QUESTION).content


def test_async(server):
    async def run():
        model = chat(server)
        whole = await model.ainvoke(QUESTION)
        parts = [p.content async for p in model.astream(QUESTION)]
        several = await model.abatch([QUESTION, "What is the capital of Italy?", QUESTION])
        return whole.content, "".join(parts), [m.content for m in several]
    whole, streamed, several = asyncio.run(run())
    assert "Paris" in whole and streamed == whole
    assert several[0] == several[2] == whole and several[1] != whole


def test_stop(server):
    assert "Paris" in chat(server).invoke(QUESTION).content
    assert "Paris" not in chat(server).invoke(QUESTION, stop=["Paris"]).content
    assert "Paris" not in chat(server, stop=["Par"]).invoke(QUESTION).content


def test_json_schema(server):
    schema = {"title": "Answer", "type": "object", "properties": {"city": {"type": "string", "maxLength": 20}}, "required": ["city"]}
    r = chat(server, num_predict=60).with_structured_output(schema, method="json_schema").invoke(QUESTION)
    assert list(r) == ["city"]


def test_unknown_model(server):
    with pytest.raises(Exception, match="not found"):
        chat(server, model="nothing-here").invoke(QUESTION)


def test_llm(server):
    llm = langchain_ollama.OllamaLLM(model="smollm2", base_url=server.url, temperature=0, num_predict=12)
    whole = llm.invoke(QUESTION)
    assert "Paris" in whole and "".join(llm.stream(QUESTION)) == whole


def test_embeddings(server):
    e = langchain_ollama.OllamaEmbeddings(model="all-minilm", base_url=server.url)
    a, b, c = e.embed_documents(["a cat sat on the mat", "a kitten sits on a rug", "interest rates rose"])
    dot = lambda x, y: sum(p * q for p, q in zip(x, y))
    assert len(a) == 384 and dot(a, b) > dot(a, c) + 0.2
    assert dot(e.embed_query("a cat sat on the mat"), a) > 0.999
    assert len(asyncio.run(e.aembed_documents(["one", "two"]))) == 2


def is_free(server):
    """True when a short request gets its turn: nobody generates for a client that has left."""
    deadline = time.time() + 20
    while time.time() < deadline:
        t = time.time()
        chat(server, num_predict=1).invoke("Hi")
        if time.time() - t < 3:
            return True
    return False


def test_cancel_stream(server):
    stream = chat(server, num_predict=3000, num_ctx=8192).stream("Write a very long story.")
    for _, _ in zip(range(3), stream):
        pass
    stream.close()
    assert is_free(server)


def test_cancel_async(server):
    async def run():
        task = asyncio.create_task(chat(server, num_predict=3000, num_ctx=8192).ainvoke("Write a very long story."))
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    asyncio.run(run())
    assert is_free(server)
