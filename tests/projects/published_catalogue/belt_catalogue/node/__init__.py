from belt_catalogue.node.data import BeltDataNode
from cuvis_ai_core.data.rle import coco_rle_decode
from cuvis_ai_core.data.video import VideoFrameDataModule, VideoFrameDataset, VideoIterator
from cuvis_ai_core.node.metric_utils import subsample_hw

__all__ = [
    "BeltDataNode",
    "VideoFrameDataModule",
    "VideoFrameDataset",
    "VideoIterator",
    "coco_rle_decode",
    "subsample_hw",
]
