"""A token-classification model as the backend sees it, whatever runs it."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class TokenModel(Protocol):
    """Says of each piece of some texts how much speaks for each label."""

    def logits(self, ids: NDArray[np.int64], mask: NDArray[np.int64], /) -> NDArray[Any]:
        """Return logits by row, piece and label.

        Args:
            ids: numbers of pieces, a row a text, padded to one length.
            mask: 1 where there is a piece, 0 where there is padding.
        """
        ...
