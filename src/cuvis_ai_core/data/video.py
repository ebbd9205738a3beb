"""Videos as frames: read one by one by torchcodec where it loads, else by OpenCV (extra `video`).

Importing this module imports torch and Lightning.
"""

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from cuvis_ai_core.data.datamodule import DataLoader, Dataset, LightningDataModule
from cuvis_ai_core.errors import CubeError, MissingExtraError

if TYPE_CHECKING:
    import torch

__all__ = ["VideoFrameDataModule", "VideoFrameDataset", "VideoIterator"]

logger = logging.getLogger(__name__)

Frame = NDArray[np.uint8]
"""Blue, green, red: uint8 `[height, width, 3]`."""

_FULL: Final = 255.0


class VideoIterator:
    """The frames of a video, each read when it is asked for.

    Iterating gives what `get_frame` does, from the first frame on.

    Args:
        source_path: The file.

    Attributes:
        num_frames: How many frames can be read.
        frame_rate: Frames in a second.
        image_width: In pixels.
        image_height: In pixels.

    Raises:
        CubeError: There is no such file, or it is no video that can be read.
        MissingExtraError: Neither torchcodec nor OpenCV is installed.
    """

    def __init__(self, source_path: str | os.PathLike[str]) -> None:
        self.source_path = Path(source_path)
        if not self.source_path.is_file():
            raise CubeError(f"There is no video '{self.source_path}'.", hint="Check the path.", path=self.source_path)
        self._decoder: _Decoder | None = None
        decoder = self._open()
        self.num_frames, self.frame_rate = decoder.count, decoder.rate
        self.image_height, self.image_width = decoder.read(0).shape[:2]

    def _open(self) -> "_Decoder":
        if self._decoder is None:
            self._decoder = _decoder_class()(self.source_path)
        return self._decoder

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_decoder": None}  # another process opens the file itself

    def __len__(self) -> int:
        return self.num_frames

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return map(self.get_frame, range(len(self)))

    def get_frame(self, frame_id: int) -> dict[str, Any]:
        """Return a frame.

        Args:
            frame_id: Its number, from 0.

        Returns:
            `frame_id`, `image`: blue, green, red, uint8 `[height, width, 3]`, and `basename`: the name
            of the file without its suffix.

        Raises:
            IndexError: There is no such frame.
            CubeError: It cannot be read.
        """
        if not 0 <= frame_id < len(self):
            raise IndexError(f"'{self.source_path}' has frames 0 to {len(self) - 1}, and no frame {frame_id}")
        image = self._open().read(int(frame_id))
        return {"frame_id": int(frame_id), "image": image, "basename": self.source_path.stem}


class VideoFrameDataset(Dataset[Mapping[str, Any]]):
    """The frames of a video for nodes that take pictures.

    An item is `rgb_image`, float32 `[height, width, 3]` from 0 to 1, and `frame_id`, int64.

    Args:
        video_iter: The video.
        end_frame: Number of the first frame that is left out; by default, or where there are fewer, none is.
    """

    def __init__(self, video_iter: VideoIterator, end_frame: int = -1) -> None:
        self.video_iter = video_iter
        self.end_frame = end_frame
        self._count = len(video_iter) if end_frame < 0 else min(end_frame, len(video_iter))

    @property
    def fps(self) -> float:
        """Frames in a second."""
        return float(self.video_iter.frame_rate)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> "dict[str, torch.Tensor]":
        import torch

        if not -len(self) <= index < len(self):
            raise IndexError(f"frame {index} of {len(self)}")
        frame = self.video_iter.get_frame(index % len(self))
        rgb = torch.from_numpy(np.ascontiguousarray(frame["image"][..., ::-1]))
        return {"rgb_image": rgb.to(torch.float32) / _FULL, "frame_id": torch.tensor(frame["frame_id"])}


