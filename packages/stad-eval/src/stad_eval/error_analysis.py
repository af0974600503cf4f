"""The three error analyses of one set of detections, together."""

import json
from dataclasses import dataclass

from stad_eval.error_breakdown import BreakdownRule, ErrorBreakdown, error_breakdown
from stad_eval.error_gains import ErrorGains, error_gains
from stad_eval.error_types import ErrorTypes, error_types
from stad_eval.judgement import Judgement


@dataclass(frozen=True, kw_only=True, eq=False)
class ErrorAnalysis:
    """What went wrong, seen in three ways.

    Attributes:
        types: how many detections are right, and what the others are (CFAD).
        breakdown: what keeps mean average precision from 100 (ACT).
        gains: what mending one kind of error would add to it (TIDE).
    """

    types: ErrorTypes
    breakdown: ErrorBreakdown
    gains: ErrorGains

    def table(self) -> str:
        """Aligned text: the three tables, one below the other."""
        return "\n\n".join(each.table() for each in (self.types, self.breakdown, self.gains))

    def to_dict(self) -> dict[str, object]:
        """For JSON: types, breakdown, gains; see there."""
        return {
            "types": self.types.to_dict(),
            "breakdown": self.breakdown.to_dict(),
            "gains": self.gains.to_dict(),
        }

    def to_json(self) -> str:
        """JSON object of `to_dict`; null where undefined."""
        return json.dumps(self.to_dict(), indent=2, allow_nan=False)


def analysis(
    judged: Judgement, rule: BreakdownRule, *, floor: float, min_score: float | None
) -> ErrorAnalysis:
    """All three analyses of one judgement."""
    return ErrorAnalysis(
        types=error_types(judged, min_score=min_score),
        breakdown=error_breakdown(judged, rule, floor=floor),
        gains=error_gains(judged, floor=floor),
    )
