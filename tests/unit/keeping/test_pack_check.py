"""Looking at a pack whose store is in S3: what passes is no damage, and damage is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import obstore
import pytest

from clouddesktop.catalog.scrubbing import Finding, ScrubPack
from clouddesktop.ids import PackId
from clouddesktop.keeping.pace import Pace
from clouddesktop.keeping.pack_check import PackChecker
from clouddesktop.s3 import S3Access
from clouddesktop.store.blobs import BlobStore
from clouddesktop.store.bucket import open_bucket
from clouddesktop.store.chunks import ChunkStore
from clouddesktop.store.codec import digest_of, encode
from clouddesktop.store.faults import StoreOutOfReachError
from parts.disks import random_bytes
from parts.s3_proxy import S3Proxy, proxying, refused
from parts.seaweedfs import ACCESS_KEY_ID, BUCKET, REGION, SECRET_ACCESS_KEY, SeaweedFS
from parts.web import once

PACK = PackId("e3o1/000000-1-1")
CHUNK_SIZE = 256 << 10


class PackInBucket:
    """One pack of two chunks behind the proxy, and a look at it."""

    def __init__(self, seaweedfs: SeaweedFS, proxy: S3Proxy) -> None:
        prefix = seaweedfs.new_prefix()
        access = S3Access(
            endpoint=proxy.url,
            region=REGION,
            access_key_id=ACCESS_KEY_ID,
            secret_access_key=SECRET_ACCESS_KEY,
        )
        bucket = replace(open_bucket(f"s3://{BUCKET}/{prefix}", access), patience_seconds=0.2)
        self._chunks = ChunkStore(BlobStore(bucket.reading, name=bucket.name, bucket=bucket))
        self.raw = seaweedfs.open_bucket(BUCKET, prefix=prefix)
        self.key = f"packs/{PACK}"
        self.path = f"/{BUCKET}/{prefix}/{self.key}"
        pack = self._chunks.new_pack()
        for seed in (1, 2):
            plain = random_bytes(CHUNK_SIZE, seed=seed)
            codec, stored = encode(memoryview(plain))
            pack.add(digest_of(plain), codec, stored, len(plain))
        self.entries, data = pack.finish()
        self.size = len(memoryview(data))
        self._chunks.put_pack(PACK, data)

    def check(self) -> Finding:
        pace = Pace(bytes_per_second=0, is_copying=lambda: False, check=lambda: None)
        checker = PackChecker(chunks=self._chunks, pace=pace, check_store=lambda: None)
        pack = ScrubPack(number=1, id=PACK, size=self.size, verified_at=None, damage=None)
        return checker.check(pack, indexed=self.entries, quarantined=())


@pytest.fixture
def proxy(seaweedfs: SeaweedFS) -> Iterator[S3Proxy]:
    with proxying(seaweedfs.port) as server:
        yield server


@pytest.fixture
def pack(seaweedfs: SeaweedFS, proxy: S3Proxy) -> PackInBucket:
    return PackInBucket(seaweedfs, proxy)


@pytest.mark.parametrize("answered", [0, 2, 3])
def test_a_store_that_is_away_is_no_damage(
    pack: PackInBucket, proxy: S3Proxy, answered: int
) -> None:
    """Wherever it breaks off, the error comes out, and nothing is called damaged."""
    start = proxy.requests[pack.path]
    fault = once(refused(503, "SlowDown"), at=start + answered + 1, times=1000)
    proxy.faults[pack.path] = fault
    with pytest.raises(StoreOutOfReachError):
        pack.check()
    del proxy.faults[pack.path]
    assert pack.check().damage is None


def test_a_changed_bit_in_a_bucket_is_damage(pack: PackInBucket) -> None:
    """The chunk that it is in is named; the other one is whole."""
    data = bytearray(obstore.get(pack.raw, pack.key).bytes())
    data[100] ^= 1
    obstore.put(pack.raw, pack.key, bytes(data), use_multipart=False)
    finding = pack.check()
    assert [each.entry for each in finding.damaged] == [pack.entries[0]]
    assert list(finding.whole) == [pack.entries[1]]
