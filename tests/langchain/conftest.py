import gc
import warnings
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True, scope="module")
def without_clients_of_closed_loops() -> Iterator[None]:
    """Let go of a module's async clients at its end, and not in the middle of some later test.

    LangChain's integrations give nobody a way to close them, and the event loop that they were made in is gone.
    """
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
