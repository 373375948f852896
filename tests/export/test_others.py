"""What programs of others make of our files: the time line stands in them and stops none."""

import subprocess
from pathlib import Path

import pytest
from scapy.utils import rdpcap

from qmon.export.capture_file import FileOptions, open_file
from qmon.packets.batch import Direction, FrameBatch, Interface, Note, Statistics
from qmon.packets.files.notes import NoteForm
from qmon.packets.files.source import CaptureFile

NOW = 1_700_000_000_000_000_000
INTERFACES = [Interface("u1"), Interface("u2")]
NOTES = [Note(NOW - 10, "before all", "event"), Note(NOW + 10_500, "12 packets are missing", "gap")]
LAST = Note(NOW + 60_000, "SHUTDOWN", "event")


async def written(folder: Path, form: NoteForm, packets: int = 4) -> Path:
    """A capture with a note before, one between and one behind its packets."""
    path = folder / f"{form}.pcapng"
    output = await open_file(str(path), options=FileOptions(("about",), {"10.0.2.2": "gateway"}, notes=form))
    batch = FrameBatch.from_frames(
        [bytes(60)] * packets,
        time_ns=[NOW + 1000 * n for n in range(packets)],
        interface=[n % 2 for n in range(packets)],
        direction=Direction.OUT,
    )
    output.note(NOTES[0], INTERFACES)
    output.packets(batch.select(slice(0, 2)), INTERFACES)
    output.note(NOTES[1], INTERFACES)
    output.packets(batch.select(slice(2, None)), INTERFACES)
    output.note(LAST, INTERFACES)
    await output.close(INTERFACES, [Statistics(0, NOW, 2, 0), Statistics(1, NOW, 2, 0)])
    return path


def run(*words: str | Path) -> str:
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("form", NoteForm)
@pytest.mark.parametrize("packets", [4, 0])
async def test_every_program_reads_all_packets(tmp_path: Path, form: NoteForm, packets: int) -> None:
    path = await written(tmp_path, form, packets)
    counted = run("capinfos", "-c", "-r", "-T", "-M", path).strip().rsplit("\t", 1)[-1]
    assert int(counted) == packets
    assert len(run("tcpdump", "-nr", path).splitlines()) == packets
    assert len(rdpcap(str(path))) == packets
    merged, edited = tmp_path / "merged.pcapng", tmp_path / "edited.pcapng"
    run("mergecap", "-w", merged, path, path)
    run("editcap", path, edited)
    for one, times in ((merged, 2), (edited, 1)):
        with CaptureFile(one) as file:
            count = 0
            while (batch := file.read_batch()) is not None:
                count += len(batch)
            assert count == packets * times
            if form is NoteForm.JOURNAL:
                assert len(file.notes) >= 3 * times


@pytest.mark.parametrize("form", [NoteForm.COMMENT, NoteForm.NONE])
async def test_without_a_journal_it_becomes_classic_pcap(tmp_path: Path, form: NoteForm) -> None:
    target = tmp_path / "classic.pcap"
    run("editcap", "-F", "pcap", await written(tmp_path, form), target)
    assert len(rdpcap(str(target))) == 4


async def test_tshark_shows_the_journal_in_its_place(tmp_path: Path) -> None:
    rows = run("tshark", "-r", await written(tmp_path, NoteForm.JOURNAL)).splitlines()
    assert ["Journal" in row for row in rows] == [True, False, False, True, False, False, True]
    assert "gap: 12 packets are missing" in rows[3]


async def test_tshark_shows_comments_on_the_next_packet(tmp_path: Path) -> None:
    path = await written(tmp_path, NoteForm.COMMENT)
    rows = run("tshark", "-r", path, "-T", "fields", "-e", "frame.comment").splitlines()
    assert ["before all" in row for row in rows] == [True, False, False, False]
    assert "12 packets are missing" in rows[2]


@pytest.mark.parametrize("form", [NoteForm.JOURNAL, NoteForm.COMMENT])
async def test_our_own_reader_knows_both_forms(tmp_path: Path, form: NoteForm) -> None:
    with CaptureFile(await written(tmp_path, form)) as file:
        while (batch := file.read_batch()) is not None:
            assert not batch.comments
        told = {(note.text, note.kind) for note in file.notes if note.text != "about"}
        assert told == {(note.text, note.kind) for note in (*NOTES, LAST)}
        assert file.names == {"10.0.2.2": "gateway"}
        assert not file.damage
