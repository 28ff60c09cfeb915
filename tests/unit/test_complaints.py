"""oci/complaints.py: words of crun 1.8.1 and runc 1.1.5, as they were heard."""

import pytest

from podwright.oci.complaints import field_at_fault, is_busy, plain

RUNC = "runc create failed: unable to start container process: "


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ("command", "executable file `no-such` not found in $PATH: No such file or directory"),
        ("command", "open executable: Permission denied"),
        ("command", f'{RUNC}exec: "no-such": executable file not found in $PATH'),
        ("command", f'{RUNC}exec: "/etc/passwd": permission denied'),
        ("command", f'{RUNC}exec: "/no/such": stat /no/such: no such file or directory'),
        ("working_dir", "chdir `/etc/passwd`: Not a directory"),
        ("working_dir", f"{RUNC}error during container init: mkdir /etc/passwd: not a directory"),
        ("mounts", "mkdir `/etc/passwd/x`: Not a directory"),
        ("mounts", "mount `/tmp` to `etc/group`: Not a directory"),
        ("mounts", f'{RUNC}error during container init: error mounting "/tmp" to rootfs at "/x": not a directory'),
        ("linux.resources", "writing file `cpuset.cpus`: Numerical result out of range"),
        ("linux.resources", f'{RUNC}failed to write "63": write /sys/fs/cgroup/cpuset/a/cpuset.mems: invalid argument'),
        ("", "write to `/proc/self/oom_score_adj`: Permission denied"),
        ("", "mkdir `/x`: No space left on device"),
        ("", "writing file `memory.limit_in_bytes`: Device or resource busy"),
        ("", ""),
    ],
)
def test_whose_fault(field: str, words: str) -> None:
    assert field_at_fault(words) == field


def test_plain_words() -> None:
    line = r'time="2026-11-26T00:05:24Z" level=error msg="exec: \"no-such\": not found"'
    assert plain(f"{line}\n") == 'exec: "no-such": not found'
    assert plain("open executable: Permission denied\n") == "open executable: Permission denied"


def test_busy() -> None:
    assert is_busy("writing file `memory.limit_in_bytes`: Device or resource busy")
    assert not is_busy("writing file `cpuset.cpus`: Numerical result out of range")
