"""Classes of pixels, learned from their spectra."""

from cuvis_ai_spectral_classifier.accuracy import ClassificationAccuracy
from cuvis_ai_spectral_classifier.class_map import ClassMap
from cuvis_ai_spectral_classifier.classifier import SpectralClassifier
from cuvis_ai_spectral_classifier.loss import ClassificationLoss
from cuvis_ai_spectral_classifier.pixels import LabelledPixels
from cuvis_ai_spectral_classifier.standardizer import BandStandardizer

__all__ = [
    "BandStandardizer",
    "ClassMap",
    "ClassificationAccuracy",
    "ClassificationLoss",
    "LabelledPixels",
    "SpectralClassifier",
]
