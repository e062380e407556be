"""What every back end of the store must do, checked behind its back."""

from __future__ import annotations

import mmap
import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence

import pytest

from clouddesktop.errors import DataLossError
from clouddesktop.store.blobs import FORMAT_KEY, BlobStore
from clouddesktop.store.faults import (
    BlobConflictError,
    BlobNotFoundError,
    NotAStoreError,
    ShortBlobError,
    StoreTooNewError,
)

MIB = 1 << 20
KEY = "packs/e3o1/000000-1-1"
DATA = bytes(range(256)) * 5000


class BlobStoreSuite(ABC):
    """Subclass it for a back end, with `blobs` as a fixture and the three views behind its back."""

    @abstractmethod
    def raw_get(self, key: str) -> bytes | None:
        """Read what lies under a key, without the store's code."""

    @abstractmethod
    def raw_put(self, key: str, data: bytes) -> None:
        """Write under a key, over what is there, without the store's code."""

    @abstractmethod
    def raw_keys(self) -> Sequence[str]:
        """List all keys, sorted, without the store's code."""

    @pytest.fixture
    @abstractmethod
    def blobs(self) -> BlobStore:
        """Open an empty store of this back end."""

    @pytest.mark.parametrize("data", [b"", b"x", DATA, bytearray(DATA), memoryview(DATA)])
    def test_what_is_put_is_there(
        self, blobs: BlobStore, data: bytes | bytearray | memoryview
    ) -> None:
        """The very bytes lie under the key, and nothing lies beside them."""
        assert blobs.put(KEY, data)
        assert self.raw_get(KEY) == bytes(data)
        assert self.raw_keys() == [KEY]
        assert blobs.get(KEY) == data
        assert blobs.size(KEY) == len(data)

    @pytest.mark.parametrize("size", [MIB - 1, MIB, MIB + 1, 3 * MIB + 4095])
    @pytest.mark.parametrize("start", [0, 1, 512])
    def test_large_blobs_of_any_size_and_place(
        self, blobs: BlobStore, size: int, start: int
    ) -> None:
        """What is written in blocks from a page's start on, and what is not, is the same."""
        memory = mmap.mmap(-1, start + size)
        memory[start:] = os.urandom(size)
        assert blobs.put(KEY, memoryview(memory)[start:].toreadonly())
        assert self.raw_get(KEY) == memory[start:]

    def test_putting_twice_is_fine(self, blobs: BlobStore) -> None:
        """The second put says that the blob was there, and leaves it."""
        assert blobs.put(KEY, DATA)
        assert not blobs.put(KEY, DATA)
        assert self.raw_get(KEY) == DATA
        assert self.raw_keys() == [KEY]

    def test_another_size_is_a_conflict(self, blobs: BlobStore) -> None:
        """A blob is never written over, be the new one shorter or longer."""
        blobs.put(KEY, DATA)
        for other in (DATA[:-1], DATA + b"x", b""):
            with pytest.raises(BlobConflictError, match=KEY):
                blobs.put(KEY, other)
        assert self.raw_get(KEY) == DATA
        assert self.raw_keys() == [KEY]

    def test_many_at_once(self, blobs: BlobStore) -> None:
        """Of threads that put one key, one finds it new; all find it there."""
        made: list[bool] = []
        threads = [
            threading.Thread(target=lambda: made.append(blobs.put(KEY, DATA))) for _ in range(8)
        ]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert sorted(made) == [False] * 7 + [True]
        assert self.raw_keys() == [KEY]

    @pytest.mark.parametrize(
        ("offset", "length"), [(0, 1), (0, len(DATA)), (len(DATA) - 1, 1), (1000, 100_000)]
    )
    def test_ranges(self, blobs: BlobStore, offset: int, length: int) -> None:
        """Any range inside the blob comes back as asked."""
        blobs.put(KEY, DATA)
        assert blobs.get_range(KEY, offset=offset, length=length) == DATA[offset : offset + length]

    @pytest.mark.parametrize(
        ("offset", "length"), [(0, len(DATA) + 1), (len(DATA), 1), (len(DATA) * 2, 5), (9, 1 << 40)]
    )
    def test_ranges_past_the_end(self, blobs: BlobStore, offset: int, length: int) -> None:
        """A range is given whole or not at all, and the error knows the blob's size."""
        blobs.put(KEY, DATA)
        with pytest.raises(ShortBlobError, match=str(len(DATA))) as caught:
            blobs.get_range(KEY, offset=offset, length=length)
        assert caught.value.size == len(DATA)

    def test_what_is_missing(self, blobs: BlobStore) -> None:
        """Reading it is an error that names it; deleting it is fine."""
        with pytest.raises(BlobNotFoundError, match=KEY):
            blobs.get(KEY)
        with pytest.raises(BlobNotFoundError, match=KEY):
            blobs.get_range(KEY, offset=0, length=1)
        with pytest.raises(BlobNotFoundError, match=KEY):
            blobs.size(KEY)
        blobs.delete(KEY)

    def test_delete(self, blobs: BlobStore) -> None:
        """The blob is gone, those beside it stay, and the key can be used again."""
        blobs.put(KEY, DATA)
        blobs.put(KEY + "1", b"y")
        blobs.delete(KEY)
        assert self.raw_keys() == [KEY + "1"]
        blobs.delete(KEY + "1")
        assert self.raw_keys() == []
        assert blobs.put(KEY, b"z")
        assert self.raw_get(KEY) == b"z"

    def test_listing_takes_whole_segments(self, blobs: BlobStore) -> None:
        """`packs/a` lists what is below it, and not `packs/ab`."""
        keys = ["packs/a/1", "packs/a/2", "packs/ab/1", "manifests/00/00"]
        for key in keys:
            blobs.put(key, b"")
        assert sorted(blobs.iter_keys("packs")) == keys[:3]
        assert sorted(blobs.iter_keys("packs/a")) == keys[:2]
        assert list(blobs.iter_keys("packs/b")) == []

    def test_listing_many(self, blobs: BlobStore) -> None:
        """More keys than one answer holds are all listed."""
        keys = [f"manifests/00/{number:04x}" for number in range(1100)]
        for key in keys:
            self.raw_put(key, b"")
        assert sorted(blobs.iter_keys("manifests")) == keys

    @pytest.mark.parametrize("key", ["", "/a", "a/", "a//b", "../a", "a/../b", ".a", "a b", "a#1"])
    def test_keys_are_plain(self, blobs: BlobStore, key: str) -> None:
        """No key leads out of the store or means another one."""
        for use in (blobs.get, blobs.size, blobs.delete, lambda key: blobs.put(key, b"")):
            with pytest.raises(ValueError, match="key"):
                use(key)

    def test_an_empty_store_is_marked_once(self, blobs: BlobStore) -> None:
        """The first opening gives the store an id; later ones find it."""
        store_id = blobs.check_format()
        assert store_id in str(self.raw_get(FORMAT_KEY))
        assert blobs.check_format() == store_id

    def test_other_things_are_no_store(self, blobs: BlobStore) -> None:
        """A place with other things in it is left alone."""
        self.raw_put("thesis.txt", b"words")
        with pytest.raises(NotAStoreError, match=r"format\.json"):
            blobs.check_format()
        assert self.raw_keys() == ["thesis.txt"]

    @pytest.mark.parametrize(
        ("mark", "error"),
        [
            (b"", DataLossError),
            (b"[]", DataLossError),
            (b'{"format": "clouddesktop-store", "id": "1"}', DataLossError),
            (b'{"format": "other", "id": "1", "version": 1}', NotAStoreError),
            (b'{"format": "clouddesktop-store", "id": "1", "version": 2}', StoreTooNewError),
        ],
    )
    def test_marks_that_are_not_ours(
        self, blobs: BlobStore, mark: bytes, error: type[Exception]
    ) -> None:
        """A damaged, foreign or later mark is refused and kept."""
        self.raw_put(FORMAT_KEY, mark)
        with pytest.raises(error):
            blobs.check_format()
        assert self.raw_get(FORMAT_KEY) == mark
