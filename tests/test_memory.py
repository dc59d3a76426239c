"""What a program may use is the machine's memory or the tightest limit of the groups it is in,
whichever is less.
"""

import pytest

from trainer_module.memory import available_memory, total_memory

MEBI = 1 << 20
FREE = 1000 * MEBI  # of the machine
V2_MOUNT = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
V1_MOUNT = "35 31 0:32 {top} /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
V1_OTHER = "36 31 0:33 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n"


@pytest.fixture
def machine(tmp_path):
    """Returns a function that lays out a machine's files and gives back their root."""

    def lay_out(groups, mounts, **files):
        kibi = FREE // 1024
        write(
            "proc/meminfo",
            f"MemTotal: 9999999 kB\nMemAvailable:    {kibi} kB\nHugePages_Total:       0\n",
        )
        write("proc/self/cgroup", groups)
        write("proc/self/mountinfo", "23 1 8:1 / / rw - ext4 /dev/sda rw\n" + mounts)
        return tmp_path

    def write(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}")

    def v2(folder, limit, usage, inactive=0, high="max"):
        place = f"sys/fs/cgroup{folder}"
        write(f"{place}/memory.max", f"{limit}\n")
        write(f"{place}/memory.high", f"{high}\n")
        write(f"{place}/memory.current", f"{usage}\n")
        write(f"{place}/memory.stat", f"anon 5\ninactive_file {inactive}\nactive_file 7\n")

    def v1(folder, limit, usage, inactive=0):
        place = f"sys/fs/cgroup/memory{folder}"
        write(f"{place}/memory.limit_in_bytes", f"{limit}\n")
        write(f"{place}/memory.usage_in_bytes", f"{usage}\n")
        write(f"{place}/memory.stat", f"inactive_file 1\ntotal_inactive_file {inactive}\n")

    lay_out.v1, lay_out.v2 = v1, v2
    return lay_out


def test_without_groups_it_is_the_memory_of_the_machine(machine):
    assert available_memory(machine("", "")) == FREE


def test_in_all_there_is_what_the_machine_has_or_a_limit_allows_whatever_is_used(machine):
    assert total_memory(machine("", "")) == 9999999 * 1024
    machine.v2("/box", 300 * MEBI, 100 * MEBI)
    assert total_memory(machine("0::/box\n", V2_MOUNT)) == 300 * MEBI


def test_a_limit_of_version_2_leaves_what_is_not_used_yet(machine):
    machine.v2("/box", 300 * MEBI, 100 * MEBI)
    assert available_memory(machine("0::/box\n", V2_MOUNT)) == 200 * MEBI


def test_a_limit_of_version_1_leaves_what_is_not_used_yet(machine):
    machine.v1("/box", 300 * MEBI, 100 * MEBI)
    root = machine(
        "5:cpu,cpuacct:/elsewhere\n4:memory:/box\n0::/\n", V1_OTHER + V1_MOUNT.format(top="/")
    )
    assert available_memory(root) == 200 * MEBI


def test_pages_of_files_make_room_in_both_versions(machine):
    machine.v2("/box", 300 * MEBI, 290 * MEBI, inactive=90 * MEBI)
    assert available_memory(machine("0::/box\n", V2_MOUNT)) == 100 * MEBI
    machine.v1("/box", 300 * MEBI, 290 * MEBI, inactive=40 * MEBI)
    assert available_memory(machine("4:memory:/box\n", V1_MOUNT.format(top="/"))) == 50 * MEBI


@pytest.mark.parametrize("tightest", ["", "/outer", "/outer/inner"])
def test_the_tightest_limit_on_the_way_up_counts(machine, tightest):
    for folder in ("", "/outer", "/outer/inner"):
        machine.v2(folder, (200 if folder == tightest else 900) * MEBI, 50 * MEBI)
    assert available_memory(machine("0::/outer/inner\n", V2_MOUNT)) == 150 * MEBI


def test_a_group_without_limit_and_the_topmost_without_files_have_no_say(machine):
    machine.v2("/box", "max", 100 * MEBI)
    assert available_memory(machine("0::/box\n", V2_MOUNT)) == FREE
    machine.v1("/box", 9223372036854771712, 100 * MEBI)
    assert available_memory(machine("4:memory:/box\n", V1_MOUNT.format(top="/"))) == FREE


def test_the_limit_at_which_version_2_slows_a_program_down_counts_too(machine):
    machine.v2("/box", 300 * MEBI, 100 * MEBI, high=150 * MEBI)
    assert available_memory(machine("0::/box\n", V2_MOUNT)) == 50 * MEBI


def test_a_container_that_sees_its_own_group_as_the_mount_finds_it(machine):
    machine.v1("", 300 * MEBI, 100 * MEBI)
    machine.v1("/part", 250 * MEBI, 100 * MEBI)
    mount = V1_MOUNT.format(top="/docker/abc")
    assert available_memory(machine("4:memory:/docker/abc\n", mount)) == 200 * MEBI
    assert available_memory(machine("4:memory:/docker/abc/part\n", mount)) == 150 * MEBI
    assert available_memory(machine("4:memory:/\n", mount)) == 200 * MEBI


def test_a_group_that_uses_more_than_its_limit_leaves_nothing(machine):
    machine.v2("/box", 100 * MEBI, 120 * MEBI)
    assert available_memory(machine("0::/box\n", V2_MOUNT)) == 0


def test_this_machine_has_memory():
    assert available_memory() > 0
