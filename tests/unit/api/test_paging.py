"""Page tokens: they come back as they went, for their own request only."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yandex.cloud.clouddesktop.v1.desktop_image_service_pb2 import ListDesktopImagesRequest

from clouddesktop.api.paging import make_page_token, page_size_of, read_page_token
from clouddesktop.errors import InvalidArgumentError

ids = st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=60)


@given(last_id=ids, folder_id=st.text(max_size=50), sizes=st.tuples(*[st.integers(0, 1000)] * 2))
def test_a_token_leads_on_from_where_the_page_ended(
    last_id: str, folder_id: str, sizes: tuple[int, int]
) -> None:
    """Whatever the page sizes; it fits the limit and a URL."""
    first = ListDesktopImagesRequest(folder_id=folder_id, page_size=sizes[0])
    token = make_page_token(first, last_id=last_id)
    assert len(token) <= 100
    assert re.fullmatch(r"[\w-]+", token)
    following = ListDesktopImagesRequest(folder_id=folder_id, page_size=sizes[1], page_token=token)
    assert read_page_token(following, token) == last_id


@pytest.mark.parametrize(
    "other",
    [
        ListDesktopImagesRequest(folder_id="other"),
        ListDesktopImagesRequest(folder_id="f", filter="name=x"),
        ListDesktopImagesRequest(folder_id="f", order_by="name"),
    ],
)
def test_another_request_s_token_is_refused(other: ListDesktopImagesRequest) -> None:
    """Whichever field differs."""
    token = make_page_token(ListDesktopImagesRequest(folder_id="f"), last_id="e3v")
    with pytest.raises(InvalidArgumentError) as caught:
        read_page_token(other, token)
    assert [each.field for each in caught.value.violations] == ["page_token"]


@given(data=st.data(), last_id=ids)
def test_a_garbled_token_is_refused(data: st.DataObject, last_id: str) -> None:
    """One character is enough, but for those that base64 reads alike."""
    request = ListDesktopImagesRequest(folder_id="f")
    token = make_page_token(request, last_id=last_id)
    position = data.draw(st.integers(0, len(token) - 2))
    letter = data.draw(st.sampled_from("ABCabc019-_").filter(lambda each: each != token[position]))
    with pytest.raises(InvalidArgumentError):
        read_page_token(request, token[:position] + letter + token[position + 1 :])


def test_no_token_is_the_first_page() -> None:
    """And no page size is the default one."""
    assert read_page_token(ListDesktopImagesRequest(folder_id="f"), "") is None
    assert page_size_of(0) == 100
    assert page_size_of(1) == 1
