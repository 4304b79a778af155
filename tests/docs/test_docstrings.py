"""Every example in a docstring gives what it says.

Docstrings are read from the source, so that no decorator can hide one.
"""

import ast
import doctest
import importlib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import thetadot

SOURCE = Path(thetadot.__file__).parent
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
# What every example may take as imported, beside the names of its own module.
ASSUMED = {"jax": jax, "jnp": jnp, "np": np, "td": thetadot}


def _examples(node, name=""):
    """Docstrings with examples in a syntax tree, as (dotted name, docstring, first line)."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _examples(child, f"{name}.{child.name}".lstrip("."))
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        text = ast.get_docstring(node)
        if text and ">>>" in text:
            yield name, text, node.body[0].lineno - 1


def _all_examples():
    for file in sorted(SOURCE.rglob("*.py")):
        parts = file.relative_to(SOURCE).with_suffix("").parts
        module = ".".join(("thetadot", *parts)).removesuffix(".__init__")
        for name, text, line in _examples(ast.parse(file.read_text())):
            yield pytest.param(module, text, str(file), line, id=f"{module}.{name}")


@pytest.mark.parametrize(("module", "text", "file", "line"), list(_all_examples()))
def test_the_example_in_the_docstring_gives_what_it_says(module, text, file, line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = ASSUMED | vars(importlib.import_module(module))
    example = doctest.DocTestParser().get_doctest(text, names, module, file, line)
    report = []
    result = doctest.DocTestRunner(optionflags=OPTIONS).run(example, out=report.append)
    assert example.examples
    assert result.failed == 0, "".join(report)
