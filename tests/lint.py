#!/usr/bin/env python3
"""Holds the sources to the rules of the house: layers, sizes, forbidden calls. Prints one line per breach, exits 1 on any.

The layer table is the DEPS_* list of the Makefile: a folder of src/ may include itself and what is listed there."""
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FILE_MAX, FUNC_MAX, KERNEL_FUNC_MAX = 1500, 120, 200
FORBIDDEN = {  # call: why
    "strcpy": None, "strcat": "bounds", "gets": "bounds", "alloca": "unbounded stack", "system": "spawn without a shell",
    "popen": "spawn without a shell", "atoi": None, "rand": "use getrandom or the sampler's generator",
}
GETENV_IN = ("src/serve/", "src/cli/", "src/runner/")   # the runner folder reads CRIA_KERNELS and CRIA_CPU for `probe`
OWNERS = {"microhttpd.h": None, "event2/": "src/http/", "curl/curl.h": ("src/cli/", "src/store/", "src/base/late_curl.c"), "pcre2.h": "src/tok/",
          "histedit.h": "src/cli/", "seccomp.h": "src/runner/"}


def layers():
    table = {}
    for line in open(os.path.join(ROOT, "Makefile")):
        m = re.match(r"DEPS_(\w+) *=(.*)", line)
        if m:
            table[m.group(1)] = set(m.group(2).split())
    return table


def functions(lines):
    """(name, first line, length) of each function body, by the house style: '{' and '}' in column 0."""
    start = name = None
    for i, l in enumerate(lines):
        if l.startswith("{") and i and not lines[i - 1].startswith(("#", "}")) and "=" not in lines[i - 1]:
            start, name = i, lines[i - 1].strip()
        elif l.startswith("}") and start is not None:
            yield name, start + 1, i - start
            start = None


def check(path, table, say):
    rel = os.path.relpath(path, ROOT)
    text = open(path, encoding="utf-8").read()
    lines = text.split("\n")
    layer = rel.split(os.sep)[1] if rel.startswith("src/") and rel.count(os.sep) > 1 else None
    if len(lines) > FILE_MAX and not rel.endswith(".def") and "table" not in os.path.basename(rel):
        say("%s: %d lines, at most %d" % (rel, len(lines), FILE_MAX))
    limit = KERNEL_FUNC_MAX if rel.startswith("src/kern/") else FUNC_MAX
    for name, line, n in functions(lines):
        if n > limit:
            say("%s:%d: %d lines in one function, at most %d: %s" % (rel, line, n, limit, name[:60]))
    for i, l in enumerate(lines, 1):
        m = re.match(r'\s*#\s*include\s+"([a-z0-9_]+)/', l)
        if m and layer and m.group(1) != layer and m.group(1) not in table.get(layer, ()):
            say("%s:%d: layer %s may not include %s" % (rel, i, layer, m.group(1)))
        m = re.match(r"\s*#\s*include\s+<([^>]+)>", l)
        if m:
            for prefix, owner in OWNERS.items():
                if m.group(1).startswith(prefix) and not (owner and rel.startswith(owner)):
                    say("%s:%d: <%s> belongs to %s" % (rel, i, m.group(1), owner or "nobody"))
        code = re.sub(r'"(\\.|[^"\\])*"', '""', l)
        if code.lstrip().startswith(("*", "/*")):
            continue
        for call, why in FORBIDDEN.items():
            if why and rel.startswith("src/") and re.search(r"(?<![\w.>])%s\s*\(" % call, code):
                say("%s:%d: %s: %s" % (rel, i, call, why))
        if re.search(r"\bgetenv\s*\(", code) and rel.startswith("src/") and not rel.startswith(GETENV_IN):
            say("%s:%d: getenv outside serve/ and cli/" % (rel, i))
        if re.search(r"\b(TODO|FIXME|XXX)\b", l):
            say("%s:%d: unfinished: %s" % (rel, i, l.strip()[:60]))
        if re.search(r"march=native|-ffast-math", l):
            say("%s:%d: not portable" % (rel, i))
        if len(l.expandtabs(8)) > (140 if rel.startswith("src/") else 160):
            say("%s:%d: %d columns" % (rel, i, len(l.expandtabs(8))))


def main():
    table, found = layers(), []
    for folder in ("src", "fuzz", "tests/unit"):
        for d, _, names in os.walk(os.path.join(ROOT, folder)):
            for n in sorted(names):
                if n.endswith((".c", ".h", ".def")):
                    check(os.path.join(d, n), table, found.append)
    for line in found:
        print(line)
    print("lint: %d findings" % len(found))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
