"""The language of filters."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from clouddesktop.api.filters import parse_filter
from clouddesktop.errors import InvalidArgumentError
from clouddesktop.model.listing import NameCondition


def named(*names: str, is_negated: bool = False) -> NameCondition:
    return NameCondition(names=list(names), is_negated=is_negated)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("  ", []),
        ('name="Ubuntu 20.04 LTS (2024-12-03)"', [named("Ubuntu 20.04 LTS (2024-12-03)")]),
        ('name = "X"', [named("X")]),
        ("name='X'", [named("X")]),
        ("  name  =  bare-word_1.2  ", [named("bare-word_1.2")]),
        ("name!=x", [named("x", is_negated=True)]),
        ("name IN (a)", [named("a")]),
        ("name in('a',\"b\" , c)", [named("a", "b", "c")]),
        ("name Not In (a, b)", [named("a", "b", is_negated=True)]),
        (
            "name=a AND name!=b and name IN (c)",
            [named("a"), named("b", is_negated=True), named("c")],
        ),
        ("name='AND' AND name=\"it's\"", [named("AND"), named("it's")]),
        (r"name='it\'s'", [named("it's")]),
        (r'name="a\"b\\c\n\t\x41\u00e9\101\U0001F600"', [named('a"b\\c\n\tA\u00e9A\U0001f600')]),
        ("name=''", [named("")]),
        ("name=\n'two\nlines'", [named("two\nlines")]),
        ("name=NOT", [named("NOT")]),
    ],
)
def test_filters_are_understood(text: str, expected: list[NameCondition]) -> None:
    assert parse_filter(text) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("status=1", "images are filtered by name, not by status, at character 1;"),
        ("NAME=x", "not by NAME"),
        ("name", "=, !=, IN or NOT IN is expected, at character 5;"),
        ("name=", "a value is expected, at character 6;"),
        ("name==x", "a value is expected, at character 6;"),
        ("name < x", "=, !=, IN or NOT IN is expected"),
        ("name NOT x", "=, !=, IN or NOT IN is expected"),
        ("name NOT", "IN is expected"),
        ("name IN a", "( is expected, at character 8;"),
        ("name IN ()", "a value is expected"),
        ("name IN (a,)", "a value is expected"),
        ("name IN (a b)", ", or ) is expected"),
        ("name IN (a", ", or ) is expected, at character 11;"),
        ("name=a name=b", "AND is expected, at character 7;"),
        ("name=a AND", "a field's name is expected, at character 11;"),
        ("name=a OR name=b", "AND is expected"),
        ("'name'=a", "a field's name is expected"),
        ('name="open', "the quote is not closed, at character 6;"),
        ("name='a\\'", "the quote is not closed"),
        ("name=!", "it is not understood, at character 6;"),
        (r"name='\ud800'", r"\ud800 is no character"),
        (r"name='\UFFFFFFFF'", "is no character"),
    ],
)
def test_what_is_not_understood_is_said(text: str, words: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        parse_filter(text)
    (violation,) = caught.value.violations
    assert violation.field == "filter"
    assert words in violation.description


@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1), st.sampled_from("'\"")
)
@example(["\\", "'", '"', "\n", "\0"], "'")
def test_any_name_can_be_written(names: list[str], quote: str) -> None:
    """In either quotes, with quotes and backslashes escaped."""
    values = [each.replace("\\", "\\\\").replace(quote, f"\\{quote}") for each in names]
    text = f"name IN ({','.join(quote + each + quote for each in values)})"
    assert parse_filter(text) == [named(*names)]


@given(st.text(alphabet="name=!IN(),'\"\\ ANDO x\n", max_size=60))
def test_nonsense_is_refused_and_nothing_worse(text: str) -> None:
    with suppress(InvalidArgumentError):
        assert all(each.names for each in parse_filter(text))
