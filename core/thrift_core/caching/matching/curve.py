"""Precision, recall and false-hit rate of a matcher at thresholds, with intervals, as a table and as a plot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from thrift_core.caching.matching.calibrate_cache import ScoredPairs, grid
from thrift_core.calibration.binomial import share_interval
from thrift_core.calibration.certificate import Certificate

_WIDTH, _HEIGHT = 640, 260
_TEXT_WIDTH, _TEXT_HEIGHT = 56, 11
_SHOWN = (0.999, 0.995, 0.99, 0.98, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.3, 0.1)


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """What a threshold does to labelled pairs.

    Attributes:
        threshold: the least score of a hit.
        hits: pairs at or above it.
        false_hits: those whose questions do not match.
        recall: the share of matching pairs that are hits.
        low: the lower 95 % bound on the false-hit rate, by Clopper and Pearson.
        high: the upper bound.
    """

    threshold: float
    hits: int
    false_hits: int
    recall: float
    low: float
    high: float

    @property
    def false_hit_rate(self) -> float:
        """The share of hits that are wrong; 0 where there is none."""
        return self.false_hits / self.hits if self.hits else 0.0

    @property
    def precision(self) -> float:
        """The share of hits that are right."""
        return 1 - self.false_hit_rate


def curve(scored: ScoredPairs, thresholds: Sequence[float] | None = None) -> list[CurvePoint]:
    """Return a point for each threshold, strictest first; by default some that span the scale."""
    same = max(sum(scored.labels), 1)
    points: list[CurvePoint] = []
    for threshold in _SHOWN if thresholds is None else thresholds:
        hits, wrong = scored.at(threshold)
        low, high = share_interval(wrong, hits)
        points.append(CurvePoint(threshold, hits, wrong, (hits - wrong) / same, low, high))
    return points


def text_plot(scored: ScoredPairs) -> str:
    """Return recall against false-hit rate in characters: `*` measured, `-` the upper bound."""
    points = [point for point in curve(scored, list(grid())) if point.hits]
    if not points:
        return "no pair reaches the least threshold"
    top = max(0.05, min(1.0, 1.2 * max(point.false_hit_rate for point in points)))
    rows = [[" "] * _TEXT_WIDTH for _ in range(_TEXT_HEIGHT)]
    for point in points:
        across = round(point.recall * (_TEXT_WIDTH - 1))
        for mark, value in (("-", point.high), ("*", point.false_hit_rate)):
            if value <= top:
                rows[_TEXT_HEIGHT - 1 - round(value / top * (_TEXT_HEIGHT - 1))][across] = mark
    lines = [
        f"{100 * top * (_TEXT_HEIGHT - 1 - at) / (_TEXT_HEIGHT - 1):5.1f} % |{''.join(row)}"
        for at, row in enumerate(rows)
    ]
    axis = " " * 8 + "+" + "-" * _TEXT_WIDTH
    return "\n".join([*lines, axis, " " * 9 + f"0 %{'recall':^{_TEXT_WIDTH - 9}}100 %"])


def curve_page(scored: ScoredPairs, certificate: Certificate) -> str:
    """Return a page of its own with the plot, the table and the certificate; no script, nothing loaded."""
    rows = "".join(
        f"<tr><td>{point.threshold:g}<td>{point.hits:,}<td>{100 * point.precision:.2f} %<td>{100 * point.recall:.1f} %"
        f"<td>{100 * point.false_hit_rate:.2f} %<td>{100 * point.low:.2f} to {100 * point.high:.2f} %</tr>"
        for point in curve(scored)
    )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Calibration of the semantic cache</title>'
        "<style>body{font:15px/1.5 system-ui,sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem;"
        "color-scheme:light dark}table{border-collapse:collapse}td,th{padding:.2rem .8rem;text-align:right;"
        "border-bottom:1px solid #8884}svg{width:100%;height:auto;color:inherit}</style>"
        f"<h1>Calibration of the semantic cache</h1><p><b>{escape(certificate.note)}</b></p>"
        f"<p>Matcher {escape(certificate.version)}, {certificate.n:,} pairs, confidence {certificate.confidence:g}.</p>"
        f"{_svg(scored, certificate)}"
        "<table><tr><th>threshold<th>hits<th>precision<th>recall<th>false hits<th>95 % interval</tr>"
        f"{rows}</table></html>\n"
    )


def _svg(scored: ScoredPairs, certificate: Certificate) -> str:
    points = [point for point in curve(scored, list(grid())) if point.hits]
    if not points:
        return "<p>No pair reaches the least threshold.</p>"
    top = max(0.05, min(1.0, 1.3 * max(point.false_hit_rate for point in points), 4 * certificate.max_loss + 0.05))

    def place(recall: float, rate: float) -> str:
        return f"{40 + recall * (_WIDTH - 60):.1f},{10 + (1 - min(rate, top) / top) * (_HEIGHT - 40):.1f}"

    band = [place(point.recall, point.high) for point in points]
    band += [place(point.recall, point.low) for point in reversed(points)]
    line = " ".join(place(point.recall, point.false_hit_rate) for point in points)
    limit = place(0, certificate.max_loss).split(",")[1]
    chosen = ""
    if certificate.threshold is not None:
        (at,) = curve(scored, [certificate.threshold])
        across, down = place(at.recall, at.false_hit_rate).split(",")
        chosen = f'<circle cx="{across}" cy="{down}" r="5" fill="currentColor"><title>certified</title></circle>'
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="False-hit rate against recall, with its 95 % '
        f'interval"><polygon points="{" ".join(band)}" fill="currentColor" opacity=".15"/>'
        f'<polyline points="{line}" fill="none" stroke="currentColor" stroke-width="2"/>'
        f'<line x1="40" x2="{_WIDTH - 20}" y1="{limit}" y2="{limit}" stroke="currentColor" stroke-dasharray="4 4"/>'
        f'{chosen}<g fill="currentColor" font-size="12"><text x="0" y="16">{100 * top:.1f} %</text>'
        f'<text x="0" y="{_HEIGHT - 28}">0 %</text><text x="40" y="{_HEIGHT - 8}">recall 0 %</text>'
        f'<text x="{_WIDTH - 50}" y="{_HEIGHT - 8}">100 %</text></g></svg>'
    )
