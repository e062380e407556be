r"""The `filter` of lists, in the public API's language.

    filter     condition { AND condition }
    condition  name ( = | != ) value
               name [ NOT ] IN ( value { , value } )
    value      "text" or 'text', with the escapes of C; or a bare word: [^\s"'(),=!]+

Words are known in any case, and spaces around signs don't matter.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from clouddesktop.errors import FieldViolation, InvalidArgumentError
from clouddesktop.model.listing import NameCondition

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<sign> != | [=(),] )
      | "(?P<double> (?: [^"\\] | \\. )* )"
      | '(?P<single> (?: [^'\\] | \\. )* )'
      | (?P<word> [^\s"'(),=!]+ )
    )""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(
    r"\\(?:x([0-9a-fA-F]{1,2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{1,3})|(.))", re.DOTALL
)
_SIMPLE = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


def parse_filter(text: str) -> list[NameCondition]:
    """Take a filter apart; an empty one has no conditions.

    Raises:
        InvalidArgumentError: it is not understood; says what was met, and where.
    """
    parser = _Parser(text)
    if parser.is_at_end():
        return []
    conditions = [parser.take_condition()]
    while not parser.is_at_end():
        parser.take_word("AND")
        conditions.append(parser.take_condition())
    return conditions


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = _tokenize(text)
        self._next = 0

    def is_at_end(self) -> bool:
        return self._next == len(self._tokens)

    def take_condition(self) -> NameCondition:
        kind, field, place = self._take("a field's name")
        if kind != "word":
            raise _not_understood(place, "a field's name is expected")
        if field != "name":
            raise _not_understood(place, f"images are filtered by name, not by {field}")
        kind, sign, place = self._take("=, !=, IN or NOT IN")
        if kind == "sign" and sign in ("=", "!="):
            return NameCondition(names=[self._take_value()], is_negated=sign == "!=")
        is_negated = kind == "word" and sign.upper() == "NOT"
        if is_negated:
            kind, sign, place = self._take("IN")
        if kind != "word" or sign.upper() != "IN":
            raise _not_understood(place, "=, !=, IN or NOT IN is expected")
        return NameCondition(names=self._take_list(), is_negated=is_negated)

    def take_word(self, word: str) -> None:
        kind, found, place = self._take(word)
        if kind != "word" or found.upper() != word:
            raise _not_understood(place, f"{word} is expected")

    def _take_list(self) -> Sequence[str]:
        self._take_sign("(")
        values = [self._take_value()]
        while self._take_sign(",", ")") == ",":
            values.append(self._take_value())
        return values

    def _take_sign(self, *wanted: str) -> str:
        kind, sign, place = self._take(" or ".join(wanted))
        if kind != "sign" or sign not in wanted:
            raise _not_understood(place, f"{' or '.join(wanted)} is expected")
        return sign

    def _take_value(self) -> str:
        kind, value, place = self._take("a value")
        if kind == "sign":
            raise _not_understood(place, "a value is expected")
        return value

    def _take(self, expected: str) -> tuple[str, str, int]:
        if self.is_at_end():
            raise _not_understood(len(self._text), f"{expected} is expected")
        token = self._tokens[self._next]
        self._next += 1
        return token


def _tokenize(text: str) -> list[tuple[str, str, int]]:
    """Give kind (sign, word or text), value and place of each token."""
    tokens: list[tuple[str, str, int]] = []
    place, end = 0, len(text.rstrip())
    while place < end:
        found = _TOKEN.match(text, place)
        if found is None:
            place += len(text[place:]) - len(text[place:].lstrip())
            what = "the quote is not closed" if text[place] in "\"'" else "it is not understood"
            raise _not_understood(place, what)
        kind = found.lastgroup or ""
        value = found[kind]
        if kind in ("double", "single"):
            kind, value = "text", _unescape(value, place)
        tokens.append((kind, value, place))
        place = found.end()
    return tokens


def _unescape(text: str, place: int) -> str:
    def replaced(escape: re.Match[str]) -> str:
        two, four, eight, octal, plain = escape.groups()
        if plain is not None:
            return _SIMPLE.get(plain, plain)
        number = int(octal, 8) if octal is not None else int(two or four or eight, 16)
        try:
            return chr(number).encode().decode()  # half of a pair is no character
        except (ValueError, OverflowError):
            raise _not_understood(place, f"{escape[0]} is no character") from None

    return _ESCAPE.sub(replaced, text)


def _not_understood(place: int, what: str) -> InvalidArgumentError:
    description = f'{what}, at character {place + 1}; write name = "…" or name IN ("…", "…")'
    return InvalidArgumentError.of_fields([FieldViolation(field="filter", description=description)])
