"""The language of limits in the API's validation options: `<=50`, `1-63`, `>0`, `0,3`, `1s-1h`.

Instants are written as `20261231T235959.999999999`, and are in seconds since 1970.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction

_INSTANT = r"\d{8}T\d{6}(?:\.\d+)?"
_NUMBER = rf"(?:{_INSTANT}|-?\d+(?:\.\d+)?(?:ms|[smhd])?)"
_ONE = re.compile(rf"(?P<sign><=|>=|<|>)?(?P<low>{_NUMBER})(?:-(?P<high>{_NUMBER}))?")
_UNIT_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_NUMBER_PARTS = re.compile(r"(-?[\d.]+)(ms|[smhd])?")

Number = int | float | Fraction


@dataclass(frozen=True, slots=True)
class _Limit:
    sign: str
    low: Number
    high: Number
    text: str

    @property
    def range(self) -> tuple[Number | None, Number | None]:
        return {
            "<=": (None, self.low),
            "<": (None, self.low - 1),
            ">=": (self.low, None),
            ">": (self.low + 1, None),
        }.get(self.sign, (self.low, self.high))

    def admits(self, number: Number) -> bool:
        match self.sign:
            case "<=":
                return number <= self.low
            case "<":
                return number < self.low
            case ">=":
                return number >= self.low
            case ">":
                return number > self.low
            case _:
                return self.low <= number <= self.high


class Bounds:
    """A limit, or several of which one must hold; durations are in seconds.

    `demand` is how the public API words what it asks for, as in `must be less than or equal to 50`.
    """

    def __init__(self, rule: str) -> None:
        """Read a rule.

        Raises:
            ValueError: the rule is not of this language.
        """
        self._limits = tuple(_parse(each) for each in rule.split(","))
        self.demand = "must be " + " or ".join(each.text for each in self._limits)

    @property
    def range(self) -> tuple[Number | None, Number | None]:
        """The least and the greatest whole number that are inside; None where there is no end."""
        if len(self._limits) != 1:
            return None, None
        return self._limits[0].range

    def admit(self, number: Number) -> bool:
        return any(each.admits(number) for each in self._limits)


def _parse(text: str) -> _Limit:
    match = _ONE.fullmatch(text.strip())
    if match is None or (match["sign"] and match["high"]):
        raise ValueError(f"The limit {text!r} is not understood.")
    sign, low, high = match["sign"] or "", match["low"], match["high"]
    words = {
        "<=": f"less than or equal to {low}",
        "<": f"less than {low}",
        ">=": f"greater than or equal to {low}",
        ">": f"greater than {low}",
        "": f"in the range of {low} to {high}" if high else f"equal to {low}",
    }
    low_number = _to_number(low)
    return _Limit(sign, low_number, _to_number(high) if high else low_number, words[sign])


def _to_number(text: str) -> Number:
    if "T" in text:
        instant, _, fraction = text.partition(".")
        seconds = int(datetime.strptime(f"{instant}+0000", "%Y%m%dT%H%M%S%z").timestamp())
        # A float has no room for the nanoseconds: the last one of a year was the next year's first.
        return seconds + Fraction(f"0.{fraction}") if fraction else seconds
    match = _NUMBER_PARTS.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no number.")
    digits, unit = match.groups()
    number = float(digits) if "." in digits else int(digits)
    return number * _UNIT_SECONDS[unit] if unit else number
