"""NUS-WIDE from text files in the official format."""

from __future__ import annotations

import pytest

from datasets.files.text_rows import DataFileError
from datasets.nus_wide import NUSWIDE
from datasets.official.nus_wide import read_nus_wide, read_nus_wide_tags
from tests.helpers.sets.official_sets import ASL, CONCEPTS, make_cfg, write, write_nus_wide


@pytest.fixture
def folder(tmp_path):
    return write_nus_wide(tmp_path)


def test_concepts_and_backslashes(folder):
    data = NUSWIDE(make_cfg(folder.parent))
    assert data.classnames == CONCEPTS
    assert [item.label.tolist() for item in data.train_x] == [[0, 1, 1], [0, 0, 0], [1, 0, 0]]
    assert [item.label.tolist() for item in data.test] == [[1, 0, 0], [0, 0, 0]]
    assert data.train_x[0].impath == str(folder / "Flickr/actor/0001_21.jpg")
    assert len(NUSWIDE(make_cfg(folder.parent, UNLABELED="drop")).test) == 1


def test_tags_come_before_the_concepts(folder):
    data = read_nus_wide_tags(folder)
    assert data.names == ["nature", "blue", "birds", "sky", "zebra"]
    assert [entry.labels for entry in data.splits["train"]] == [(0, 3, 4), (1,), (2,)]
    assert [entry.labels for entry in data.splits["test"]] == [(1, 2), ()]


def test_absent_pictures_are_explained(folder):
    with pytest.raises(FileNotFoundError, match=r"2 of 2 test pictures(.|\n)*on request alone"):
        NUSWIDE(make_cfg(folder.parent, TEST_PICTURES=True))


class TestAsl:
    def test_its_table(self, folder):
        data = NUSWIDE(make_cfg(folder.parent, VARIANT="asl"))
        assert [item.label.tolist() for item in data.train_x] == [[0, 1, 1]]
        assert [item.label.tolist() for item in data.test] == [[0, 1, 0]]
        assert data.test[0].impath == str(folder / "images/2.jpg")

    @pytest.mark.parametrize(
        ("row", "message"),
        [
            ("images/3.jpg,['skye'],val", "line 4: .*'skye' is no concept. Did you mean 'sky'"),
            ("images/3.jpg,sky,val", "line 4: .*expected a path, labels"),
            ("images/3.jpg,['sky'],test", "line 4: .*train or val"),
            ("../3.jpg,['sky'],val", "line 4: .*no path below the folder"),
            ("images/3.jpg", "line 4: .*expected a path"),
        ],
    )
    def test_a_damaged_row(self, folder, row, message):
        write(folder / "nus_wid_data.csv", f"{ASL}{row}\n")
        with pytest.raises(DataFileError, match=f"nus_wid_data.csv.*\n.*{message}"):
            NUSWIDE(make_cfg(folder.parent, VARIANT="asl"))

    def test_what_it_cannot_be(self, folder):
        cfg = make_cfg(folder.parent, VARIANT="asl", CLASS_SPLIT="nus_wide_925_81")
        with pytest.raises(ValueError, match="needs DATASET.VARIANT official"):
            NUSWIDE(cfg)
        with pytest.raises(ValueError, match="VARIANT must be one of official, asl"):
            NUSWIDE(make_cfg(folder.parent, VARIANT="ASL csv"))
        (folder / "nus_wid_data.csv").unlink()
        with pytest.raises(FileNotFoundError, match="there is no nus_wid_data.csv"):
            NUSWIDE(make_cfg(folder.parent, VARIANT="asl"))


class TestDamage:
    @pytest.mark.parametrize(
        ("name", "text", "message"),
        [
            ("Groundtruth/TrainTestLabels/Labels_sky_Train.txt", "1\n0\n2\n", "line 3: '2'"),
            ("Groundtruth/TrainTestLabels/Labels_sky_Train.txt", "1\n0\n", "2 rows, .* images 3"),
            ("Groundtruth/TrainTestLabels/Labels_sky_Test.txt", "1\n0\n1", "3 rows, .* images 2"),
            ("ImageList/TestImagelist.txt", "actor\\1.jpg\n..\\2.jpg\n", "line 2: .*a folder and"),
            ("ConceptsList/Concepts81.txt", "sky\nbirds\nsky\n", "line 3: 'sky': is already"),
            ("NUS_WID_Tags/Test_Tags1k.dat", "0\t0\t1\t0\n0\t1\t0\n", "line 2: .*expected 4 of 0"),
        ],
    )
    def test_a_file(self, folder, name, text, message):
        write(folder / name, text)
        with pytest.raises(DataFileError, match=rf"{name.split('/')[-1]}.*\n.*{message}"):
            read_nus_wide_tags(folder)

    def test_an_absent_file_is_named(self, folder):
        (folder / "Groundtruth/TrainTestLabels/Labels_sky_Test.txt").unlink()
        with pytest.raises(FileNotFoundError, match=r"Labels_sky_Test\.txt"):
            read_nus_wide(folder)