class VideoFrameDataModule(LightningDataModule):
    """The frames of a video, in their order, as batches to predict on.

    Args:
        video_path: The file.
        end_frame: As in `VideoFrameDataset`.
        batch_size: Frames in a batch.
    """

    def __init__(self, video_path: str | os.PathLike[str], end_frame: int = -1, batch_size: int = 1) -> None:
        super().__init__()
        self.video_path = Path(video_path)
        self.end_frame = end_frame
        self.batch_size = batch_size
        self.predict_ds: VideoFrameDataset | None = None

    def setup(self, stage: str | None = None) -> None:  # noqa: ARG002 - the same frames in every stage
        """Open the video.

        Raises:
            CubeError: There is no such file, or it is no video that can be read.
        """
        if self.predict_ds is None:
            self.predict_ds = VideoFrameDataset(VideoIterator(self.video_path), self.end_frame)

    @property
    def fps(self) -> float:
        """Frames in a second."""
        return self._frames().fps

    def predict_dataloader(self) -> DataLoader[Any]:
        """Return the batches."""
        return DataLoader(self._frames(), batch_size=self.batch_size, shuffle=False)

    def _frames(self) -> VideoFrameDataset:
        self.setup()
        assert self.predict_ds is not None
        return self.predict_ds


class _Decoder(Protocol):
    """Reads frames of a file by their numbers."""

    count: int
    rate: float

    def read(self, number: int) -> Frame:
        """Return a frame.

        Raises:
            CubeError: It cannot be read.
        """
        ...


class _TorchCodec:
    def __init__(self, path: Path) -> None:
        self._path = path
        decoders = import_module("torchcodec.decoders")
        try:
            self._video = decoders.VideoDecoder(str(path), dimension_order="NHWC")
            self.count = len(self._video)
            self.rate = float(self._video.metadata.average_fps or 0.0)
        except (RuntimeError, ValueError) as error:
            raise _unreadable(path, f": {error}") from error

    def read(self, number: int) -> Frame:
        try:
            frame: Frame = self._video[number].numpy()[..., ::-1]
        except (RuntimeError, IndexError) as error:
            raise _unreadable(self._path, f": frame {number} of {self.count}: {error}") from error
        # Turned round, its steps in memory are negative, which torch refuses.
        return np.ascontiguousarray(frame)


class _OpenCv:
    """Reads in the order of the file, and seeks where another frame than the next is asked for."""

    def __init__(self, path: Path) -> None:
        self._cv = import_module("cv2")
        self._path = path
        self._open()
        self.rate = float(self._video.get(self._cv.CAP_PROP_FPS))
        self.count = self._counted()

    def _open(self) -> None:
        self._video = self._cv.VideoCapture(str(self._path))
        self._next = 0
        if not self._video.isOpened():
            raise _unreadable(self._path)

    def read(self, number: int) -> Frame:
        self._seek(number)
        done, frame = self._video.read()
        if not done:  # of some files a place is found, and nothing there
            self._read_through(number)
            done, frame = self._video.read()
        if not done:
            self._open()  # what comes after a frame that is broken is not numbered rightly any more
            raise _unreadable(self._path, f": frame {number} of {self.count}")
        self._next = number + 1
        found: Frame = frame
        return found

    def _seek(self, number: int) -> None:
        if number == self._next:
            return
        self._video.set(self._cv.CAP_PROP_POS_FRAMES, number)
        if round(self._video.get(self._cv.CAP_PROP_POS_FRAMES)) != number:  # some files can only be read through
            self._read_through(number)

    def _read_through(self, number: int) -> None:
        self._open()
        while self._next < number and self._video.grab():
            self._next += 1

    def _counted(self) -> int:
        """Return how many frames there are: as many as the file says where the last of them can be read, or counted."""
        said = int(self._video.get(self._cv.CAP_PROP_FRAME_COUNT))
        if said > 0:
            self._seek(said - 1)
            # And no further one: some files say fewer than they have.
            whole = self._video.grab() and not self._video.grab()
            self._open()
            if whole:
                return said
        count = 0
        while self._video.grab():
            count += 1
        self._open()
        if count == 0:
            raise _unreadable(self._path)
        return count


def _unreadable(path: Path, why: str = "") -> CubeError:
    return CubeError(
        f"The video '{path}' cannot be read{why}.",
        hint="Convert it, for example to MP4 with H.264, and look whether it was copied whole.",
        path=path,
    )


@cache
def _decoder_class() -> Callable[[Path], _Decoder]:
    try:
        import_module("torchcodec.decoders")
    except Exception as error:  # noqa: BLE001 - where FFmpeg is missing it raises what the loader of libraries says
        logger.debug("torchcodec does not load: %s", error)
    else:
        return _TorchCodec
    try:
        import_module("cv2")
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            "Videos are read by torchcodec or OpenCV, and neither is installed.",
            hint="Install the extra: pip install 'cuvis-ai-core[video]'",
            extra="video",
        ) from error
    return _OpenCv
