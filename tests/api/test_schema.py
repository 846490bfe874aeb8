"""Structured output: whatever is generated under a schema validates, for three tokenizers, greedy and sampled."""
import itertools
import json
import os
from concurrent.futures import ThreadPoolExecutor

import jsonschema
import pytest

from conftest import MODELS, Server, need

FILES = {"smollm2": "SmolLM2-135M-Instruct.Q4_1.gguf", "gemma3:270m": "gemma-3-270m-q4_k_m.gguf",
         "qwen2.5-coder:0.5b": "qwen2.5-coder-0.5b-instruct.gguf"}


def obj(required=None, **properties):
    return {"type": "object", "properties": properties, "required": list(properties) if required is None else required}


S, I, N, B = {"type": "string", "maxLength": 24}, {"type": "integer"}, {"type": "number"}, {"type": "boolean"}
LEAVES = [
    S, I, N, B, {"type": "null"}, {"enum": ["red", "green", 3, None]}, {"const": "fixed"}, {"type": ["string", "null"], "maxLength": 12},
    {"type": "string", "minLength": 3, "maxLength": 8}, {"type": "string", "pattern": "^[A-Z]{2}-[0-9]{4}$"},
    {"type": "string", "pattern": "^(cat|dog)s?$"}, {"type": "string", "format": "date"}, {"type": "string", "format": "time"},
    {"type": "string", "format": "date-time"}, {"type": "string", "format": "uuid"}, {"type": "integer", "minimum": 10, "maximum": 99},
    {"type": "integer", "exclusiveMinimum": -5, "exclusiveMaximum": 5}, {"type": "integer", "minimum": 1000},
    {"type": "integer", "maximum": -1}, {"type": "number", "minimum": 0, "maximum": 1}, {"anyOf": [I, {"type": "string", "maxLength": 5}]},
    {"oneOf": [{"const": "a"}, {"const": "b"}]}, {"type": "array", "items": I, "minItems": 2, "maxItems": 4},
    {"type": "array", "items": {"type": "string", "maxLength": 6}, "maxItems": 3}, {"type": "array", "prefixItems": [I, B], "items": False},
    {"type": "array", "items": {"enum": ["x", "y"]}, "minItems": 1, "maxItems": 2},
    {"type": "array", "maxItems": 0},
]


def schemas():
    """100 schemas: every leaf in an object, then nested, optional, shared and combined ones."""
    out = [obj(value=leaf) for leaf in LEAVES]
    out += [obj(id=I, tag=leaf, ok=B) for leaf in LEAVES]
    out += [obj(required=["a"], a=leaf, b=S, c=I) for leaf in LEAVES[:16]]
    out += [obj(list={"type": "array", "items": obj(k=leaf), "minItems": 1, "maxItems": 2}) for leaf in LEAVES[5:20]]
    out += [
        {"$defs": {"p": obj(x=I, y=I)}, **obj(a={"$ref": "#/$defs/p"}, b={"$ref": "#/$defs/p"})},
        {"definitions": {"t": obj(required=["v"], v=I, next={"anyOf": [{"type": "null"}, {"$ref": "#/definitions/t"}]})},
         "$ref": "#/definitions/t"},
        {"allOf": [obj(a=I), obj(b=B)]}, {"type": "array", "items": obj(n=I), "minItems": 1, "maxItems": 3},
        {"anyOf": [obj(kind={"const": "circle"}, r=N), obj(kind={"const": "box"}, w=N, h=N)]},
        obj(deep=obj(er=obj(est=obj(v=I)))), {**obj(a=I), "additionalProperties": False}, {"type": "boolean"}, {"enum": [1, 2, 3]},
        {"type": "integer", "minimum": 0, "maximum": 255}, obj(name=S, age={"type": "integer", "minimum": 0, "maximum": 120}, email=S),
        obj(steps={"type": "array", "items": S, "minItems": 2, "maxItems": 3}, answer={"type": "number"}),
        obj(matrix={"type": "array", "minItems": 2, "maxItems": 2, "items": {"type": "array", "items": B, "minItems": 2, "maxItems": 2}}),
        obj(lang={"enum": ["de", "en", "日本語"]}), obj(**{"key with \"quotes\"": I}),
    ]
    return out


@pytest.fixture(scope="module")
def models():
    s = Server({"OLLAMA_CONTEXT_LENGTH": "2048"})
    s.start()
    for name, file in FILES.items():
        s.add_model(name, need(os.path.join(MODELS, file)))
    yield s
    s.close()


@pytest.mark.parametrize("model", FILES)
def test_what_is_generated_validates(models, model):
    todo = list(itertools.product(schemas(), (0, 1)))
    assert len(todo) >= 200

    def one(job):
        schema, temperature = job
        status, r = models.call("POST", "/api/generate", {
            "model": model, "prompt": "Give me an example as JSON.", "format": schema, "stream": False,
            "options": {"temperature": temperature, "seed": 7, "num_predict": 300}}, timeout=600)
        if status != 200:
            return "%s: %s" % (json.dumps(schema), r)
        if r["done_reason"] != "stop":
            return None if r["eval_count"] >= 300 else "%s ended by %s" % (json.dumps(schema), r["done_reason"])
        try:
            jsonschema.validate(json.loads(r["response"]), schema)
        except (ValueError, jsonschema.ValidationError) as e:
            return "%s gave %r: %s" % (json.dumps(schema), r["response"], str(e).split("\n")[0])
        return True

    with ThreadPoolExecutor(16) as pool:
        results = list(pool.map(one, todo))
    bad = [r for r in results if isinstance(r, str)]
    complete = sum(r is True for r in results)
    print("%s: %d complete, %d cut by num_predict, %d bad" % (model, complete, results.count(None), len(bad)))
    assert not bad, bad[:5]
    assert complete > 0.9 * len(todo)


@pytest.mark.parametrize("schema", [
    {"type": "string", "pattern": "(" * 500 + "a" + ")" * 500}, {"type": "string", "pattern": "(a{1,1000}){1,1000}"},
    {"type": "string", "pattern": "^(?=x)y$"}, {"$ref": "#"}, {"$ref": "http://example.com/x.json"}, {"type": "nonsense"},
    {"not": {"type": "string"}}, {"allOf": [{"type": "string"}, {"type": "integer"}]}, {"type": "array", "minItems": 10 ** 9},
    {"type": "string", "minLength": 10 ** 12}, {"enum": []}, {"properties": {"a": {"$ref": "#/$defs/missing"}}},
])
def test_hostile_schemas_end(models, schema):
    status, r = models.call("POST", "/api/generate", {"model": "smollm2", "prompt": "x", "format": schema, "stream": False,
                                                      "options": {"num_predict": 30}}, timeout=60)
    assert status in (200, 400, 500), r
    assert models.call("POST", "/api/generate", {"model": "smollm2", "prompt": "x", "stream": False, "options": {"num_predict": 2}})[0] == 200


def test_deep_nesting_ends(models):
    schema = {"type": "integer"}
    for _ in range(800):
        schema = {"type": "array", "items": schema}
    status, r = models.call("POST", "/api/generate", {"model": "smollm2", "prompt": "x", "format": schema, "stream": False,
                                                      "options": {"num_predict": 30}}, timeout=60)
    assert status in (200, 400, 500), r
