"""Videos that OpenCV wrote: every frame has a grey of its own, by which it is known again."""

import pickle
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("pytorch_lightning")


from cuvis_ai_core.data.video import VideoFrameDataModule, VideoFrameDataset, VideoIterator
from cuvis_ai_core.errors import CubeError

COUNT, HEIGHT, WIDTH, RATE = 12, 48, 64, 5.0
Film = Callable[..., Path]


@pytest.fixture
def film(tmp_path: Path) -> Film:
    """Return a function that writes a video: grey 10, 30, 50, ..., its left half blue."""

    def write(name: str = "belt.avi", codec: str = "MJPG", count: int = COUNT) -> Path:
        path = tmp_path / name
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), RATE, (WIDTH, HEIGHT))
        assert writer.isOpened()
        for number in range(count):
            frame = np.full((HEIGHT, WIDTH, 3), 10 + 20 * number, np.uint8)
            frame[:, : WIDTH // 2] = (255, 0, 0)
            writer.write(frame)
        writer.release()
        return path

    return write


def number_of(image: np.ndarray) -> int:
    """Return the number of the frame that a picture is."""
    return round((float(image[:, WIDTH // 2 + 8 :].mean()) - 10) / 20)


@pytest.mark.parametrize(("name", "codec"), [("belt.avi", "MJPG"), ("belt.mp4", "mp4v"), ("belt.avi", "XVID")])
def test_every_frame_can_be_asked_for_in_any_order(film: Film, name: str, codec: str) -> None:
    """By its number: forwards, backwards, twice; blue comes first."""
    video = VideoIterator(film(name, codec))
    assert (len(video), video.num_frames) == (COUNT, COUNT)
    assert (video.image_width, video.image_height, video.frame_rate) == (WIDTH, HEIGHT, RATE)
    for number in (0, 1, 2, 7, 3, 3, 11, 0, 10):
        frame = video.get_frame(number)
        assert number_of(frame["image"]) == number
        assert (frame["frame_id"], frame["basename"]) == (number, "belt")
        assert frame["image"].dtype == np.uint8
        assert frame["image"].shape == (HEIGHT, WIDTH, 3)
        assert np.abs(frame["image"][4, 4].astype(int) - (255, 0, 0)).max() < 25
    assert [number_of(each["image"]) for each in video] == list(range(COUNT))


@pytest.mark.parametrize(("name", "codec"), [("one.mp4", "mp4v"), ("one.avi", "MJPG")])
def test_a_single_frame_is_read_again(film: Film, name: str, codec: str) -> None:
    """Where no place is found in a file, it is read through, as transport streams are."""
    video = VideoIterator(film(name, codec, 1))
    assert [number_of(each["image"]) for each in (*video, *video)] == [0, 0]


def test_frames_that_are_not_there_are_errors(film: Film, tmp_path: Path) -> None:
    """A number beyond the end, a file that is no video, and none at all; nothing is black."""
    video = VideoIterator(film())
    for number in (COUNT, -1):
        with pytest.raises(IndexError, match="frames 0 to 11"):
            video.get_frame(number)
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(CubeError, match="cannot be read"):
        VideoIterator(tmp_path / "text.mp4")
    with pytest.raises(CubeError, match="There is no video"):
        VideoIterator(tmp_path / "absent.mp4")


def test_a_video_that_was_cut_off_has_as_many_frames_as_can_be_read(film: Film, tmp_path: Path) -> None:
    """What is counted can be read, and is no black picture."""
    whole = film("whole.mkv").read_bytes()
    (tmp_path / "cut.mkv").write_bytes(whole[: len(whole) * 6 // 10])
    video = VideoIterator(tmp_path / "cut.mkv")
    assert 0 < len(video) < COUNT
    assert [number_of(each["image"]) for each in video] == list(range(len(video)))


def test_frames_for_nodes(film: Film) -> None:
    """Red first, from 0 to 1, with their numbers, in batches; an end leaves the rest out."""
    data = VideoFrameDataset(VideoIterator(film()), end_frame=5)
    assert (len(data), data.fps) == (5, RATE)
    item = data[-1]
    assert item["rgb_image"].shape == (HEIGHT, WIDTH, 3)
    assert str(item["rgb_image"].dtype) == "torch.float32"
    assert item["rgb_image"][4, 4, 2] > 0.7 > item["rgb_image"][4, 4, 0]
    assert (int(item["frame_id"]), str(item["frame_id"].dtype)) == (4, "torch.int64")
    assert len(VideoFrameDataset(VideoIterator(film()), end_frame=99)) == COUNT
    with pytest.raises(IndexError):
        data[5]


def test_a_data_module_has_all_frames_in_their_order(film: Film) -> None:
    """As Lightning asks for them, and in other processes too."""
    module = VideoFrameDataModule(film(), batch_size=5)
    module.setup("predict")
    batches = list(module.predict_dataloader())
    assert [list(batch["frame_id"].numpy()) for batch in batches] == [[*range(5)], [*range(5, 10)], [10, 11]]
    assert batches[0]["rgb_image"].shape == (5, HEIGHT, WIDTH, 3)
    assert module.fps == RATE
    video = pickle.loads(pickle.dumps(VideoIterator(film())))
    assert number_of(video.get_frame(3)["image"]) == 3
