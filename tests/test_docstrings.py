"""Every example in a docstring runs and says what it says."""

import doctest
import importlib
import pkgutil

import langchain_thrift
import llamaindex_thrift
import pytest
import thrift_core

MODULES = [
    name
    for package in (thrift_core, langchain_thrift, llamaindex_thrift)
    for _, name, _ in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_run(name):
    module = importlib.import_module(name)
    if doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE).failed:
        pytest.fail(f"an example in {name} does not do what it says")
