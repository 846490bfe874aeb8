#!/usr/bin/env python3
"""Checks the schema grammars against an independent validator: for each schema below, random texts that the grammar allows
(from `test_grammar --walk`) must conform to the schema. Needs the Python package jsonschema.

usage: tests/schema_walk.py BUILD/unit/engine/test_grammar [texts per schema]"""
import json
import random
import subprocess
import sys
import tempfile

import jsonschema

FIXED = [
    {"type": "object", "properties": {"name": {"type": "string", "minLength": 1, "maxLength": 20}, "age": {"type": "integer", "minimum": 0, "maximum": 150},
     "tags": {"type": "array", "items": {"enum": ["a", "b", "c"]}, "minItems": 1, "maxItems": 4}}, "required": ["name", "age"], "additionalProperties": False},
    {"type": "object", "properties": {"when": {"type": "string", "format": "date-time"}, "day": {"type": "string", "format": "date"},
     "id": {"type": "string", "format": "uuid"}, "ip": {"type": "string", "format": "ipv4"}}, "required": ["when", "day", "id", "ip"]},
    {"$defs": {"node": {"type": "object", "properties": {"v": {"type": "number"}, "kids": {"type": "array", "items": {"$ref": "#/$defs/node"}, "maxItems": 2}},
     "required": ["v", "kids"], "additionalProperties": False}}, "$ref": "#/$defs/node"},
    {"anyOf": [{"type": "integer", "multipleOf": 3}, {"type": "string", "pattern": "^[A-Z]{2}-\\d+$"}, {"type": "null"}]},
    {"type": "object", "patternProperties": {"^x_": {"type": "integer"}, "_s$": {"type": ["string", "integer"]}}, "additionalProperties": {"type": "boolean"}},
    {"type": "object", "additionalProperties": {"type": "array", "items": {"type": "number", "exclusiveMinimum": -1.5, "maximum": 2.25}}},
    {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "string"}}, "anyOf": [{"required": ["a"]}, {"required": ["b"]}]},
    {"allOf": [{"type": "object", "properties": {"a": {"minimum": 3}}, "required": ["a"]}, {"properties": {"a": {"type": "integer", "maximum": 50}, "c": {"const": [1, {"d": None}]}}}]},
    {"type": "array", "prefixItems": [{"type": "string"}, {"type": "boolean"}], "items": {"type": "integer", "minimum": -7, "exclusiveMaximum": 12}, "minItems": 3, "maxItems": 6},
    {"type": "object", "propertyNames": {"pattern": "^[a-z]{1,4}$", "minLength": 2}, "additionalProperties": {"type": "integer"}, "minProperties": 1},
    {"type": "string", "pattern": "a.c|^[^x]{2}$", "maxLength": 6},
    {"type": "number", "minimum": -0.001, "maximum": 1234.5}, {"type": "number", "exclusiveMinimum": 0}, {"type": "number", "exclusiveMaximum": -10},
    {"type": "integer", "minimum": -99, "maximum": 1000, "multipleOf": 12}, {"type": "integer", "exclusiveMinimum": 99, "exclusiveMaximum": 101},
    {"type": "number", "multipleOf": 0.5, "minimum": 2, "maximum": 4}, {},
]


def random_schema(r, depth):
    kind = r.choice(["integer", "number", "string", "boolean", "null", "enum"] + ["object", "array", "anyOf", "allOf"] * (depth > 0))
    s = {"type": kind}
    if kind in ("integer", "number"):
        lo = r.choice([r.randint(-2000, 2000), round(r.uniform(-50, 50), r.randint(0, 4)), 0])
        hi = lo + r.choice([r.randint(1, 5), r.randint(1, 3000), round(r.uniform(1, 20), 2)])
        for k, v in ((r.choice(["minimum", "exclusiveMinimum"]), lo), (r.choice(["maximum", "exclusiveMaximum"]), hi)):
            if r.random() < 0.7:
                s[k] = v
    elif kind == "string":
        if r.random() < 0.4:
            s["minLength"] = r.randint(0, 4)
        if r.random() < 0.4:
            s["maxLength"] = r.randint(4, 12)
        if r.random() < 0.4:
            s["pattern"] = r.choice(["^[a-z]+$", "\\d", "^(ab|cd)*e?$", "^.{4,5}$", "[^a-z]$", "^\\w+@\\w+$", "^a|b$"])
    elif kind == "enum":
        s = {"enum": r.sample([1, 2.5, "a", "b\n\u00e9", None, True, [], {"k": [1]}, "long text", -3], r.randint(1, 5))}
    elif kind == "array":
        s["items"] = random_schema(r, depth - 1)
        lo = r.randint(0, 3)
        if r.random() < 0.6:
            s["minItems"] = lo
        if r.random() < 0.6:
            s["maxItems"] = lo + r.randint(0, 3)
    elif kind == "object":
        names = r.sample(["a", "ab", "abc", "b", "x y", "q\"", "\u00fc"], r.randint(0, 4))
        s["properties"] = {n: random_schema(r, depth - 1) for n in names}
        s["required"] = [n for n in names if r.random() < 0.5]
        s["additionalProperties"] = r.choice([False, True, random_schema(r, 0)])
        if r.random() < 0.3:
            s["patternProperties"] = {r.choice(["^a", "b", "c$"]): random_schema(r, 0)}
            if s["additionalProperties"] is True:
                del s["additionalProperties"]
    elif kind == "anyOf":
        s = {"anyOf": [random_schema(r, depth - 1) for _ in range(r.randint(1, 3))]}
    else:
        s = {"allOf": [random_schema(r, depth - 1) for _ in range(2)]}
    return s


def texts(driver, schema, seed, n):
    with tempfile.NamedTemporaryFile("w", suffix=".json") as f:
        json.dump(schema, f)
        f.flush()
        p = subprocess.run([driver, "--walk", f.name, str(seed), str(n)], capture_output=True, timeout=120)
    out = p.stdout.decode("utf-8")
    if p.returncode == 3:
        return None, out.strip()
    assert p.returncode == 0, (schema, p.returncode, out[-300:], p.stderr[-300:])
    return [line for line in out.split("\n") if line], None


def main():
    driver, n = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 40
    r, refused, checked, failed = random.Random(1), {}, 0, 0
    schemas = FIXED + [random_schema(r, 3) for _ in range(300)]
    for i, schema in enumerate(schemas):
        lines, why = texts(driver, schema, i + 1, n)
        if lines is None:
            assert i >= len(FIXED), (schema, why)
            why = why.split(": ")[-1][:60]
            refused[why] = refused.get(why, 0) + 1
            continue
        check = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker(["date", "ipv4", "uuid"]))
        for line in lines:
            checked += 1
            bad = next(check.iter_errors(json.loads(line)), None)
            if bad:
                failed += 1
                print("schema %s\n  text %s\n  %s" % (json.dumps(schema), line, bad.message))
                break
    print("schema_walk: %d schemas, %d texts, %d failures; refused: %s" % (len(schemas), checked, failed, refused))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
