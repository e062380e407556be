"""Holes that other image systems had in what they parse: each is tried here, by its number."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from hostile.other_samples import descriptor, link_of, member_of, tar_of
from hostile.qcow2_files import DATA_FILE_NAME, Qcow2File
from hostile.verdicts import CANARY, Sample, Verdicts, by_name, either, judge_all, readable, refused

pytestmark = pytest.mark.qemu

UNSAFE = "UNSAFE_DISK"
HOLES = {
    "CVE-2015-5163": "Glance converted images with backing files, and gave out its own files.",
    "CVE-2022-47951": "OpenStack followed the paths of a VMDK descriptor to any file.",
    "CVE-2024-32498": "OpenStack followed the external data file of a qcow2 image to any file.",
    "CVE-2024-4467": "`qemu-img info` opened what a data file's name described in `json:` form.",
    "CVE-2026-24708": "Nova let QEMU guess the format of a disk whose bytes the guest chooses.",
    "CVE-2026-48749": "Incus read host files through a link in an image.",
    "CVE-2026-48752": "Incus wrote host files through a link in an image.",
    "CVE-2026-48769": "Incus wrote to a file of the image's choice: it believed a hash.",
}


def samples_of(canary: Path) -> Mapping[str, Sample]:
    target = str(canary).encode()
    in_json = b'json:{"driver":"file","filename":"%s"}' % target
    disk = Qcow2File().build()
    inside = b"".join(Qcow2File().data)
    # The guest has written the header of another image to its disk: those are its bytes, no more.
    forged = Qcow2File(backing=target).build()[:65536]
    through = member_of(f"in/{canary.name}", disk)
    archives = {
        "CVE-2026-48749": tar_of([link_of("disk.qcow2", str(canary))]),
        "CVE-2026-48752": tar_of([link_of("in", str(canary.parent)), (through, disk)]),
        "CVE-2026-48769": tar_of([(member_of(f"../{canary.name}", disk), disk)]),
    }
    flat = descriptor(f'RW 8192 FLAT "{canary}" 0')
    external = Qcow2File(incompatible=4, extensions=[(DATA_FILE_NAME, target)])
    described = Qcow2File(incompatible=4, extensions=[(DATA_FILE_NAME, in_json)])
    return by_name(
        [
            refused("CVE-2015-5163", Qcow2File(backing=target).build(), UNSAFE),
            refused("CVE-2022-47951", flat, UNSAFE),
            refused("CVE-2024-32498", external.build(), UNSAFE),
            refused("CVE-2024-4467", described.build(), UNSAFE),
            readable("CVE-2026-24708", Qcow2File(data=[forged]).build(), forged),
            *(either(name, file, file, inside) for name, file in archives.items()),
        ]
    )


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Sample]:
    canary = tmp_path_factory.mktemp(CANARY) / f"{CANARY}.raw"
    canary.write_bytes(b"secret" * 20_000)
    return samples_of(canary)


@pytest.fixture(scope="module")
def verdicts(samples: Mapping[str, Sample], tmp_path_factory: pytest.TempPathFactory) -> Verdicts:
    return judge_all(list(samples.values()), tmp_path_factory.mktemp("cves"))


@pytest.mark.parametrize("number", HOLES)
def test_the_hole_is_not_here(
    number: str, samples: Mapping[str, Sample], verdicts: Verdicts
) -> None:
    """Refused, or read as the bytes in the file; no other file is as much as looked for."""
    verdicts.check(samples[number])
